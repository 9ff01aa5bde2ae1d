# SPDX-License-Identifier: Apache-2.0
# mooncakectl, built on the private archive like the daemons.

CTL_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tools/ctl/*.c)))
CTL_BIN := $(BUILD)/bin/mooncakectl

all: $(CTL_BIN)

$(BUILD)/obj/tools/ctl/%.o: CPPFLAGS_ALL += -Itools/ctl

$(CTL_BIN): $(CTL_OBJ) $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(CTL_OBJ) $(LIBMC_A) $(PKG_LIBS) -lm

# The tool against a real master and a real node. Scripts learn from the environment which build is meant.
export BUILD
CTL_TESTS := tests/integration/ctl_test.sh
$(CTL_TESTS): | $(CTL_BIN) $(DAEMON_BIN)
INTEGRATION_BIN += $(CTL_TESTS)
check-ctl: $(CTL_TESTS)
	$(Q)tests/run.sh $(CTL_TESTS)

.PHONY: check-ctl
