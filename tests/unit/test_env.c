// SPDX-License-Identifier: Apache-2.0
/* Settings from the environment: what counts, what is said about the rest, and how often. */
#include "mctest.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/env.h"
#include "base/log.h"

static char said[8192];
static int lines;

static void note(void *arg, enum mc_log_level level, const char *text)
{
	size_t len = strlen(said);

	lines++;
	snprintf(said + len, sizeof(said) - len, "%d %s\n", (int)level, text);
}

/* An environment with nothing in it, and nothing said yet. */
static void begin(void)
{
	clearenv();
	mc_log_set(note, NULL, MC_LOG_WARN);
	*said = 0;
	lines = 0;
}

/* Reads the environment so many times. */
static void reread(int times)
{
	struct env e;

	for (int i = 0; i < times; i++) {
		EXPECT_EQ(env_open(&e), 0);
		env_close(&e);
	}
}

TEST(defaults)
{
	struct env e;

	begin();
	ASSERT_EQ(env_open(&e), 0);
	EXPECT_EQ(e.min_rpc_port, 15000);
	EXPECT_EQ(e.max_rpc_port, 17000);
	EXPECT_EQ(e.transfer_timeout_ns, 30 * NSEC_PER_SEC);
	EXPECT_STREQ(e.tcp_bind_address, "");
	EXPECT_STREQ(e.kernel_module, "auto");
	EXPECT_STREQ(e.redis.password, "");
	EXPECT_TRUE(!e.force_tcp && !e.store_use_hugepage && e.ms_auto_disc);
	for (size_t i = 0; i < e.conf.nr_items; i++)
		EXPECT_TRUE(!env_given(&e, e.conf.items[i].name));
	env_close(&e);
	EXPECT_EQ(lines, 0);
}

TEST(values_are_copies)
{
	struct env e;

	begin();
	setenv("MC_MIN_RPC_PORT", "16000", 1);
	setenv("MC_MAX_PRC_PORT", "16001", 1); /* the old spelling */
	setenv("MC_TRANSFER_TIMEOUT", "45", 1);
	setenv("MC_FORCE_TCP", "", 1); /* being there counts */
	setenv("MC_LEGACY_RPC_PORT_BINDING", "0", 1);
	setenv("MC_TCP_BIND_ADDRESS", "10.0.0.1", 1);
	setenv("MC_REDIS_USERNAME", "", 1); /* as if it were not there */
	setenv("MC_ETCD_KEY", "/etc/key", 1);
	setenv("MC_KERNEL_MODULE", "OFF", 1);
	setenv("MC_MS_AUTO_DISC", "0", 1);
	ASSERT_EQ(env_open(&e), 0);
	clearenv();
	EXPECT_EQ(e.min_rpc_port, 16000);
	EXPECT_EQ(e.max_rpc_port, 16001);
	EXPECT_EQ(e.transfer_timeout_ns, 45 * NSEC_PER_SEC);
	EXPECT_TRUE(e.force_tcp && e.legacy_rpc_port_binding && !e.ms_auto_disc);
	EXPECT_STREQ(e.tcp_bind_address, "10.0.0.1");
	EXPECT_STREQ(e.redis.username, "");
	EXPECT_STREQ(e.etcd.key, "/etc/key");
	EXPECT_STREQ(e.kernel_module, "OFF");
	EXPECT_TRUE(env_given(&e, "MC_TCP_BIND_ADDRESS") && !env_given(&e, "MC_REDIS_USERNAME") && !env_given(&e, "NO_SUCH"));
	env_close(&e);
	EXPECT_EQ(lines, 0);
}

TEST(bad_values_leave_the_default_and_are_named_once)
{
	struct env e;

	begin();
	setenv("MC_MIN_RPC_PORT", "70000", 1);
	setenv("MC_MAX_RPC_PORT", "many", 1);
	setenv("MC_ETCD_LEASE_TTL_S", "2", 1);
	setenv("MC_KERNEL_MODULE", "maybe", 1);
	setenv("MC_MS_AUTO_DISC", "perhaps", 1);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(env_open(&e), 0);
		EXPECT_EQ(e.min_rpc_port, 15000);
		EXPECT_EQ(e.max_rpc_port, 17000);
		EXPECT_EQ(e.etcd_lease_ttl_s, 30);
		EXPECT_STREQ(e.kernel_module, "auto");
		EXPECT_TRUE(e.ms_auto_disc && !env_given(&e, "MC_MS_AUTO_DISC"));
		env_close(&e);
	}
	EXPECT_EQ(lines, 5);
	EXPECT_TRUE(strstr(said, "1 MC_MIN_RPC_PORT: \"70000\" is out of range; it takes a whole number from 1 to 65535; "
				  "15000 is used\n"));
	EXPECT_TRUE(strstr(said, "MC_MAX_RPC_PORT: \"many\" is not understood"));
	EXPECT_TRUE(strstr(said, "from 3 to 3600; 30 is used"));
	EXPECT_TRUE(strstr(said, "one of auto,require,off; auto is used"));
	/* Another bad value is another mistake. */
	setenv("MC_MIN_RPC_PORT", "0", 1);
	reread(1);
	EXPECT_EQ(lines, 6);
}

