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

# Tests of the master's state, which needs no sockets, and of what daemons share.
$(BUILD)/obj/tests/unit/test_svc_http.o: CPPFLAGS_ALL += -Idaemon
MASTER_STATE_OBJ := $(patsubst %,$(BUILD)/obj/daemon/master/%.o,objects objects_query objects_replicas table pools tasks)
TEST_EXTRA_test_objects := $(MASTER_STATE_OBJ)
TEST_EXTRA_test_objects_gone := $(MASTER_STATE_OBJ)
TEST_EXTRA_test_objects_kept := $(MASTER_STATE_OBJ)
TEST_EXTRA_test_pools_index := $(MASTER_STATE_OBJ)
TEST_EXTRA_test_tasks := $(MASTER_STATE_OBJ)
$(BUILD)/obj/tests/unit/test_svc.o: CPPFLAGS_ALL += -Idaemon
TEST_EXTRA_test_svc := $(BUILD)/obj/daemon/svc.o $(BUILD)/obj/daemon/metrics.o $(SVC_LIBS)
$(BUILD)/tests/unit/test_svc: $(BUILD)/obj/daemon/svc.o $(BUILD)/obj/daemon/metrics.o
TEST_EXTRA_test_svc_http := $(BUILD)/obj/daemon/http_server.o $(SVC_LIBS)
$(BUILD)/tests/unit/test_svc_http: $(BUILD)/obj/daemon/http_server.o
$(foreach t,objects objects_gone objects_kept pools_index tasks,$(eval $(BUILD)/tests/unit/test_$(t): $(TEST_EXTRA_test_$(t))))

# The master as a process, with clients and owners made of net and proto.
MASTER_TESTS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(sort $(wildcard tests/integration/master_*.c)))
$(MASTER_TESTS): $(BUILD)/tests/integration/%: $(BUILD)/obj/tests/integration/%.o $(LIBMC_A) | $(DAEMON_BIN)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(LIBMC_A) $(PKG_LIBS) -lm

BENCH_EXTRA_bench_master := $(MASTER_STATE_OBJ)
$(BUILD)/tests/bench/bench_master: $(MASTER_STATE_OBJ) | $(DAEMON_BIN)

INTEGRATION_BIN += $(MASTER_TESTS)
check-master: $(MASTER_TESTS) $(DAEMON_BIN)
	$(Q)tests/run.sh $(MASTER_TESTS)

.PHONY: check-master

$(BUILD)/obj/tests/fuzz/fuzz_http.o: CPPFLAGS_ALL += -Idaemon
FUZZ_EXTRA_fuzz_http := $(BUILD)/obj/daemon/meta_server.o $(BUILD)/obj/daemon/http_server.o
FUZZ_LIBS_fuzz_http := $(SVC_LIBS)
$(BUILD)/tests/fuzz/fuzz_http: $(FUZZ_EXTRA_fuzz_http)
