# SPDX-License-Identifier: Apache-2.0
# libmc.so from its layers; the same objects in a private archive for daemons, tools and tests.

LIBMC_LAYERS := base net dev proto transport meta engine pool store tensor compat
LIBMC_SRC := $(foreach l,$(LIBMC_LAYERS),$(sort $(wildcard libmc/src/$(l)/*.c)))
ifneq ($(WITH_REDIS),yes)
LIBMC_SRC := $(filter-out libmc/src/meta/redis.c,$(LIBMC_SRC))
endif
LIBMC_OBJ := $(LIBMC_SRC:%.c=$(BUILD)/obj/%.o)
LIBMC_A := $(BUILD)/obj/libmc-private.a
LIBMC_SO := $(BUILD)/lib/libmc.so

all: $(LIBMC_SO)

$(LIBMC_A): $(LIBMC_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(LIBMC_SO): $(LIBMC_OBJ) libmc/libmc.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,libmc.so.0 -Wl,--version-script=libmc/libmc.map $(if $(SAN),,-Wl,-z$(comma)defs) \
		-o $@ $(LIBMC_OBJ) $(PKG_LIBS)
	$(Q)ln -sf libmc.so $(BUILD)/lib/libmc.so.0

# libtransfer_engine.so: upstream's C interface, on libmc.so's public headers.
CAPI_SRC := $(sort $(wildcard libmc/src/capi/*.c))
CAPI_OBJ := $(CAPI_SRC:%.c=$(BUILD)/obj/%.o)
CAPI_SO := $(BUILD)/lib/libtransfer_engine.so

all: $(CAPI_SO)

$(CAPI_SO): $(CAPI_OBJ) libmc/transfer_engine.map $(LIBMC_SO)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,libtransfer_engine.so -Wl,--version-script=libmc/transfer_engine.map \
		$(if $(SAN),,-Wl,-z$(comma)defs) -Wl,-rpath,'$$ORIGIN' -o $@ $(CAPI_OBJ) -L$(BUILD)/lib -lmc
