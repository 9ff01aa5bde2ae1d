# SPDX-License-Identifier: Apache-2.0
# One extension on the public headers, limited API: the same file serves every CPython from 3.11 on. Free-threaded ones have no
# limited API, so theirs is made for one version.

PY_SRC := $(sort $(wildcard python/src/*.c))
PY_OBJ := $(PY_SRC:%.c=$(BUILD)/obj/%.o)
PY_EXT := $(BUILD)/python/mooncake/_core$(or $(PY_SUFFIX),.abi3.so)
PY_FILES := $(patsubst python/%,$(BUILD)/python/%,$(wildcard python/mooncake/*.py python/mooncake/*.pyi python/mooncake/py.typed))

all: $(PY_EXT) $(PY_FILES)

$(BUILD)/obj/python/%.o: CPPFLAGS_ALL += $(if $(PY_SUFFIX),,-DPy_LIMITED_API=0x030b0000) -isystem $(firstword $(PY_FACTS))

# Carries the library inside: an importing process needs no search path, and a wheel needs no second file.
$(PY_EXT): $(PY_OBJ) $(LIBMC_A) python/core.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -shared -Wl,--version-script=python/core.map -o $@ $(PY_OBJ) $(LIBMC_A) $(PKG_LIBS) -lm

$(BUILD)/python/%: python/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
