/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test program in one header: TEST(name) { ... EXPECT_EQ(a, b); ... }, TAP on stdout, exit 0 pass, 1 fail, 77 all skipped.
 * EXPECT_* records a failure and goes on; ASSERT_* leaves the test. Arguments name the tests to run; none: all.
 */
#ifndef MCTEST_H
#define MCTEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mctest {
	const char *name;
	void (*fn)(void);
	struct mctest *next;
};

static struct mctest *mctest_first, **mctest_last = &mctest_first;
static int mctest_failed;
static const char *mctest_skip;

#define TEST(id)                                                                           \
	static void id(void);                                                              \
	static struct mctest mctest_##id = { #id, id, NULL };                              \
	__attribute__((constructor)) static void mctest_add_##id(void)                     \
	{                                                                                  \
		*mctest_last = &mctest_##id;                                               \
		mctest_last = &mctest_##id.next;                                           \
	}                                                                                  \
	static void id(void)

#define MCTEST_FAIL(...)                                                                   \
	do {                                                                               \
		printf("# %s:%d: ", __FILE__, __LINE__);                                   \
		printf(__VA_ARGS__);                                                       \
		printf("\n");                                                              \
		mctest_failed = 1;                                                         \
	} while (0)

#define MCTEST_CMP(a, op, b, leave)                                                        \
	do {                                                                               \
		__typeof__((a) + 0) a_ = (a);                                              \
		__typeof__((b) + 0) b_ = (b);                                              \
		if (!(a_ op b_)) {                                                         \
			MCTEST_FAIL("%s %s %s: %lld against %lld", #a, #op, #b, (long long)a_, (long long)b_); \
			leave;                                                             \
		}                                                                          \
	} while (0)

#define EXPECT_EQ(a, b) MCTEST_CMP(a, ==, b, (void)0)
#define EXPECT_NE(a, b) MCTEST_CMP(a, !=, b, (void)0)
#define EXPECT_LT(a, b) MCTEST_CMP(a, <, b, (void)0)
#define EXPECT_LE(a, b) MCTEST_CMP(a, <=, b, (void)0)
#define EXPECT_GT(a, b) MCTEST_CMP(a, >, b, (void)0)
#define EXPECT_GE(a, b) MCTEST_CMP(a, >=, b, (void)0)
#define ASSERT_EQ(a, b) MCTEST_CMP(a, ==, b, return)
#define ASSERT_NE(a, b) MCTEST_CMP(a, !=, b, return)
#define ASSERT_GE(a, b) MCTEST_CMP(a, >=, b, return)

#define EXPECT_TRUE(x)                                                                     \
	do {                                                                               \
		if (!(x))                                                                  \
			MCTEST_FAIL("false: %s", #x);                                      \
	} while (0)
#define ASSERT_TRUE(x)                                                                     \
	do {                                                                               \
		if (!(x)) {                                                                \
			MCTEST_FAIL("false: %s", #x);                                      \
			return;                                                            \
		}                                                                          \
	} while (0)

#define EXPECT_STREQ(a, b)                                                                 \
	do {                                                                               \
		const char *a_ = (a), *b_ = (b);                                           \
		if (!a_ || !b_ || strcmp(a_, b_))                                          \
			MCTEST_FAIL("%s is \"%s\", not \"%s\"", #a, a_ ? a_ : "(null)", b_ ? b_ : "(null)"); \
	} while (0)

#define EXPECT_MEMEQ(a, b, len)                                                            \
	do {                                                                               \
		if (memcmp(a, b, len))                                                     \
			MCTEST_FAIL("%s and %s differ", #a, #b);                           \
	} while (0)

/* Leaves the test; it counts as skipped. */
#define SKIP(reason)                                                                       \
	do {                                                                               \
		mctest_skip = reason;                                                      \
		return;                                                                    \
	} while (0)

int main(int argc, char **argv)
{
	int nr = 0, failed = 0, skipped = 0;
	struct mctest *t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (t = mctest_first; t; t = t->next) {
		bool wanted = argc < 2;

		for (int i = 1; i < argc; i++)
			wanted |= !strcmp(argv[i], t->name);
		if (!wanted)
			continue;
		mctest_failed = 0;
		mctest_skip = NULL;
		t->fn();
		nr++;
		if (mctest_skip && !mctest_failed) {
			skipped++;
			printf("ok %d - %s # SKIP %s\n", nr, t->name, mctest_skip);
			continue;
		}
		failed += mctest_failed;
		printf("%sok %d - %s\n", mctest_failed ? "not " : "", nr, t->name);
	}
	printf("1..%d\n", nr);
	return failed || !nr ? 1 : skipped == nr ? 77 : 0;
}

#endif
