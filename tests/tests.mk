# SPDX-License-Identifier: Apache-2.0
# Unit tests: one program per tests/unit/test_<file>.c, linked with the private archive.

UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/unit/%)

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(TEST_EXTRA_$*) $(LIBMC_A) $(PKG_LIBS) -lm

# The C interface is a library of its own.
TEST_EXTRA_test_handles := $(BUILD)/obj/libmc/src/capi/handles.o
$(BUILD)/tests/unit/test_handles: $(TEST_EXTRA_test_handles)

$(BUILD)/obj/tests/%.o: CPPFLAGS_ALL += -Itests
# Tests compare sizes with plain numbers all the time.
$(BUILD)/obj/tests/%.o: CFLAGS_ALL += -Wno-sign-compare

#: make unit        build and run the unit tests (T=name: that one only)
unit: $(if $(T),$(BUILD)/tests/unit/$(T),$(UNIT_BIN))
	$(Q)tests/run.sh $^

include tests/bench/bench.mk tests/fuzz/fuzz.mk tests/integration/engine.mk

# The node as a process, with a master and clients made of net and proto.
NODE_TESTS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(sort $(wildcard tests/integration/node_*.c)))
$(NODE_TESTS): $(BUILD)/tests/integration/%: $(BUILD)/obj/tests/integration/%.o $(LIBMC_A) | $(DAEMON_BIN)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(LIBMC_A) $(PKG_LIBS) -lm
INTEGRATION_BIN += $(NODE_TESTS)

# Everything. What needs several processes finds the build through BUILD.
INTEGRATION_ALL = $(sort $(INTEGRATION_BIN) $(wildcard tests/integration/*_test.sh tests/integration/*_test.py tests/integration/interop_*.py))
PYTHON_TESTS := $(sort $(wildcard tests/python/test_*.py))

check-all: all $(UNIT_BIN) $(INTEGRATION_BIN)
	$(Q)BUILD='$(BUILD)' SAN='$(SAN)' PYTHON='$(PYTHON)' CC='$(CC)' MAKE='$(MAKE)' UNIT='$(UNIT_BIN)' INTEGRATION='$(INTEGRATION_ALL)' \
		PYTHON_TESTS='$(PYTHON_TESTS)' tests/check.sh

check-python: all
	$(Q)BUILD='$(BUILD)' SAN='$(SAN)' PYTHON='$(PYTHON)' tests/run.sh $(PYTHON_TESTS)

#: make check-freethreaded PY=python3.13t   the Python tests without the interpreter lock, in a build of their own
check-freethreaded:
	$(Q)'$(or $(PY),false)' -c 'import sys; sys.exit(getattr(sys, "_is_gil_enabled", lambda: 1)())' || { echo \
		'PY= names a free-threaded interpreter: CPython 3.13 or later, configured with --disable-gil' >&2; exit 2; }
	$(Q)$(MAKE) --no-print-directory PYTHON='$(PY)' BUILD='$(BUILD:-freethreaded=)-freethreaded' check-python

.PHONY: unit check-all check-python check-freethreaded
