# SPDX-License-Identifier: Apache-2.0
# The engine between hosts (network namespaces: needs root), and against upstream's released engine.

ENGINE_TESTS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(sort $(wildcard tests/integration/engine_*.c)))

$(ENGINE_TESTS): $(BUILD)/tests/integration/%: $(BUILD)/obj/tests/integration/%.o $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(LIBMC_A) $(PKG_LIBS) -lm

# Programs of upstream's C interface: that header and that library, nothing else of ours.
CAPI_TESTS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(sort $(wildcard tests/integration/capi_*.c)))

$(CAPI_TESTS): $(BUILD)/tests/integration/%: $(BUILD)/obj/tests/integration/%.o $(CAPI_SO)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD)/lib -ltransfer_engine -Wl,-rpath,'$$ORIGIN/../../lib'

INTEGRATION_BIN += $(ENGINE_TESTS) $(CAPI_TESTS)

check-engine: $(ENGINE_TESTS) $(CAPI_TESTS)
	$(Q)tests/run.sh $^ tests/integration/interop_engine.py

.PHONY: check-engine
