// SPDX-License-Identifier: Apache-2.0
/*
 * Every binary message: the bytes docs/protocol.md promises, there and back, each truncation, trailing
 * bytes, counts and lengths over their limits. And the helpers beside them: keys and scratch memory.
 */
#include "mctest.h"
#include "proto/proto.h"

#define K(text) ((struct key){ .data = text, .len = sizeof(text) - 1 })
#define ID1 { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }
#define ID2 { 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe }
#define ID1_HEX "0102030405060708090a0b0c0d0e0f10 "
#define ID2_HEX "f0f1f2f3f4f5f6f7f8f9fafbfcfdfe00 "
#define ONES 0x0101010101010101
#define ONES_HEX "0101010101010101 "

typedef int again_fn(const void *data, size_t len, struct scratch *s, struct buf *b);

/* A sample of one message, the bytes it must become, and how to read it and write what was read. */
struct sample {
	const char *name, *hex;
	void (*encode)(struct buf *b);
	again_fn *again;
	struct sample *next;
	size_t older; /* so many of its bytes are a message of an older version; 0: none are */
};
static struct sample *samples;

#define SAMPLE(id, msg, bytes, ...)                                                           \
	static void id##_encode(struct buf *b)                                                \
	{                                                                                     \
		struct msg m = { __VA_ARGS__ };                                               \
                                                                                              \
		msg##_encode(&m, b);                                                          \
	}                                                                                     \
	static int id##_again(const void *data, size_t len, struct scratch *s, struct buf *b) \
	{                                                                                     \
		struct msg m;                                                                 \
		int ret = msg##_decode(data, len, s, &m);                                     \
                                                                                              \
		if (!ret && b)                                                                \
			msg##_encode(&m, b);                                                  \
		return ret;                                                                   \
	}                                                                                     \
	static struct sample id##_sample = { #id, bytes, id##_encode, id##_again, NULL, 0 };  \
	__attribute__((constructor)) static void id##_add(void)                               \
	{                                                                                     \
		id##_sample.next = samples;                                                   \
		samples = &id##_sample;                                                       \
	}

SAMPLE(hello, msg_hello, "0100 0300 02 " ID1_HEX ID2_HEX "0300 613a31 0500 302e312e30 0000",
       .version_min = 1, .version_max = 3, .role = ROLE_OWNER, .id = ID1, .node = ID2,
       .name = K("a:1"), .software = K("0.1.0"), .auth = K(""))
SAMPLE(hello_reply, msg_hello_reply, "0100 " ID1_HEX "00f2052a01000000 07000000 0100 78",
       .version = 1, .id = ID1, .lease_ns = 5000000000, .view = 7, .software = K("x"))

#define POOL                                                                                \
	{                                                                                   \
		.id = ID1, .node = ID2, .epoch = 3, .index = 4, .flags = POOL_DRAINING,     \
		.segment = K("s"), .unix_path = K("unix:@p"), .addr = K(""),                \
		.capacity = 0x1000, .used = 0x10, .nr_regions = 2,                          \
		.region = { { 0x7000, 0x800 }, { 0x9000, 0x800 } },                         \
	}
#define POOL_HEX                                                                            \
	ID1_HEX ID2_HEX "0300000000000000 04000000 01000000 0100 73 0700 756e69783a4070 "   \
			"0000 0010000000000000 1000000000000000 0200 0070000000000000 "     \
			"0008000000000000 0090000000000000 0008000000000000 "

SAMPLE(pool_join, msg_pool_join, POOL_HEX, .pool = POOL)
SAMPLE(pool_join_reply, msg_pool_join_reply, "05000000 06000000", .index = 5, .view = 6)
SAMPLE(pool_join_reply_rules, msg_pool_join_reply, "05000000 06000000 07000000 01000000", .index = 5, .view = 6,
       .has_rules = true, .rules = { 7, POOL_RULE_SOFT_STAYS })
SAMPLE(pool_stat, msg_pool_stat,
       "01000000 0200000000000000 0300000000000000 0400000000000000 0500000000000000 "
       "0600000000000000",
       .flags = 1, .capacity = 2, .used = 3, .objects = 4, .evicted = 5, .evicted_bytes = 6)