TEST(unknown_names_get_one_warning)
{
	begin();
	setenv("MC_MIN_RPC_PROT", "1", 1);
	setenv("MC_SLICE_SIZ", "1", 1);
	setenv("MOONCAKE_OFLOAD_ENABLED", "1", 1);
	setenv("MOONCAKE_MASTR", "1", 1);
	setenv("MC_", "1", 1);
	setenv("MCX_Y", "1", 1);
	reread(2);
	EXPECT_EQ(lines, 5);
	EXPECT_TRUE(strstr(said, "1 the environment has MC_MIN_RPC_PROT, which nothing here reads; did you mean MC_MIN_RPC_PORT?"));
	EXPECT_TRUE(strstr(said, "did you mean MC_SLICE_SIZE?"));
	EXPECT_TRUE(strstr(said, "did you mean MOONCAKE_MASTER?"));
	EXPECT_TRUE(strstr(said, "the environment has MOONCAKE_OFLOAD_ENABLED, which nothing here reads\n"));
}

TEST(known_names_without_effect_get_one_line)
{
	const char *name, *why;
	struct env e;
	char text[128];
	size_t nr = 0;

	begin();
	for (; (name = env_idle_name(nr, &why)); nr++) {
		EXPECT_TRUE(*why);
		snprintf(text, sizeof(text), "%.*s%s", (int)strcspn(name, "*"), name, strchr(name, '*') ? "ANYTHING" : "");
		EXPECT_TRUE(env_idle(text));
		setenv(text, "nonsense", 1);
	}
	EXPECT_GT(nr, 100);
	EXPECT_TRUE(!env_idle("MC_MIN_RPC_PORT") && !env_idle("MC_OFFLOAD"));
	ASSERT_EQ(env_open(&e), 0);
	/* No name is in both tables. */
	for (size_t i = 0; i < e.conf.nr_items; i++)
		if (env_idle(e.conf.items[i].name))
			MCTEST_FAIL("%s counts, and does not", e.conf.items[i].name);
	env_close(&e);
	EXPECT_EQ(lines, 1);
	reread(2);
	EXPECT_EQ(lines, 1);
}

TEST(those_that_others_read_are_not_named)
{
	begin();
	setenv("MC_TENT_A", "x", 1);
	setenv("MC_HIP_B", "x", 1);
	setenv("MC_HOST_C", "x", 1);
	reread(1);
	EXPECT_EQ(lines, 1);
	EXPECT_TRUE(strstr(said, "MC_TENT_A") && strstr(said, "MC_HIP_B") && strstr(said, "of no effect here"));
	EXPECT_TRUE(!strstr(said, "MC_HOST_C"));
}

TEST(why_they_have_none_is_for_debugging)
{
	begin();
	mc_log_set(note, NULL, MC_LOG_DEBUG);
	setenv("MC_NIC_PEER_AFFINITY_", "x", 1);
	setenv("MC_TENT_SOMETHING", "x", 1);
	reread(1);
	EXPECT_TRUE(strstr(said, "MC_TENT_SOMETHING has no effect: there is one runtime"));
	EXPECT_TRUE(strstr(said, "did you mean MC_NIC_PEER_AFFINITY?"));
}

TEST(secrets_are_not_shown)
{
	struct buf b = BUF_INIT;
	struct env e;

	begin();
	setenv("MC_REDIS_PASSWORD", "s3cret", 1);
	setenv("MC_ETCD_PASSWORD", "s3cret", 1);
	ASSERT_EQ(env_open(&e), 0);
	EXPECT_STREQ(e.redis.password, "s3cret");
	conf_print(&e.conf, true, &b);
	conf_print(&e.conf, false, &b);
	buf_put_u8(&b, 0);
	EXPECT_TRUE(!strstr((char *)b.data, "s3cret") && strstr((char *)b.data, "***"));
	buf_fini(&b);
	env_close(&e);
}

/* The program's own choice, made by begin(), counts more than MC_LOG_LEVEL: see levels_from_the_environment in test_log.c. */
TEST(a_level_of_the_program)
{
	begin();
	setenv("MC_LOG_LEVEL", "DEBUG", 1);
	reread(1);
	EXPECT_TRUE(!log_enabled(MC_LOG_DEBUG));
	setenv("MC_LOG_LEVEL", "loud", 1);
	reread(1);
	EXPECT_TRUE(strstr(said, "MC_LOG_LEVEL: \"loud\" is not understood; it takes one of error,warning"));
}
