# SPDX-License-Identifier: Apache-2.0
# Benches: one program per tests/bench/bench_<layer>.c, linked with the private archive; one JSON line per case.

BENCH_SRC := $(sort $(wildcard tests/bench/bench_*.c))
BENCH_BIN := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/tests/bench/%)

$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(BENCH_EXTRA_$*) $(LIBMC_A) $(PKG_LIBS) -lm

$(BUILD)/tests/bench/scatter.so: tests/bench/scatter.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -fPIC -shared -fvisibility=default -o $@ $<

#: make bench       run the benches (B=bench_base: that one; BENCH_SECONDS=0.3 per case)
bench: $(if $(B),$(BUILD)/tests/bench/$(B),$(BENCH_BIN))
	$(Q)for b in $^; do $$b $(BENCH_ARGS) || exit 1; done

.PHONY: bench

#: make bench-python  what Python adds to a call, and a page of KV cache beside memcpy
bench-python: all $(BUILD)/tests/bench/bench_calls $(BUILD)/tests/bench/scatter.so
	$(Q)BUILD='$(BUILD)' $(PYTHON) tests/bench/bench_python.py
	$(Q)BUILD='$(BUILD)' $(PYTHON) tests/bench/bench_async.py

.PHONY: bench-python