static struct publish_item publish_items[] = {
	{ .key = K("\0k1"), .put_id = ONES, .size = 4096, .flags = OBJ_CRC | OBJ_REPLACE | 2 << OBJ_TYPE_SHIFT,
	  .soft_pin_ms = 9, .group = 7, .loc = { .region = 1, .nr_extents = 2, .off = 0x40, .gen = 8 } },
	{ .key = K("\1tk"), .put_id = 2, .size = UINT64_MAX },
};
#define PUBLISH_HEX                                                                         \
	"02000000 0300 006b31 " ONES_HEX "0010000000000000 0c020000 09000000 07000000 0100 0200 "    \
	"4000000000000000 0800000000000000 0300 01746b 0200000000000000 ffffffffffffffff "  \
	"00000000 00000000 00000000 0000 0000 0000000000000000 0000000000000000"
SAMPLE(publish, msg_publish, PUBLISH_HEX, .nr = 2, .items = publish_items)
SAMPLE(commit, msg_commit, PUBLISH_HEX, .nr = 2, .items = publish_items)

static struct drop_item drop_items[] = { { K("ab"), 6 }, { K("c"), 8 } };
#define DROP_HEX "02000000 0200 6162 0600000000000000 0100 63 0800000000000000"
SAMPLE(withdraw, msg_withdraw, DROP_HEX, .nr = 2, .items = drop_items)
SAMPLE(drop, msg_drop, "01 " DROP_HEX, .force = true, .nr = 2, .items = drop_items)
SAMPLE(drop_match, msg_drop_match, "00 01 0100 74 " DROP_HEX, .all_tenants = true, .tenant = K("t"), .nr = 2, .leased = drop_items)
SAMPLE(dropped, msg_dropped, "0900000000000000 " DROP_HEX, .count = 9, .nr = 2, .kept = drop_items)

static struct key keys[] = { K("\0a"), K("\0bc") };
SAMPLE(keys, msg_keys, "01 00 02000000 0200 0061 0300 006263", .touch = true, .nr = 2, .keys = keys)
SAMPLE(no_keys, msg_keys, "00 01 00000000", .force = true)

static struct located located[] = {
	{ .status = -ENOENT },
	{ .size = 7, .put_id = ONES, .flags = OBJ_HARD_PIN, .nr_replicas = 2,
	  .replica = { { 3, { 1, 1, 64, 2 } }, { 4, { 0, 1, 128, 4 } } } },
};
SAMPLE(located, msg_located,
       "09000000 02000000 feffffff 00000000 0700000000000000 " ONES_HEX "01000000 02 "
       "03000000 0100 0100 4000000000000000 0200000000000000 "
       "04000000 0000 0100 8000000000000000 0400000000000000",
       .view = 9, .nr = 2, .items = located)
SAMPLE(existing, msg_existing, "09000000 03000000 010001", .view = 9, .nr = 3,
       .found = (const uint8_t *)"\1\0\1")

static int32_t statuses[] = { 0, -EEXIST, 1 };
static struct inherited inherited[] = { { 0, 7, 0 }, { 2, 0, 500 } };
SAMPLE(published, msg_published,
       "03000000 00000000 efffffff 01000000 02000000 00000000 07000000 00000000 02000000 00000000 f4010000",
       .statuses = { 3, statuses }, .nr = 2, .inherited = inherited)
SAMPLE(statuses, msg_statuses, "03000000 00000000 efffffff 01000000", .nr = 3, .status = statuses)
SAMPLE(match, msg_match, "01 0000 0300 612e2a 0500000000000000 64000000", .force = true,
       .tenant = K(""), .pattern = K("a.*"), .cursor = 5, .max = 100)
SAMPLE(clear, msg_clear, "0100 73 " DROP_HEX, .segment = K("s"), .nr = 2, .items = drop_items)
SAMPLE(copy, msg_copy, "0200 0061 0600000000000000 e803000000000000 " ID1_HEX ID2_HEX "0700 756e69783a4070 0300 613a31",
       .key = K("\0a"), .gen = 6, .timeout_ms = 1000, .pool = ID1, .node = ID2, .unix_path = K("unix:@p"), .addr = K("a:1"))
