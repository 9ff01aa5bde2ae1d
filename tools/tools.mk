# SPDX-License-Identifier: Apache-2.0
# The tools. What all of them begin with:
PROGRAM_OBJ := $(BUILD)/obj/tools/program.o
$(BUILD)/obj/tools/%.o: CPPFLAGS_ALL += -Itools

# mooncakectl, built on the private archive like the daemons.

# events needs libnl; without it the command says so.
WITH_NL ?= $(shell pkg-config --exists libnl-genl-3.0 && echo yes || echo no)
NL_CFLAGS := $(if $(filter yes,$(WITH_NL)),$(shell pkg-config --cflags libnl-genl-3.0))
NL_LIBS := $(if $(filter yes,$(WITH_NL)),$(shell pkg-config --libs libnl-genl-3.0))
CTL_LEFT_OUT := tools/ctl/events_$(if $(filter yes,$(WITH_NL)),none,nl).c
CTL_OBJ := $(PROGRAM_OBJ) $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(CTL_LEFT_OUT),$(sort $(wildcard tools/ctl/*.c))))
CTL_BIN := $(BUILD)/bin/mooncakectl

all: $(CTL_BIN)

$(BUILD)/obj/tools/ctl/%.o: CPPFLAGS_ALL += -Itools/ctl $(NL_CFLAGS)

$(CTL_BIN): $(CTL_OBJ) $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(CTL_OBJ) $(LIBMC_A) $(PKG_LIBS) $(NL_LIBS) -lm

# The tool against a real master and a real node. Scripts learn from the environment which build is meant.
export BUILD
CTL_TESTS := tests/integration/ctl_test.sh
$(CTL_TESTS): | $(CTL_BIN) $(DAEMON_BIN)
INTEGRATION_BIN += $(CTL_TESTS)
check-ctl: $(CTL_TESTS)
	$(Q)tests/run.sh $(CTL_TESTS)

.PHONY: check-ctl

# Programs of the engine, under upstream's names: public headers and base.
BENCH_TOOL := $(BUILD)/bin/transfer_engine_bench
DUMP_TOOL := $(BUILD)/bin/transfer_engine_topology_dump
ENGINE_TOOLS := $(BENCH_TOOL) $(DUMP_TOOL)
BENCH_TOOL_OBJ := $(PROGRAM_OBJ) $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tools/bench/*.c)))
DUMP_TOOL_OBJ := $(PROGRAM_OBJ) $(BUILD)/obj/tools/topology/main.o

all: $(ENGINE_TOOLS)

$(BUILD)/obj/tools/bench/%.o: CPPFLAGS_ALL += -Itools/bench

$(BENCH_TOOL): $(BENCH_TOOL_OBJ) $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(BENCH_TOOL_OBJ) $(LIBMC_A) $(PKG_LIBS) -lm

$(DUMP_TOOL): $(DUMP_TOOL_OBJ) $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(DUMP_TOOL_OBJ) $(LIBMC_A) $(PKG_LIBS) -lm
