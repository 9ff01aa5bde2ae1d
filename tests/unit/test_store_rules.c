// SPDX-License-Identifier: Apache-2.0
/* What the master is set to holds in every pool: how long soft pins last, and whether they go before they end. */
#include "mctest.h"
#include "unit/store_rig.h"

TEST(soft_pins)
{
	static const struct mc_put_opts pin = { .flags = MC_PUT_SOFT_PIN };
	uint64_t by = deadline_after_ms(20000);
	char data[64 << 10], key[16];
	struct mc_store *s;
	int nr = 0, ret;

	if (no_master())
		SKIP("build/bin/mooncake-master is not built");
	ASSERT_EQ(rig_master(&master, "--default_kv_soft_pin_ttl=2s", "--allow_evict_soft_pinned_objects=false", NULL), 0);
	s = st_open(master.port, 4 * MIB, NULL);
	ASSERT_TRUE(s);
	fill(data, sizeof(data), 1);
	do
		snprintf(key, sizeof(key), "pin%d", nr);
	while (nr < 100 && !st_put_opts(s, key, data, sizeof(data), pin) && ++nr);
	EXPECT_TRUE(nr > 40 && nr < 64);
	EXPECT_EQ(st_exists(s, "pin0"), 1);
	EXPECT_EQ(st_put(s, "x", data, sizeof(data)), -ENOSPC);
	while ((ret = st_put(s, "x", data, sizeof(data))) == -ENOSPC && !deadline_passed(by))
		usleep(10000);
	EXPECT_EQ(ret, 0);
	mc_store_close(s);
	rig_stop(&master, SIGTERM);
}
