// SPDX-License-Identifier: Apache-2.0
/* Messages to the program's callback or standard error, and each thread's last error text. */
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"

#define LOG_TEXT_MAX 1024

static struct {
	pthread_mutex_t lock; /* fn and arg, which must be read as a pair */
	mc_log_fn fn;
	void *arg;
	bool chosen; /* by the program */
	_Atomic int level;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = MC_LOG_WARN };

static _Thread_local char last_error[LOG_TEXT_MAX];
static _Thread_local unsigned nr_errors;

void mc_log_set(mc_log_fn fn, void *arg, enum mc_log_level level)
{
	pthread_mutex_lock(&sink.lock);
	sink.fn = fn;
	sink.arg = arg;
	sink.chosen = true;
	atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
	pthread_mutex_unlock(&sink.lock);
}

int log_level_of(const char *word, enum mc_log_level *out)
{
	static const struct {
		const char *word;
		enum mc_log_level level;
	} words[] = {
		{ "error", MC_LOG_ERR },   { "warning", MC_LOG_WARN }, { "info", MC_LOG_INFO },
		{ "debug", MC_LOG_DEBUG }, { "fatal", MC_LOG_ERR },	{ "warn", MC_LOG_WARN },
		{ "trace", MC_LOG_DEBUG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcasecmp(word, words[i].word)) {
			*out = words[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

void log_environment(const char *word)
{
	enum mc_log_level level = MC_LOG_WARN;

	if (*word && log_level_of(word, &level))
		return;
	pthread_mutex_lock(&sink.lock);
	if (!sink.chosen)
		atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
	pthread_mutex_unlock(&sink.lock);
}

const char *mc_last_error(void)
{
	return last_error;
}

const char *err_text(void)
{
	return last_error;
}

unsigned err_count(void)
{
	return nr_errors;
}

static void set_error(const char text[LOG_TEXT_MAX])
{
	memcpy(last_error, text, LOG_TEXT_MAX);
	nr_errors++;
}

void err_note(const char *fmt, ...)
{
	char text[LOG_TEXT_MAX]; /* an argument may be err_text() itself */
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	set_error(text);
}

void mc_error_set(const char *text)
{
	err_note("%s", text ? text : "");
}

bool log_enabled(enum mc_log_level level)
{
	return (int)level <= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

static void to_stderr(enum mc_log_level level, const char *text)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };

	/* One call, so that lines of several threads and processes do not mix. */
	fprintf(stderr, "mooncake: %s: %s\n", names[MIN((unsigned)level, 3u)], text);
}

/* Line breaks in a message would let a peer's text look like lines of ours. */
static void one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ')
			*text = ' ';
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void log_at(enum mc_log_level level, const char *file, int line, const char *fmt, ...)
{
	int saved = errno, at = 0;
	char text[LOG_TEXT_MAX];
	mc_log_fn fn;
	va_list ap;
	void *arg;

	if (level != MC_LOG_ERR && !log_enabled(level))
		return;
	if (level == MC_LOG_DEBUG)
		at = snprintf(text, sizeof(text), "%s:%d: ", base_name(file), line);
	va_start(ap, fmt);
	vsnprintf(text + at, sizeof(text) - (size_t)at, fmt, ap);
	va_end(ap);
	one_line(text);
	if (level == MC_LOG_ERR)
		set_error(text);
	if (!log_enabled(level))
		goto out;

	pthread_mutex_lock(&sink.lock);
	fn = sink.fn;
	arg = sink.arg;
	pthread_mutex_unlock(&sink.lock);
	if (fn)
		fn(arg, level, text);
	else
		to_stderr(level, text);
out:
	errno = saved;
}

/*
 * Threads race here without a lock; the worst outcome is a line too many or a count that is off by a few.
 */
bool log_limit_ok(struct log_limit *l, unsigned burst)
{
	uint64_t now = clock_now_ns(), since = __atomic_load_n(&l->since_ns, __ATOMIC_RELAXED);
	uint32_t dropped;

	if (now - since >= NSEC_PER_SEC &&
	    __atomic_compare_exchange_n(&l->since_ns, &since, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED)) {
		__atomic_store_n(&l->seen, 0, __ATOMIC_RELAXED);
		dropped = __atomic_exchange_n(&l->dropped, 0, __ATOMIC_RELAXED);
		if (dropped)
			log_warn("%u lines like the next one were left out", dropped);
	}
	if (__atomic_fetch_add(&l->seen, 1, __ATOMIC_RELAXED) < burst)
		return true;
	__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
	return false;
}
