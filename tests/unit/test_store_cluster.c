// SPDX-License-Identifier: Apache-2.0
/* The store among processes: a master, pools here and elsewhere, and what each of them can do to the others by ending. */
#include "mctest.h"

#include "unit/store_rig.h"

/* ---- one, many, everywhere ------------------------------------------------------------------------------------------ */

static int count_key(void *arg, const struct mc_list_item *it)
{
	*(unsigned *)arg += (unsigned)it->bytes;
	return 0;
}

TEST(every_call_across_processes)
{
	struct mc_store *a, *b;
	struct mc_query q[2] = { { .key = key_of("k1") }, { .key = key_of("none") } };
	struct child c;
	char buf[64];
	unsigned bytes = 0;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	a = st_open(master.port, 0, NULL);
	b = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(a && b);
	EXPECT_EQ(st_put(a, "k1", "one", 3), 0);
	EXPECT_EQ(st_put(b, "k2", "twotwo", 6), 0);
	EXPECT_EQ(st_put(b, "k1", "other", 5), 0); /* there already */
	EXPECT_EQ(st_get(a, "k2", buf, sizeof(buf)), 6);
	EXPECT_MEMEQ(buf, "twotwo", 6);
	EXPECT_EQ(st_get(b, "k1", buf, sizeof(buf)), 3);
	EXPECT_MEMEQ(buf, "one", 3);
	EXPECT_EQ(st_get(b, "k1", buf, 2), -EMSGSIZE);
	EXPECT_EQ(mc_store_exists(b, q, 2, SOON), 1);
	EXPECT_EQ(mc_store_stat(b, q, 2, SOON), 1);
	EXPECT_EQ(q[0].bytes, 3);
	EXPECT_EQ(q[1].result, 0);
	EXPECT_EQ(mc_store_list(a, "^k", count_key, &bytes, SOON), 2);
	EXPECT_EQ(bytes, 9);
	EXPECT_EQ(st_remove(b, "k1"), 0);
	EXPECT_EQ(st_get(a, "k1", buf, sizeof(buf)), -ENOENT);
	EXPECT_EQ(st_get(b, "k1", buf, sizeof(buf)), -ENOENT);
	EXPECT_EQ(st_remove(a, "k1"), -ENOENT);
	EXPECT_EQ(mc_store_remove_matching(a, "^k2$", MC_REMOVE_FORCE, SOON), 1);
	EXPECT_EQ(st_exists(b, "k2"), 0);
	mc_store_close(a);
	mc_store_close(b);
	EXPECT_EQ(child_stop(&c, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

#define NR 300

static void batch(struct mc_store *s, const char *prefix, size_t len)
{
	struct mc_put *put = calloc(NR, sizeof(*put));
	struct mc_get *get = calloc(NR, sizeof(*get));
	struct mc_query *q = calloc(NR, sizeof(*q));
	struct mc_remove *rm = calloc(NR, sizeof(*rm));
	struct mc_iov *iov = calloc(NR, sizeof(*iov));
	char(*key)[32] = calloc(NR, sizeof(*key));
	uint8_t *data = malloc(NR * len);

	for (unsigned i = 0; i < NR; i++) {
		snprintf(key[i], sizeof(key[i]), "%s%u", prefix, i);
		iov[i] = (struct mc_iov){ data + i * len, len };
		fill(iov[i].addr, len, i);
		put[i] = (struct mc_put){ .key = key_of(key[i]), .iov = &iov[i], .nr_iov = 1 };
		get[i] = (struct mc_get){ .key = key_of(key[i]), .iov = &iov[i], .nr_iov = 1 };
		q[i].key = rm[i].key = key_of(key[i]);
	}
	put[7].key.len = get[7].key.len = q[7].key.len = rm[7].key.len = 0;
	EXPECT_EQ(mc_store_put(s, put, NR, NULL, SOON), NR - 1);
	EXPECT_EQ(put[7].result, -EINVAL);
	memset(data, 0, NR * len);
	EXPECT_EQ(mc_store_get(s, get, NR, SOON), NR - 1);
	EXPECT_EQ(get[7].result, -EINVAL);
	for (unsigned i = 0; i < NR; i++)
		EXPECT_TRUE(i == 7 || filled(iov[i].addr, len, i));
	EXPECT_EQ(mc_store_exists(s, q, NR, SOON), NR - 1);
	EXPECT_EQ(mc_store_remove(s, rm, NR, MC_REMOVE_FORCE, SOON), NR - 1);
	EXPECT_EQ(rm[7].result, -EINVAL);
	EXPECT_EQ(mc_store_exists(s, q, NR, SOON), 0);
	free(data);
	free(key);
	free(iov);
	free(rm);
	free(q);
	free(get);
	free(put);
}

TEST(batches_here_and_by_tcp)
{
	struct mc_store *own, *a, *b;

	NEED_MASTER();
	own = st_open(master.port, 16 * MIB, NULL);
	a = st_open(master.port, 0, NULL);
	b = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && a && b);
	batch(own, "o", 1000);
	batch(a, "a", 10001);
	batch(b, "b", 5000);
	mc_store_close(a);
	mc_store_close(b);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* Large enough for parts and for space that is asked for ahead; what is wrong with one object is no other's business. */
/* From the machine's memory or not at all: a client that may not map it is told to ask. */
TEST(get_here)
{
	struct mc_store *s, *far;
	char buf[64] = "";
	struct mc_iov iov = { buf, sizeof(buf) };
	struct mc_get g[3] = { { .iov = &iov, .nr_iov = 1 }, { .iov = &iov, .nr_iov = 1 }, { .iov = &iov, .nr_iov = 1 } };

	NEED_MASTER();
	s = st_open(master.port, 16 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && far);
	EXPECT_EQ(st_put(s, "k", "hello", 5), 0);
	g[0].key = key_of("none");
	g[1].key = key_of("k");
	g[2].key = key_of("");
	EXPECT_EQ(mc_store_get_here(s, g, 3), 1);
	EXPECT_EQ(g[0].result, -EAGAIN);
	EXPECT_EQ(g[1].result, 5);
	EXPECT_EQ(g[2].result, -EINVAL);
	EXPECT_MEMEQ(buf, "hello", 5);
	EXPECT_EQ(mc_store_get_here(far, g, 2), 0);
	EXPECT_EQ(g[1].result, -EAGAIN);
	EXPECT_EQ(st_get(far, "k", buf, sizeof(buf)), 5);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
	EXPECT_EQ(mc_store_get_here(s, g, 2), 1); /* there is nobody to ask */
	EXPECT_EQ(g[0].result, -EAGAIN);
	mc_store_close(far);
	mc_store_close(s);
}

TEST(batches_in_parts)
{
	enum { PARTED = 700, ROOM = 4096 };
	static uint8_t data[PARTED][ROOM], buf[ROOM];
	static struct mc_put p[PARTED];
	static struct mc_iov iov[PARTED];
	static char key[PARTED][24];
	struct mc_put_opts replace = { .size = sizeof(replace), .flags = MC_PUT_REPLACE };
	struct mc_store *own, *s;

	NEED_MASTER();
	own = st_open(master.port, 512 * MIB, NULL);
	s = st_open(master.port, 0, NULL);
	ASSERT_TRUE(own && s);
	for (unsigned turn = 0; turn < 12; turn++) {
		bool again = turn % 3 == 2;

		for (unsigned i = 0; i < PARTED; i++) {
			snprintf(key[i], sizeof(key[i]), "t%u.%u", again ? turn - 1 : turn, i % 100 == 99 ? i - 1 : i);
			fill(data[i], ROOM, turn * PARTED + i);
			iov[i] = (struct mc_iov){ data[i], ROOM - i };
			p[i] = (struct mc_put){ .key = key_of(key[i]), .iov = &iov[i], .nr_iov = 1 };
			if (i % 128 == 127)
				p[i].key.len = 0;
			if (i % 128 == 64)
				iov[i].len = 0;
		}
		EXPECT_EQ(mc_store_put(s, p, PARTED, again ? &replace : NULL, SOON), PARTED - PARTED / 128 - (PARTED + 63) / 128);
		for (unsigned i = 0; i < PARTED; i++) {
			bool bad = i % 128 == 127 || i % 128 == 64;
			/* The same key twice: the first stays, unless replacing was asked for. */
			unsigned is = i % 100 == 99 && !again ? i - 1 : i % 100 == 98 && again ? i + 1 : i;

			EXPECT_EQ(p[i].result, bad ? -EINVAL : 0);
			if (bad)
				continue;
			EXPECT_EQ(st_get(i % 2 ? s : own, key[i], buf, ROOM), ROOM - is);
			EXPECT_TRUE(filled(buf, ROOM - is, turn * PARTED + is));
		}
	}
	mc_store_close(s);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(options_of_other_sizes)
{
	struct {
		struct mc_put_opts o;
		uint64_t more;
	} newer = { .o = { .size = sizeof(newer) } };
	struct mc_store *s;
	struct mc_iov iov = { (void *)(uintptr_t)"x", 1 };
	struct mc_put p = { .key = key_of("k"), .iov = &iov, .nr_iov = 1 };
	struct mc_put_opts old = { .size = offsetof(struct mc_put_opts, replicas), .replicas = 77, .flags = 0xffff };

	NEED_MASTER();
	EXPECT_EQ(mc_store_open(NULL, &s), -EINVAL);
	EXPECT_EQ(st_open_opts(master.port, (struct mc_store_opts){ .flags = 1u << 31 }, &s), -EINVAL);
	/* A client of a node has nothing to contribute. */
	EXPECT_EQ(st_open_opts(master.port, (struct mc_store_opts){ .flags = MC_STORE_OF_NODE, .pool_bytes = MIB }, &s), -EINVAL);
	s = st_open(master.port, 4 * MIB, NULL);
	ASSERT_TRUE(s);
	newer.more = 1;
	mc_store_put(s, &p, 1, &newer.o, SOON);
	EXPECT_EQ(p.result, -E2BIG);
	newer.more = 0;
	newer.o.flags = 1u << 20;
	mc_store_put(s, &p, 1, &newer.o, SOON);
	EXPECT_EQ(p.result, -EINVAL);
	mc_store_put(s, &p, 1, &old, SOON); /* what lies beyond its size is not an option */
	EXPECT_EQ(p.result, 0);
	mc_store_close(s);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(tenants_and_two_stores_in_one_process)
{
	struct mc_store *a, *b, *c;
	char buf[16];

	NEED_MASTER();
	a = st_open(master.port, 4 * MIB, NULL);
	EXPECT_EQ(st_open_opts(master.port, (struct mc_store_opts){ .tenant = "blue", .pool_bytes = 4 * MIB }, &b), 0);
	EXPECT_EQ(st_open_opts(master.port, (struct mc_store_opts){ .tenant = "blue", .transports = "tcp" }, &c), 0);
	ASSERT_TRUE(a && b && c);
	EXPECT_TRUE(strcmp(mc_store_name(a), mc_store_name(b)));
	EXPECT_EQ(st_put(a, "k", "mine", 4), 0);
	EXPECT_EQ(st_put(b, "k", "yours", 5), 0);
	EXPECT_EQ(st_get(a, "k", buf, sizeof(buf)), 4);
	EXPECT_EQ(st_get(b, "k", buf, sizeof(buf)), 5);
	EXPECT_EQ(st_get(c, "k", buf, sizeof(buf)), 5);
	EXPECT_MEMEQ(buf, "yours", 5);
	EXPECT_EQ(mc_store_remove_matching(a, NULL, MC_REMOVE_FORCE, SOON), 1);
	EXPECT_EQ(st_get(c, "k", buf, sizeof(buf)), 5);
	mc_store_close(a);
	EXPECT_EQ(st_put(c, "k2", "x", 1), 0);
	mc_store_close(c);
	mc_store_close(b);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* ---- replacing ------------------------------------------------------------------------------------------------------ */

static void *give(void *arg, size_t len)
{
	struct mc_iov *iov = arg;

	iov->addr = realloc(iov->addr, len);
	iov->len = len;
	return iov->addr;
}

TEST(upserts_are_seen_where_the_place_was_remembered)
{
	struct mc_put_opts replace = { .flags = MC_PUT_REPLACE };
	struct mc_store *own, *far;
	static uint8_t data[5000], buf[5000];
	struct mc_iov got = { 0 };

	NEED_MASTER();
	own = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far);
	for (unsigned i = 0; i < 40; i++) {
		size_t len = 100 + (i * 1237) % 4900;
		struct mc_get g = { .key = key_of("k"), .alloc = give, .arg = &got };

		fill(data, len, i);
		EXPECT_EQ(st_put_opts(i % 3 ? own : far, "k", data, len, replace), 0);
		if (i % 2) { /* the size that was remembered is another one */
			EXPECT_EQ(mc_store_get(far, &g, 1, SOON), 1);
			EXPECT_EQ(g.result, (int64_t)len);
			EXPECT_EQ(got.len, len);
			EXPECT_TRUE(got.len == len && filled(got.addr, len, i));
		} else {
			EXPECT_EQ(st_get(far, "k", buf, len), (int64_t)len);
			EXPECT_TRUE(filled(buf, len, i));
		}
		EXPECT_EQ(st_get(own, "k", buf, sizeof(buf)), (int64_t)len);
		EXPECT_TRUE(filled(buf, len, i));
	}
	free(got.addr);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* ---- where ---------------------------------------------------------------------------------------------------------- */

TEST(two_replicas_and_one_dies)
{
	struct mc_store *a, *b;
	struct mc_query q = { .key = key_of("twice7") };
	struct child c, d;
	static uint8_t data[20000], buf[20000];
	char key[16];

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	ASSERT_EQ(child_start(&d, "provider", master.port, 8 * MIB), 0);
	a = st_open(master.port, 0, NULL);
	b = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(a && b);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "twice%u", i);
		fill(data, sizeof(data), i);
		EXPECT_EQ(st_put_opts(i % 2 ? a : b, key, data, sizeof(data), (struct mc_put_opts){ .replicas = 2 }), 0);
		EXPECT_EQ(st_get(b, key, buf, sizeof(buf)), sizeof(buf));
	}
	EXPECT_EQ(mc_store_stat(b, &q, 1, SOON), 1);
	EXPECT_EQ(q.replicas, 2);
	q.replicas = 0;
	EXPECT_EQ(mc_store_stat(a, &q, 1, SOON), 1); /* it maps both, and need not ask for anything but their number */
	EXPECT_EQ(q.replicas, 2);
	EXPECT_EQ(child_stop(&c, SIGKILL), 128 + SIGKILL);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "twice%u", i);
		memset(buf, 0, sizeof(buf));
		EXPECT_EQ(st_get(b, key, buf, sizeof(buf)), sizeof(buf));
		EXPECT_TRUE(filled(buf, sizeof(buf), i));
		EXPECT_EQ(st_get(a, key, buf, sizeof(buf)), sizeof(buf));
		EXPECT_TRUE(filled(buf, sizeof(buf), i));
	}
	EXPECT_EQ(st_put(a, "after", "x", 1), 0);
	EXPECT_EQ(st_put(b, "after2", "x", 1), 0);
	mc_store_close(a);
	mc_store_close(b);
	EXPECT_EQ(child_stop(&d, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(preferred_segments)
{
	struct mc_store *a, *b, *c;
	const char *want[1];
	char key[16], buf[4];

	NEED_MASTER();
	a = st_open(master.port, 4 * MIB, NULL);
	b = st_open(master.port, 4 * MIB, NULL);
	c = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(a && b && c);
	want[0] = mc_store_name(b);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "p%u", i);
		EXPECT_EQ(st_put_opts(i % 2 ? a : c, key, "x", 1, (struct mc_put_opts){ .preferred = want, .nr_preferred = 1 }), 0);
	}
	mc_store_close(a); /* nothing was there */
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "p%u", i);
		EXPECT_EQ(st_get(c, key, buf, sizeof(buf)), 1);
	}
	mc_store_close(c);
	mc_store_close(b);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

static int put_grouped(struct mc_store *s, const char *key, const char *group, uint32_t flags)
{
	struct mc_key g = key_of(group);

	return st_put_opts(s, key, "12345", 5, (struct mc_put_opts){ .groups = &g, .flags = flags });
}

static struct mc_query stat_of(struct mc_store *s, const char *key)
{
	struct mc_query q = { .key = key_of(key) };

	mc_store_stat(s, &q, 1, SOON);
	return q;
}

/* Here through shared memory, and from elsewhere through a socket: @s is one or the other. */
static void groups_types_and_pins(struct mc_store *s, const char *prefix)
{
	const uint32_t replace = MC_PUT_REPLACE, soft = MC_PUT_SOFT_PIN;
	char k[32], p[32];

	snprintf(k, sizeof(k), "%sk", prefix);
	snprintf(p, sizeof(p), "%sp", prefix);
	EXPECT_EQ(put_grouped(s, k, "one", 0), 0);
	EXPECT_EQ(put_grouped(s, k, "two", 0), 0); /* there already */
	EXPECT_EQ(put_grouped(s, k, "two", replace), -EINVAL);
	EXPECT_EQ(put_grouped(s, k, "one", replace), 0);
	EXPECT_EQ(put_grouped(s, k, "", replace), 0);
	EXPECT_EQ(put_grouped(s, k, "two", replace), -EINVAL);

	EXPECT_EQ(st_put_opts(s, p, "1", 1, (struct mc_put_opts){ .data_type = MC_DATA_WEIGHT, .flags = soft }), 0);
	EXPECT_EQ(stat_of(s, p).data_type, MC_DATA_WEIGHT);
	EXPECT_EQ(stat_of(s, p).flags, soft);
	EXPECT_EQ(st_put_opts(s, p, "12", 2, (struct mc_put_opts){ .flags = replace }), 0);
	EXPECT_EQ(stat_of(s, p).data_type, MC_DATA_UNKNOWN);
	EXPECT_EQ(stat_of(s, p).flags, soft); /* kept */
	EXPECT_EQ(st_put_opts(s, p, "123", 3, (struct mc_put_opts){ .flags = replace | MC_PUT_SOFT_UNPIN }), 0);
	EXPECT_EQ(stat_of(s, p).flags, 0);
	EXPECT_EQ(stat_of(s, p).bytes, 3);
	EXPECT_EQ(st_put_opts(s, p, "1", 1, (struct mc_put_opts){ .flags = replace | soft, .soft_pin_ms = 25 * 3600 * 1000 }), -EINVAL);
	EXPECT_EQ(stat_of(s, p).bytes, 3);
	EXPECT_EQ(st_put_opts(s, p, "1", 1, (struct mc_put_opts){ .flags = replace | soft, .soft_pin_ms = 24 * 3600 * 1000 }), 0);
	EXPECT_EQ(st_put_opts(s, p, "1", 1, (struct mc_put_opts){ .flags = soft | MC_PUT_SOFT_UNPIN }), -EINVAL);
	EXPECT_EQ(st_put_opts(s, p, "1", 1, (struct mc_put_opts){ .data_type = 16 }), -EINVAL);
}

TEST(how_objects_are_kept)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 4 * MIB };
	struct mc_store *own, *far, *alone = NULL;

	NEED_MASTER();
	own = st_open(master.port, 4 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	EXPECT_EQ(mc_store_open(&o, &alone), 0);
	ASSERT_TRUE(own && far && alone);
	groups_types_and_pins(own, "own");
	groups_types_and_pins(far, "far");
	groups_types_and_pins(alone, "alone");
	mc_store_close(alone);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

#define MANY 3000

/* Leased by a read on this node, which the owner knows of; by a read from elsewhere and a question, which the master does. */
TEST(removing_all_but_what_is_leased)
{
	const char *const leased[] = { "r5", "r77", "r2999" };
	struct mc_store *own, *second, *far;
	char key[16], buf[8];

	NEED_MASTER();
	own = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(key, sizeof(key), "r%u", i);
		ASSERT_EQ(st_put(own, key, key, strlen(key)), 0);
	}
	second = st_open(master.port, 8 * MIB, NULL); /* a pool with little in it */
	ASSERT_TRUE(second);
	EXPECT_EQ(st_get(own, leased[0], buf, sizeof(buf)), 2);
	EXPECT_EQ(st_get(far, leased[1], buf, sizeof(buf)), 3);
	EXPECT_EQ(st_exists(far, leased[2]), 1);
	EXPECT_EQ(mc_store_remove_matching(own, NULL, 0, SOON), MANY - 3);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(st_get(far, leased[i], buf, sizeof(buf)), (int64_t)strlen(leased[i]));
		EXPECT_EQ(st_get(own, leased[i], buf, sizeof(buf)), (int64_t)strlen(leased[i]));
		EXPECT_MEMEQ(buf, leased[i], strlen(leased[i]));
		EXPECT_EQ(st_put(own, leased[i], "again", 5), 0); /* there, and unchanged */
		EXPECT_EQ(st_get(far, leased[i], buf, sizeof(buf)), (int64_t)strlen(leased[i]));
	}
	for (unsigned i = 0; i < MANY; i += 7) {
		snprintf(key, sizeof(key), "r%u", i);
		if (strcmp(key, leased[0]) && strcmp(key, leased[1]) && strcmp(key, leased[2])) {
			EXPECT_EQ(st_exists(far, key), 0);
			EXPECT_EQ(st_exists(own, key), 0);
		}
	}
	EXPECT_EQ(mc_store_remove_matching(far, NULL, 0, SOON), 0);
	EXPECT_EQ(mc_store_remove_matching(far, NULL, MC_REMOVE_FORCE, SOON), 3);
	EXPECT_EQ(st_exists(far, leased[0]), 0);
	mc_store_close(second);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* ---- full pools ----------------------------------------------------------------------------------------------------- */

TEST(full_pools_evict)
{
	struct mc_store *own, *far;
	static uint8_t data[300000], buf[300000];
	char key[16];
	unsigned there = 0;

	NEED_MASTER();
	own = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "e%u", i);
		fill(data, sizeof(data), i);
		EXPECT_EQ(st_put(i % 2 ? own : far, key, data, sizeof(data) - i), 0);
	}
	for (unsigned i = 0; i < 200; i++) {
		int64_t n;

		snprintf(key, sizeof(key), "e%u", i);
		n = st_get(i % 3 ? own : far, key, buf, sizeof(buf));
		EXPECT_TRUE(n == -ENOENT || (n == (int64_t)(sizeof(data) - i) && filled(buf, (size_t)n, i)));
		there += n > 0;
	}
	EXPECT_GE(there, 20);
	EXPECT_LT(there, 28);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(a_batch_larger_than_the_pool)
{
	struct mc_put put[100];
	struct mc_store *own;
	struct mc_iov iov;
	static uint8_t data[MIB];
	char key[100][16];

	NEED_MASTER();
	own = st_open(master.port, 4 * MIB, NULL);
	ASSERT_TRUE(own);
	fill(data, sizeof(data), 1);
	iov = (struct mc_iov){ data, sizeof(data) };
	for (unsigned i = 0; i < 100; i++) {
		snprintf(key[i], sizeof(key[i]), "b%u", i);
		put[i] = (struct mc_put){ .key = key_of(key[i]), .iov = &iov, .nr_iov = 1 };
	}
	EXPECT_EQ(mc_store_put(own, put, 100, NULL, SOON), 100);
	EXPECT_EQ(put[0].result, 0);
	EXPECT_EQ(put[99].result, 0);
	EXPECT_EQ(st_get(own, "b99", data, sizeof(data)), sizeof(data));
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(objects_as_large_as_the_pool)
{
	struct mc_store *own, *far;
	size_t big = 7 * MIB;
	uint8_t *data = malloc(9 * MIB), *buf = malloc(9 * MIB);
	char key[16];

	NEED_MASTER();
	own = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far && data && buf);
	for (unsigned i = 0; i < 6; i++) {
		struct mc_store *s = i % 2 ? far : own;

		snprintf(key, sizeof(key), "s%u", i);
		EXPECT_EQ(st_put(own, key, "small", 5), 0); /* some of the pool is granted to this client */
		snprintf(key, sizeof(key), "big%u", i);
		fill(data, big, i);
		EXPECT_EQ(st_put(s, key, data, big), 0);
		EXPECT_EQ(st_get(own, key, buf, big), (int64_t)big);
		EXPECT_TRUE(filled(buf, big, i));
		EXPECT_EQ(st_get(far, key, buf, big), (int64_t)big);
		EXPECT_TRUE(filled(buf, big, i));
	}
	EXPECT_EQ(st_put(own, "huge", data, 9 * MIB), -ENOSPC);
	EXPECT_EQ(st_put(far, "huge", data, 9 * MIB), -ENOSPC);
	EXPECT_EQ(st_get(own, "big5", buf, big), (int64_t)big); /* nothing went for what cannot succeed */
	free(data);
	free(buf);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* Pinned objects leave holes between them; what comes then has many extents. */
TEST(objects_in_pieces)
{
	struct mc_store *own, *far;
	static uint8_t data[3 * MIB], buf[3 * MIB];
	struct mc_slice sl[3];
	struct mc_get_slices gs = { .key = key_of("pieces"), .slices = sl, .nr = 3 };
	struct mc_iov *iov = calloc(9000, sizeof(*iov));
	struct mc_get g = { .key = key_of("pieces"), .iov = iov, .nr_iov = 9000 };
	size_t big = 2 * MIB;
	char key[16];

	NEED_MASTER();
	own = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far && iov);
	for (unsigned i = 0; i < 120; i++) {
		snprintf(key, sizeof(key), "h%u", i);
		fill(data, 64000, i);
		EXPECT_EQ(st_put_opts(own, key, data, 64000, (struct mc_put_opts){ .flags = i % 2 ? MC_PUT_HARD_PIN : 0 }), 0);
	}
	for (unsigned i = 0; i < 120; i += 2) {
		snprintf(key, sizeof(key), "h%u", i);
		EXPECT_EQ(st_remove(own, key), 0);
	}
	fill(data, big, 77);
	EXPECT_EQ(st_put(own, "pieces", data, big), 0);
	EXPECT_EQ(st_get(own, "pieces", buf, sizeof(buf)), (int64_t)big);
	EXPECT_TRUE(filled(buf, big, 77));
	memset(buf, 0, sizeof(buf));
	EXPECT_EQ(st_get(far, "pieces", buf, sizeof(buf)), (int64_t)big);
	EXPECT_TRUE(filled(buf, big, 77));
	memset(buf, 0, sizeof(buf));
	sl[0] = (struct mc_slice){ buf, 1000, 100000 };
	sl[1] = (struct mc_slice){ buf + 200000, big - 5, 6 };
	sl[2] = (struct mc_slice){ buf + 300000, 1500000, 7 };
	EXPECT_EQ(mc_store_get_slices(far, &gs, 1, SOON), 1);
	EXPECT_EQ(sl[0].result, 100000);
	EXPECT_MEMEQ(buf, data + 1000, 100000);
	EXPECT_EQ(sl[1].result, -ERANGE);
	EXPECT_EQ(sl[2].result, 7);
	EXPECT_MEMEQ(buf + 300000, data + 1500000, 7);
	/* Into more pieces than one request may name; each extent of it, and then an object in one. */
	memset(buf, 0, sizeof(buf));
	for (unsigned i = 0; i < 9000; i++)
		iov[i] = (struct mc_iov){ buf + i * 300, 300 };
	EXPECT_EQ(mc_store_get(far, &g, 1, SOON), 1);
	EXPECT_TRUE(filled(buf, big, 77));
	g.key = key_of("h1");
	for (unsigned i = 0; i < 9000; i++)
		iov[i] = (struct mc_iov){ buf + i * 10, 10 };
	EXPECT_EQ(mc_store_get(far, &g, 1, SOON), 1);
	EXPECT_TRUE(filled(buf, 64000, 1));
	free(iov);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}
