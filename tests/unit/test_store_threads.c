// SPDX-License-Identifier: Apache-2.0
/* A store whose caller has many threads. */
#include "mctest.h"

#include "unit/store_rig.h"

struct racer {
	struct mc_store *s;
	unsigned seed;
	int bad;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	static const size_t len = 3000;
	uint8_t data[3000];
	char key[16];

	fill(data, len, r->seed);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "r%u", i);
		r->bad += st_put(r->s, key, data, len) != 0;
	}
	return NULL;
}

static void *put_tiny(void *arg)
{
	struct racer *r = arg;
	char key[32];

	for (unsigned i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "tiny%u.%u", r->seed, i);
		r->bad += st_put(r->s, key, "v", 1) != 0;
	}
	return NULL;
}

/* Each of these threads, of two clients, asks for space and generations in many messages while others commit with what they had. */
TEST(tiny_objects_of_many_threads)
{
	struct child owner;
	struct racer r[6];
	pthread_t t[6];
	struct mc_store *s[2];
	char key[32];
	int bad = 0;

	NEED_MASTER();
	ASSERT_EQ(child_start(&owner, "provider", master.port, 64 * MIB), 0);
	s[0] = st_open(master.port, 0, NULL);
	s[1] = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s[0] && s[1]);
	for (unsigned i = 0; i < 6; i++) {
		r[i] = (struct racer){ .s = s[i % 2], .seed = i };
		ASSERT_EQ(pthread_create(&t[i], NULL, put_tiny, &r[i]), 0);
	}
	for (unsigned i = 0; i < 6; i++) {
		pthread_join(t[i], NULL);
		bad += r[i].bad;
	}
	EXPECT_EQ(bad, 0);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "tiny%u.1999", i);
		EXPECT_EQ(st_get(s[0], key, key, sizeof(key)), 1);
	}
	mc_store_close(s[0]);
	mc_store_close(s[1]);
	EXPECT_EQ(child_stop(&owner, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(racing_puts_agree_on_one_value)
{
	struct mc_store *own[2], *far;
	struct racer r[4];
	pthread_t t[4];
	uint8_t buf[3000], again[3000];
	char key[16];

	NEED_MASTER();
	own[0] = st_open(master.port, 8 * MIB, NULL);
	own[1] = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own[0] && own[1] && far);
	for (unsigned i = 0; i < 4; i++) {
		r[i] = (struct racer){ .s = i < 2 ? own[i] : i == 2 ? far : own[0], .seed = i + 1 };
		pthread_create(&t[i], NULL, race, &r[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		EXPECT_EQ(r[i].bad, 0);
	}
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "r%u", i);
		EXPECT_EQ(st_get(own[0], key, buf, sizeof(buf)), 3000);
		EXPECT_TRUE(filled(buf, 3000, 1) || filled(buf, 3000, 2) || filled(buf, 3000, 3) || filled(buf, 3000, 4));
		EXPECT_EQ(st_get(own[1], key, again, sizeof(again)), 3000);
		EXPECT_MEMEQ(buf, again, 3000);
		EXPECT_EQ(st_get(far, key, again, sizeof(again)), 3000);
		EXPECT_MEMEQ(buf, again, 3000);
	}
	mc_store_close(far);
	mc_store_close(own[0]);
	mc_store_close(own[1]);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}
