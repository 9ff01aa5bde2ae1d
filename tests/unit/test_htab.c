// SPDX-License-Identifier: Apache-2.0
/* The hash table, with good hashes, bad ones and none at all. */
#include "mctest.h"

#include "base/htab.h"

struct item {
	struct hnode n;
	uint64_t key;
	bool in;
};

static struct item *find(struct htab *t, uint64_t key, uint64_t hash)
{
	for (struct hnode *n = htab_first(t, hash); n; n = htab_next(n))
		if (container_of(n, struct item, n)->key == key)
			return container_of(n, struct item, n);
	return NULL;
}

static void fill_and_empty(uint64_t (*hash)(uint64_t key))
{
	enum { NR = 3000 };
	struct item *items = calloc(NR, sizeof(*items));
	struct htab t = HTAB_INIT;
	uint64_t state = 1;
	size_t count = 0;

	for (int i = 0; i < 5 * NR; i++) {
		struct item *it;

		state = state * 6364136223846793005u + 1442695040888963407u;
		it = &items[(state >> 33) % NR];
		it->key = (uint64_t)(it - items);
		EXPECT_TRUE(find(&t, it->key, hash(it->key)) == (it->in ? it : NULL));
		if (it->in)
			htab_del(&t, &it->n);
		else
			EXPECT_EQ(htab_add(&t, &it->n, hash(it->key)), 0);
		it->in = !it->in;
		count += it->in ? 1 : -1;
		EXPECT_EQ(t.count, count);
	}
	for (int i = 0; i < NR; i++)
		EXPECT_TRUE(!items[i].in || find(&t, (uint64_t)i, hash((uint64_t)i)) == &items[i]);
	htab_fini(&t);
	free(items);
}

static uint64_t same(uint64_t key)
{
	return key;
}

static uint64_t high_bits(uint64_t key)
{
	return key << 40;
}

static uint64_t few(uint64_t key)
{
	return key % 100;
}

TEST(against_flags)
{
	fill_and_empty(same);
	fill_and_empty(high_bits);
	fill_and_empty(few);
}

TEST(empty)
{
	struct htab t = HTAB_INIT;

	EXPECT_TRUE(!htab_first(&t, 5));
	EXPECT_EQ(htab_walk(&t, NULL, NULL), 0);
	htab_fini(&t);
}

static int delete_odd(struct hnode *n, void *arg)
{
	struct item *it = container_of(n, struct item, n);

	it->in = true; /* seen */
	if (it->key % 2)
		htab_del(arg, n);
	return it->key == 1000 ? 42 : 0;
}

TEST(walk_may_delete)
{
	struct item items[100] = { 0 };
	struct htab t = HTAB_INIT;

	for (uint64_t i = 0; i < 100; i++) {
		items[i].key = i;
		htab_add(&t, &items[i].n, i % 7);
	}
	EXPECT_EQ(htab_walk(&t, delete_odd, &t), 0);
	EXPECT_EQ(t.count, 50u);
	for (uint64_t i = 0; i < 100; i++) {
		EXPECT_TRUE(items[i].in);
		EXPECT_EQ(!!find(&t, i, i % 7), i % 2 == 0);
	}
	items[4].key = 1000;
	EXPECT_EQ(htab_walk(&t, delete_odd, &t), 42);
	htab_fini(&t);
}