SAMPLE(task_create, msg_task_create, "01 0200 0061 0100 73 0200 0100 74 0000", .type = TASK_MOVE, .key = K("\0a"), .source = K("s"),
       .nr_targets = 2, .target = { K("t"), K("") })
SAMPLE(task_id, msg_task_id, ID1_HEX, .id = ID1)
SAMPLE(task, msg_task, ID1_HEX "00 03 0100000000000000 0200000000000000 " ID2_HEX "0200 6f6b", .id = ID1, .status = TASK_SUCCESS,
       .created_ms = 1, .updated_ms = 2, .pool = ID2, .message = K("ok"))
SAMPLE(count, msg_count, "ffffffffffffffff", .count = UINT64_MAX)

static struct list_item list_items[] = { { K("\0a"), 4096, OBJ_SOFT_PIN, 1 }, { K("\0b"), 1, 0, 0 } };
SAMPLE(list_reply, msg_list_reply,
       ONES_HEX "02000000 0200 0061 0010000000000000 02000000 01 0200 0062 0100000000000000 "
		"00000000 00",
       .cursor = ONES, .nr = 2, .items = list_items)

static struct pool_info pools[] = { POOL, POOL }, bare_pools[1];
SAMPLE(pools, msg_pools, "05000000 02000000 " POOL_HEX POOL_HEX, .view = 5, .nr = 2, .pools = pools)
SAMPLE(bare_pool, msg_pools,
       "00000000 01000000 00000000000000000000000000000000 00000000000000000000000000000000 "
       "0000000000000000 00000000 00000000 0000 0000 0000 0000000000000000 0000000000000000 0000",
       .nr = 1, .pools = bare_pools)

SAMPLE(attach, msg_attach, ID1_HEX ID2_HEX "01", .id = ID1, .node = ID2, .write = true)
SAMPLE(attach_reply, msg_attach_reply,
       ID1_HEX "0100000000000000 0200000000000000 0300000000000000 0200 0400000000000000 "
	       "0500000000000000",
       .pool_id = ID1, .epoch = 1, .dir_bytes = 2, .ring_bytes = 3, .nr_regions = 2,
       .region_bytes = { 4, 5 })

static struct grant_run runs[] = { { 1, 0x1000, 0x2000 }, { 2, 0, 1 } };
#define RUNS_HEX                                                                            \
	"02000000 0100 0010000000000000 0020000000000000 0200 0000000000000000 "            \
	"0100000000000000"
SAMPLE(grant, msg_grant, "0000400000000000", .bytes = 4 * MiB)
SAMPLE(grant_reply, msg_grant_reply, ONES_HEX "10000000 " RUNS_HEX, .gen = ONES, .gen_count = 16,
       .nr = 2, .runs = runs)
SAMPLE(give_back, msg_return, RUNS_HEX, .nr = 2, .runs = runs)
SAMPLE(put, msg_put, "0200 0061 " ONES_HEX "0500000000000000 08000000 00000000 05000000 78563412",
       .key = K("\0a"), .put_id = ONES, .size = 5, .flags = OBJ_CRC, .group = 5, .crc = 0x12345678)

static struct data_vec vecs[] = { { 0x7f0000000000, 0x1000 }, { 1, 2 } };
SAMPLE(data, msg_data,
       "02000000 00000000007f0000 0010000000000000 0100000000000000 0200000000000000", .nr = 2,
       .vecs = vecs)

static void hex_put(struct buf *b, const char *hex)
{
	unsigned v;

	for (; *hex; hex++) {
		if (*hex == ' ')
			continue;
		sscanf(hex, "%2x", &v);
		buf_put_u8(b, (uint8_t)v);
		hex++;
	}
}

__attribute__((constructor)) static void older_forms(void)
{
	pool_join_reply_rules_sample.older = 8;
	published_sample.older = 16;
}

