# SPDX-License-Identifier: Apache-2.0
# Fuzzing: one target per tests/fuzz/fuzz_<decoder>.c with LLVMFuzzerTestOneInput(), seeds in tests/fuzz/corpus/<decoder>/.
# With clang the engine is libFuzzer, elsewhere standalone.c: the seeds, then random mutations of them. Everything is built
# with the address and undefined-behaviour sanitizers in build-fuzz (build-fuzz-random); what a run finds is left in found/<decoder>/ there.

FUZZ_SECONDS ?= 10
FUZZ_NAMES := $(if $(F),$(F),$(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c))))
FUZZ_CLANG ?= clang
FUZZ_WITH_CLANG = $(shell f=$$(mktemp) && echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return 0; }' | \
	$(FUZZ_CLANG) -x c - -fsanitize=fuzzer,address,undefined -o $$f 2>/dev/null && echo yes; rm -f $$f)

#: make fuzz        run every decoder's fuzz target (F=conf: that one; FUZZ_SECONDS=10 each)
fuzz:
	$(Q)$(MAKE) --no-print-directory fuzz-run $(if $(FUZZ_WITH_CLANG),$(FUZZ_LIBFUZZER),$(FUZZ_STANDALONE))

FUZZ_LIBFUZZER = BUILD=build-fuzz CC=$(FUZZ_CLANG) SAN=fuzzer-no-link,address,undefined FUZZ_ENGINE=-fsanitize=fuzzer
FUZZ_STANDALONE = WERROR=no BUILD=build-fuzz-random SAN=address,undefined

# From here on: inside that second make.
FUZZ_BIN := $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/fuzz_%)
FUZZ_ENGINE ?= $(BUILD)/obj/tests/fuzz/standalone.o

$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIBMC_A) $(filter %.o,$(FUZZ_ENGINE))
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(FUZZ_ENGINE) $(FUZZ_EXTRA_$*) $(LIBMC_A) $(FUZZ_LIBS_$*) $(PKG_LIBS) -lm

fuzz-run: $(FUZZ_BIN)
	$(Q)tests/fuzz/run.sh $(BUILD) $(FUZZ_SECONDS) $(FUZZ_NAMES)

.PHONY: fuzz fuzz-run
