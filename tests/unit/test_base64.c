/* SPDX-License-Identifier: Apache-2.0 */
/* Base64: the vectors of RFC 4648, every byte there and back, and what is none. */
#include "mctest.h"

#include "base/base64.h"

TEST(vectors)
{
	static const char *const v[][2] = { { "", "" },
					    { "f", "Zg==" },
					    { "fo", "Zm8=" },
					    { "foo", "Zm9v" },
					    { "foob", "Zm9vYg==" },
					    { "fooba", "Zm9vYmE=" },
					    { "foobar", "Zm9vYmFy" } };

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		struct buf text = BUF_INIT, back = BUF_INIT;

		base64_put(&text, v[i][0], strlen(v[i][0]));
		EXPECT_EQ(text.len, strlen(v[i][1]));
		EXPECT_TRUE(!text.len || !memcmp(text.data, v[i][1], text.len));
		EXPECT_EQ(base64_get(&back, v[i][1], strlen(v[i][1])), 0);
		EXPECT_EQ(back.len, strlen(v[i][0]));
		EXPECT_TRUE(!back.len || !memcmp(back.data, v[i][0], back.len));
		buf_fini(&text);
		buf_fini(&back);
	}
}

TEST(every_length_there_and_back)
{
	uint8_t bytes[256];

	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)(i * 167 + 13);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		struct buf text = BUF_INIT, back = BUF_INIT;

		base64_put(&text, bytes, n);
		EXPECT_EQ(text.len, (n + 2) / 3 * 4);
		EXPECT_EQ(base64_get(&back, (char *)text.data, text.len), 0);
		ASSERT_EQ(back.len, n);
		EXPECT_TRUE(!n || !memcmp(back.data, bytes, n));
		buf_fini(&text);
		buf_fini(&back);
	}
}

TEST(what_is_none)
{
	static const char *const bad[] = { "Z",	     "Zg",   "Zg=",	     "Zg===",
					   "====",   "Z===", "Zh==",	     "Zm9=",
					   "Zm9v\n", "Zm-v", "Zm9vZg==Zm9v", "Zg=v" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct buf b = BUF_INIT;

		buf_put(&b, "kept", 4);
		if (base64_get(&b, bad[i], strlen(bad[i])) != -EBADMSG || b.len != 4)
			MCTEST_FAIL("\"%s\" passed", bad[i]);
		buf_fini(&b);
	}
}