TEST(bytes_are_as_documented)
{
	for (struct sample *t = samples; t; t = t->next) {
		struct buf b = BUF_INIT, want = BUF_INIT;

		hex_put(&want, t->hex);
		t->encode(&b);
		if (b.err || b.len != want.len || memcmp(b.data, want.data, b.len))
			MCTEST_FAIL("%s: err %d, %zu bytes for %zu", t->name, b.err, b.len, want.len);
		buf_fini(&b);
		buf_fini(&want);
	}
}

TEST(there_and_back)
{
	struct scratch s = SCRATCH_INIT;

	for (struct sample *t = samples; t; t = t->next) {
		struct buf b = BUF_INIT, back = BUF_INIT;
		int ret;

		t->encode(&b);
		ret = t->again(b.data, b.len, &s, &back);
		if (ret || back.err || back.len != b.len || memcmp(b.data, back.data, b.len))
			MCTEST_FAIL("%s: decode %d, encode %d, %zu bytes of %zu", t->name, ret, back.err,
				    back.len, b.len);
		scratch_reset(&s);
		buf_fini(&b);
		buf_fini(&back);
	}
	scratch_fini(&s);
}

/* Each prefix is copied into memory of its own size, so that a sanitizer sees one byte read too many. */
TEST(every_truncation_is_refused)
{
	struct scratch s = SCRATCH_INIT;

	for (struct sample *t = samples; t; t = t->next) {
		struct buf b = BUF_INIT;

		t->encode(&b);
		for (size_t len = 0; len < b.len; len++) {
			uint8_t *part = malloc(len + !len);

			memcpy(part, b.data, len);
			/* One that older peers send is a whole message. */
			if (t->again(part, len, &s, NULL) != -EBADMSG && len != t->older)
				MCTEST_FAIL("%s: %zu of %zu bytes were accepted", t->name, len, b.len);
			scratch_reset(&s);
			free(part);
		}
		buf_put_u8(&b, 0);
		if (t->again(b.data, b.len, &s, NULL) != -EBADMSG)
			MCTEST_FAIL("%s: a byte too many was accepted", t->name);
		scratch_reset(&s);
		buf_fini(&b);
	}
	scratch_fini(&s);
}

/* Every single-bit error: whatever the answer, it is an answer, and nothing outside the message is read. */
TEST(flipped_bits_do_no_harm)
{
	struct scratch s = SCRATCH_INIT;

	for (struct sample *t = samples; t; t = t->next) {
		struct buf b = BUF_INIT;

		t->encode(&b);
		for (size_t bit = 0; bit < b.len * 8; bit++) {
			uint8_t *copy = malloc(b.len);
			int ret;

			memcpy(copy, b.data, b.len);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			ret = t->again(copy, b.len, &s, NULL);
			if (ret && ret != -EBADMSG)
				MCTEST_FAIL("%s: bit %zu: %d", t->name, bit, ret);
			scratch_reset(&s);
			free(copy);
		}
		buf_fini(&b);
	}
	scratch_fini(&s);
}

TEST(values_arrive)
{
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT;
	struct msg_hello h;
	struct msg_pools p;
	struct msg_located l;
	struct msg_publish pub;

	hello_encode(&b);
	ASSERT_EQ(msg_hello_decode(b.data, b.len, &s, &h), 0);
	EXPECT_EQ(h.version_max, 3);
	EXPECT_EQ(h.role, ROLE_OWNER);
	EXPECT_EQ(h.id[15], 16);
	EXPECT_EQ(h.node[0], 0xf0);
	EXPECT_EQ(h.name.len, 3);
	EXPECT_MEMEQ(h.name.data, "a:1", 3);
	EXPECT_EQ(h.auth.len, 0);

	buf_fini(&b);
	pools_encode(&b);
	ASSERT_EQ(msg_pools_decode(b.data, b.len, &s, &p), 0);
	ASSERT_EQ(p.nr, 2u);
	EXPECT_EQ(p.pools[1].region[1].addr, 0x9000u);
	EXPECT_EQ(p.pools[1].unix_path.len, 7);
	EXPECT_EQ(p.pools[1].nr_regions, 2);

	buf_fini(&b);
	located_encode(&b);
	ASSERT_EQ(msg_located_decode(b.data, b.len, &s, &l), 0);
	ASSERT_EQ(l.nr, 2u);
	EXPECT_EQ(l.items[0].status, -ENOENT);
	EXPECT_EQ(l.items[0].nr_replicas, 0);
	EXPECT_EQ(l.items[1].nr_replicas, 2);
	EXPECT_EQ(l.items[1].replica[1].pool, 4u);
	EXPECT_EQ(l.items[1].replica[1].loc.off, 128u);

	buf_fini(&b);
	publish_encode(&b);
	ASSERT_EQ(msg_publish_decode(b.data, b.len, &s, &pub), 0);
	ASSERT_EQ(pub.nr, 2u);
	EXPECT_EQ(pub.items[0].loc.nr_extents, 2);
	EXPECT_EQ(pub.items[0].loc.gen, 8u);
	EXPECT_EQ(pub.items[1].size, UINT64_MAX);
	scratch_fini(&s);
	buf_fini(&b);
}

