/* SPDX-License-Identifier: Apache-2.0 */
/* The location cache. */
#include "mctest.h"

#include "store/store.h"

static struct key key_of(const char *text)
{
	return (struct key){ text, (uint16_t)strlen(text) };
}

TEST(store_find_drop)
{
	struct cached v = { .size = 42, .loc = { .off = 64, .gen = 2 } }, got;
	struct key a = key_of("a"), b = key_of("b");
	struct loc_cache *c;

	ASSERT_EQ(cache_open(16, &c), 0);
	EXPECT_TRUE(!cache_find(c, &a, &got));
	cache_store(c, &a, &v);
	ASSERT_TRUE(cache_find(c, &a, &got));
	EXPECT_EQ(got.size, 42);
	EXPECT_TRUE(!cache_find(c, &b, &got));
	v.size = 43;
	cache_store(c, &a, &v); /* again: replaced, not doubled */
	ASSERT_TRUE(cache_find(c, &a, &got));
	EXPECT_EQ(got.size, 43);
	cache_drop(c, &a);
	EXPECT_TRUE(!cache_find(c, &a, &got));
	cache_drop(c, &a);
	cache_close(c);
	cache_close(NULL);
}

TEST(keeps_its_size)
{
	char text[32];
	struct loc_cache *c;
	unsigned found = 0;

	ASSERT_EQ(cache_open(64, &c), 0);
	for (int i = 0; i < 10000; i++) {
		struct cached v = { .size = (uint64_t)i };
		struct key k;

		snprintf(text, sizeof(text), "key-%d", i);
		k = key_of(text);
		cache_store(c, &k, &v);
		EXPECT_TRUE(cache_find(c, &k, &v));
	}
	for (int i = 0; i < 10000; i++) {
		struct cached v;
		struct key k;

		snprintf(text, sizeof(text), "key-%d", i);
		k = key_of(text);
		if (cache_find(c, &k, &v)) {
			EXPECT_EQ(v.size, (uint64_t)i);
			found++;
		}
	}
	EXPECT_GT(found, 32);
	EXPECT_LE(found, 64);
	cache_close(c);
}
