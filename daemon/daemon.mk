# SPDX-License-Identifier: Apache-2.0
# The daemons: svc shared by all, then one folder per program. Built on the private archive of libmc.

SVC_OBJ = $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard daemon/*.c)))
daemon_obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard daemon/$(1)/*.c)))
DAEMONS := $(foreach d,master metadata node,$(if $(wildcard daemon/$(d)/main.c),$(d)))
DAEMON_BIN := $(DAEMONS:%=$(BUILD)/bin/mooncake-%)

all: $(DAEMON_BIN)

$(BUILD)/obj/daemon/%.o: CPPFLAGS_ALL += -Idaemon

.SECONDEXPANSION:
$(DAEMON_BIN): $(BUILD)/bin/mooncake-%: $$(call daemon_obj,%) $$(SVC_OBJ) $(LIBMC_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIBMC_A) $(PKG_LIBS) $(SVC_LIBS) -lm
	$(Q)$(if $(filter master,$*),ln -sf mooncake-master $(@D)/mooncake_master)
	$(Q)$(if $(filter node,$*),ln -sf mooncake-node $(@D)/mooncake_client)