/* A count that the bytes cannot back is refused before memory is asked for: nothing was allocated. */
static void refused_count(const char *name, const char *head, uint32_t count, size_t tail,
			  again_fn *again)
{
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT;
	void *rest;

	hex_put(&b, head);
	buf_put_u32(&b, count);
	rest = tail ? buf_push(&b, tail) : NULL;
	if (rest)
		memset(rest, 1, tail);
	if (again(b.data, b.len, &s, NULL) != -EBADMSG || s.blocks)
		MCTEST_FAIL("%s: count %u with %zu bytes was not refused at once", name, count, tail);
	scratch_fini(&s);
	buf_fini(&b);
}

TEST(counts_over_the_limit_allocate_nothing)
{
	const struct {
		const char *name, *head;
		uint32_t max;
		size_t wire; /* of one item at least */
		again_fn *again;
	} t[] = {
		{ "keys", "0000", BATCH_MAX, 3, keys_again },
		{ "publish", "", BATCH_MAX, 46, publish_again },
		{ "commit", "", BATCH_MAX, 46, commit_again },
		{ "withdraw", "", BATCH_MAX, 10, withdraw_again },
		{ "drop", "00", BATCH_MAX, 10, drop_again },
		{ "located", "00000000", BATCH_MAX, 4, located_again },
		{ "existing", "00000000", BATCH_MAX, 1, existing_again },
		{ "statuses", "", BATCH_MAX, 4, statuses_again },
		{ "list", "0000000000000000", BATCH_MAX, 16, list_reply_again },
		{ "pools", "00000000", POOLS_MAX, 72, pools_again },
		{ "grant", "0000000000000000 00000000", GRANT_RUNS_MAX, 18, grant_reply_again },
		{ "return", "", GRANT_RUNS_MAX, 18, give_back_again },
		{ "data", "", DATA_VECS_MAX, 16, data_again },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint32_t over = t[i].max + 1;

		refused_count(t[i].name, t[i].head, UINT32_MAX, 64, t[i].again);
		refused_count(t[i].name, t[i].head, over, over * t[i].wire, t[i].again);
		refused_count(t[i].name, t[i].head, t[i].max, t[i].max * t[i].wire - 1, t[i].again);
		refused_count(t[i].name, t[i].head, 1, 0, t[i].again);
	}
}

