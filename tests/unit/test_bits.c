// SPDX-License-Identifier: Apache-2.0
/* Sets of integers against an array. */
#include "mctest.h"

#include "base/bits.h"

TEST(against_an_array)
{
	static const uint64_t sizes[] = { 1, 63, 64, 65, 4096, 4097, 300000 };
	uint64_t state = 3;

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint64_t size = sizes[s];
		bool *in = calloc(size, 1);
		struct bits b;

		ASSERT_EQ(bits_init(&b, size), 0);
		for (int i = 0; i < 3000; i++) {
			uint64_t at, back;

			state = state * 6364136223846793005u + 1442695040888963407u;
			at = (state >> 33) % size;
			in[at] = state >> 20 & 1;
			if (in[at])
				bits_set(&b, at);
			else
				bits_clear(&b, at);
			at = (state >> 13) % (size + 5);
			EXPECT_EQ(bits_has(&b, at), at < size && in[at]);
			for (back = MIN(at, size - 1); back && !in[back]; back--)
				;
			EXPECT_EQ(bits_at_or_before(&b, at), in[back] ? back : BITS_NONE);
		}
		bits_fini(&b);
		free(in);
	}
}

TEST(sparse)
{
	struct bits b;

	ASSERT_EQ(bits_init(&b, (uint64_t)1 << 32), 0);
	EXPECT_EQ(bits_at_or_before(&b, UINT64_MAX), BITS_NONE);
	bits_set(&b, 5);
	EXPECT_EQ(bits_at_or_before(&b, UINT64_MAX), 5u);
	EXPECT_EQ(bits_at_or_before(&b, 5), 5u);
	EXPECT_EQ(bits_at_or_before(&b, 4), BITS_NONE);
	bits_clear(&b, 5);
	bits_clear(&b, 5);
	EXPECT_EQ(bits_at_or_before(&b, UINT64_MAX), BITS_NONE);
	bits_fini(&b);
	EXPECT_EQ(bits_init(&b, 0), -EINVAL);
}
