// SPDX-License-Identifier: Apache-2.0
/* Messages: levels, the last error of each thread, limits, and one line whatever is printed. */
#include "mctest.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"

static char last[2048];
static int calls;
static enum mc_log_level last_level;

static void note(void *arg, enum mc_log_level level, const char *text)
{
	EXPECT_TRUE(arg == &calls);
	calls++;
	last_level = level;
	snprintf(last, sizeof(last), "%s", text);
}

/* The first test: nobody has called mc_log_set() yet. */
TEST(levels_from_the_environment)
{
	enum mc_log_level level;

	EXPECT_EQ(log_level_of("TRACE", &level), 0);
	EXPECT_EQ((int)level, (int)MC_LOG_DEBUG);
	EXPECT_EQ(log_level_of("Warning", &level), 0);
	EXPECT_EQ((int)level, (int)MC_LOG_WARN);
	EXPECT_EQ(log_level_of("", &level), -EINVAL);
	log_environment("error");
	EXPECT_TRUE(!log_enabled(MC_LOG_WARN));
	log_environment("info");
	EXPECT_TRUE(log_enabled(MC_LOG_INFO));
	log_environment("");
	EXPECT_TRUE(log_enabled(MC_LOG_WARN) && !log_enabled(MC_LOG_INFO));
	mc_log_set(note, &calls, MC_LOG_ERR);
	log_environment("debug");
	EXPECT_TRUE(!log_enabled(MC_LOG_WARN));
}

TEST(levels)
{
	mc_log_set(note, &calls, MC_LOG_WARN);
	calls = 0;
	log_info("no");
	log_debug("no");
	EXPECT_EQ(calls, 0);
	log_warn("port %d taken", 5);
	EXPECT_EQ(calls, 1);
	EXPECT_STREQ(last, "port 5 taken");
	EXPECT_EQ((int)last_level, (int)MC_LOG_WARN);
	mc_log_set(note, &calls, MC_LOG_DEBUG);
	log_debug("x");
	EXPECT_TRUE(strstr(last, "test_log.c:") && strstr(last, ": x"));
}

TEST(last_error)
{
	mc_log_set(note, &calls, MC_LOG_ERR);
	err_note("quiet %d", 1);
	EXPECT_STREQ(mc_last_error(), "quiet 1");
	err_note("%s, again", err_text());
	EXPECT_STREQ(err_text(), "quiet 1, again");
	log_warn("not an error");
	EXPECT_STREQ(mc_last_error(), "quiet 1, again");
	errno = EXDEV;
	log_err("loud");
	EXPECT_EQ(errno, EXDEV);
	EXPECT_STREQ(mc_last_error(), "loud");
	EXPECT_STREQ(last, "loud");
}

static void *other_thread(void *arg)
{
	EXPECT_STREQ(mc_last_error(), "");
	err_note("mine");
	return NULL;
}

TEST(last_error_is_per_thread)
{
	pthread_t t;

	err_note("main");
	pthread_create(&t, NULL, other_thread, NULL);
	pthread_join(t, NULL);
	EXPECT_STREQ(mc_last_error(), "main");
}

TEST(one_line_of_bounded_length)
{
	static char text[5000];

	mc_log_set(note, &calls, MC_LOG_ERR);
	log_err("a\nb\x1b[31mc");
	EXPECT_STREQ(last, "a b [31mc");
	memset(text, 'x', sizeof(text) - 1);
	log_err("%s", text);
	EXPECT_LT(strlen(last), 1100u);
	EXPECT_GT(strlen(last), 1000u);
}

TEST(limited)
{
	static struct log_limit l;
	int passed = 0;

	mc_log_set(note, &calls, MC_LOG_WARN);
	calls = 0;
	for (int i = 0; i < 1000; i++)
		passed += log_limit_ok(&l, 5);
	EXPECT_GE(passed, 5);
	EXPECT_LE(passed, 10); /* a second may have ended in between */
	l.since_ns = clock_now_ns() - 2 * NSEC_PER_SEC;
	l.dropped = 995;
	EXPECT_TRUE(log_limit_ok(&l, 5));
	EXPECT_TRUE(strstr(last, "995"));
	EXPECT_EQ(l.dropped, 0u);
}

TEST(version)
{
	EXPECT_STREQ(mc_version(), MC_VERSION);
	EXPECT_GT(mc_deadline_ms(1000), clock_now_ns());
	EXPECT_EQ(mc_deadline_ms(UINT64_MAX), UINT64_MAX);
}

TEST(deadlines)
{
	EXPECT_EQ(deadline_left_ms(DEADLINE_NEVER), -1);
	EXPECT_EQ(deadline_left_ms(1), 0);
	EXPECT_GE(deadline_left_ms(clock_now_ns() + 5000000), 1); /* rounded up */
	EXPECT_EQ(deadline_left_ms(DEADLINE_NEVER - 1), INT32_MAX);
	EXPECT_TRUE(deadline_passed(clock_now_ns()));
	EXPECT_TRUE(!deadline_passed(deadline_after_ms(100000)));
	EXPECT_TRUE(!deadline_passed(DEADLINE_NEVER));
}