#define REFUSED(msg, ...)                                                                   \
	do {                                                                                \
		struct buf b_ = BUF_INIT;                                                   \
		msg##_encode(&(struct msg){ __VA_ARGS__ }, &b_);                            \
		if (b_.err != -EMSGSIZE)                                                    \
			MCTEST_FAIL("%s with %s: err %d", #msg, #__VA_ARGS__, b_.err);      \
		buf_fini(&b_);                                                              \
	} while (0)

TEST(encoders_refuse_what_decoders_would)
{
	static uint8_t big[FULL_KEY_MAX + 1];
	struct key long_key = { big, FULL_KEY_MAX + 1 }, no_key = { big, 0 };

	REFUSED(msg_keys, .nr = 1, .keys = &long_key);
	REFUSED(msg_keys, .nr = 1, .keys = &no_key);
	REFUSED(msg_keys, .nr = BATCH_MAX + 1);
	REFUSED(msg_statuses, .nr = BATCH_MAX + 1);
	REFUSED(msg_existing, .nr = BATCH_MAX + 1);
	REFUSED(msg_located, .nr = BATCH_MAX + 1);
	REFUSED(msg_publish, .nr = BATCH_MAX + 1);
	REFUSED(msg_withdraw, .nr = BATCH_MAX + 1);
	REFUSED(msg_list_reply, .nr = BATCH_MAX + 1);
	REFUSED(msg_pools, .nr = POOLS_MAX + 1);
	REFUSED(msg_return, .nr = GRANT_RUNS_MAX + 1);
	REFUSED(msg_data, .nr = DATA_VECS_MAX + 1);
	REFUSED(msg_pool_join, .pool = { .nr_regions = POOL_REGIONS_MAX + 1 });
	REFUSED(msg_attach_reply, .nr_regions = POOL_REGIONS_MAX + 1);
	REFUSED(msg_located, .nr = 1, .items = &(struct located){ .nr_replicas = REPLICAS_MAX + 1 });
	REFUSED(msg_drop_match, .tenant = { big, TENANT_MAX + 1 });
	REFUSED(msg_match, .pattern = { big, PATTERN_MAX + 1 });
	REFUSED(msg_hello, .name = { big, TEXT_MAX + 1 });
	REFUSED(msg_put, .key = long_key);
}

TEST(fields_over_their_limits)
{
	const struct {
		const char *what, *hex;
		again_fn *again;
	} t[] = {
		{ "hello without a version", "0000 0100 01 " ID1_HEX ID1_HEX "0000 0000 0000",
		  hello_again },
		{ "hello, versions turned round", "0200 0100 01 " ID1_HEX ID1_HEX "0000 0000 0000",
		  hello_again },
		{ "a bool of 2", "02 00 00000000", keys_again },
		{ "an empty key", "00 00 01000000 0000 00", keys_again },
		{ "found is neither", "00000000 02000000 0003", existing_again },
		{ "unknown object flag", "0100 61 " ONES_HEX ONES_HEX "10000000 00000000 00000000",
		  put_again },
		{ "unknown pool flag",
		  "02000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
		  "0000000000000000",
		  pool_stat_again },
		{ "17 replicas", "00000000 01000000 00000000 " ONES_HEX ONES_HEX "00000000 11",
		  located_again },
		{ "17 regions", ID1_HEX ONES_HEX ONES_HEX ONES_HEX "1100", attach_reply_again },
	};
	struct scratch s = SCRATCH_INIT;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct buf b = BUF_INIT;

		hex_put(&b, t[i].hex);
		/* Enough for whatever a count asks; one length of the tail is the right one. */
		for (int tail = 0; tail < 600; tail++) {
			if (t[i].again(b.data, b.len, &s, NULL) != -EBADMSG)
				MCTEST_FAIL("accepted: %s, tail %d", t[i].what, tail);
			buf_put_u8(&b, 0);
		}
		buf_fini(&b);
	}
	scratch_fini(&s);
}

/* A batch of the largest size goes through, and a second one needs no new memory. */
TEST(largest_batch)
{
	struct key *many = calloc(BATCH_MAX, sizeof(*many));
	struct msg_keys m = { .nr = BATCH_MAX, .keys = many };
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT;
	void *block;

	for (unsigned i = 0; i < BATCH_MAX; i++)
		many[i] = K("key");
	msg_keys_encode(&m, &b);
	EXPECT_EQ(b.err, 0);
	EXPECT_EQ(msg_keys_decode(b.data, b.len, &s, &m), 0);
	EXPECT_EQ(m.nr, (uint32_t)BATCH_MAX);
	EXPECT_MEMEQ(m.keys[BATCH_MAX - 1].data, "key", 3);
	scratch_reset(&s);
	block = s.blocks;
	EXPECT_TRUE(block);
	EXPECT_EQ(msg_keys_decode(b.data, b.len, &s, &m), 0);
	EXPECT_TRUE(s.blocks == block);
	scratch_fini(&s);
	buf_fini(&b);
	free(many);
}

