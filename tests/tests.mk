# SPDX-License-Identifier: Apache-2.0
# Unit tests: one program per tests/unit/test_<file>.c, linked with the private archive.

UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/unit/%)

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(TEST_EXTRA_$*) $(LIBMC_A) $(PKG_LIBS) -lm

$(BUILD)/obj/tests/%.o: CPPFLAGS_ALL += -Itests
# Tests compare sizes with plain numbers all the time.
$(BUILD)/obj/tests/%.o: CFLAGS_ALL += -Wno-sign-compare

#: make unit        build and run the unit tests (T=name: that one only)
unit: $(if $(T),$(BUILD)/tests/unit/$(T),$(UNIT_BIN))
	$(Q)tests/run.sh $^

.PHONY: unit

include tests/bench/bench.mk tests/fuzz/fuzz.mk tests/integration/engine.mk