TEST(scratch_memory)
{
	struct scratch s = SCRATCH_INIT;
	uint8_t *a, *b;

	EXPECT_TRUE(!scratch_alloc(&s, SIZE_MAX / 2, 3));
	EXPECT_TRUE(!scratch_alloc(&s, SIZE_MAX, 1));
	EXPECT_TRUE(!s.blocks);
	a = scratch_alloc(&s, 3, 1);
	b = scratch_alloc(&s, 1, 8);
	ASSERT_TRUE(a && b);
	EXPECT_EQ((uintptr_t)b % 16, 0u);
	memset(a, 1, 3);
	memset(b, 2, 8);
	EXPECT_EQ(a[2], 1);

	/* More than a block, several times: all of it is there, and one block stays. */
	for (int i = 0; i < 20; i++) {
		a = scratch_alloc(&s, 10000, 3);
		ASSERT_TRUE(a);
		memset(a, i, 30000);
	}
	scratch_reset(&s);
	EXPECT_TRUE(s.blocks);
	EXPECT_EQ(s.used, 0u);

	/* What is huge is given back. */
	a = scratch_alloc(&s, 64, 1 << 20);
	ASSERT_TRUE(a);
	a[0] = a[(64 << 20) - 1] = 1;
	scratch_reset(&s);
	scratch_fini(&s);
	EXPECT_TRUE(!s.blocks);
}

TEST(key_make_and_split)
{
	static uint8_t longest[KEY_MAX + 1];
	uint8_t full[FULL_KEY_MAX];
	char tenant[TENANT_MAX + 2];
	struct key t, k, f = { .data = full };

	ASSERT_EQ(key_make(NULL, "abc", 3, full, &f.len), 0);
	EXPECT_EQ(f.len, 4);
	EXPECT_MEMEQ(full, "\0abc", 4);
	ASSERT_EQ(key_split(&f, &t, &k), 0);
	EXPECT_EQ(t.len, 0);
	EXPECT_EQ(k.len, 3);
	EXPECT_MEMEQ(k.data, "abc", 3);

	/* The empty tenant is the default one. */
	ASSERT_EQ(key_make("", "abc", 3, full, &f.len), 0);
	EXPECT_EQ(f.len, 4);

	memset(tenant, 't', sizeof(tenant));
	tenant[TENANT_MAX] = 0;
	ASSERT_EQ(key_make(tenant, longest, KEY_MAX, full, &f.len), 0);
	EXPECT_EQ(f.len, FULL_KEY_MAX);
	ASSERT_EQ(key_split(&f, &t, &k), 0);
	EXPECT_EQ(t.len, TENANT_MAX);
	EXPECT_EQ(k.len, KEY_MAX);

	f.len = 77;
	EXPECT_EQ(key_make(NULL, "", 0, full, &f.len), -EINVAL);
	EXPECT_EQ(key_make(NULL, NULL, 1, full, &f.len), -EINVAL);
	EXPECT_EQ(key_make(NULL, longest, KEY_MAX + 1, full, &f.len), -EINVAL);
	tenant[TENANT_MAX] = 't';
	tenant[TENANT_MAX + 1] = 0;
	EXPECT_EQ(key_make(tenant, "a", 1, full, &f.len), -EINVAL);
	EXPECT_EQ(f.len, 77);
}

TEST(key_split_refuses)
{
	static uint8_t data[FULL_KEY_MAX];
	struct key t, k;

	EXPECT_EQ(key_split(&(struct key){ data, 0 }, &t, &k), -EBADMSG);
	EXPECT_EQ(key_split(&(struct key){ data, 1 }, &t, &k), -EBADMSG);
	EXPECT_EQ(key_split(&K("\1t"), &t, &k), -EBADMSG);
	EXPECT_EQ(key_split(&K("\5tk"), &t, &k), -EBADMSG);
	EXPECT_EQ(key_split(&K("\1tk"), &t, &k), 0);
	/* A tenant of no bytes leaves room for more key than a key may have. */
	EXPECT_EQ(key_split(&(struct key){ data, FULL_KEY_MAX }, &t, &k), -EBADMSG);
}
