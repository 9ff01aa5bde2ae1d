/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages. The function that first decides that something is an error logs it, once, with cause and fix; callers
 * pass the code up. The last error text of each thread is kept for mc_last_error().
 */
#ifndef MC_LOG_H
#define MC_LOG_H

#include <stdarg.h>

#include "base/base.h"
#include <mooncake/mooncake.h>

/* One line, no newline, lower case, value after its name ("gid index 3"). */
void log_at(enum mc_log_level level, const char *file, int line, const char *fmt, ...) mc_printf(4, 5);
bool log_enabled(enum mc_log_level level);

/* "error", "warning", "info" or "debug", or a word upstream has for it, in any case. -EINVAL. */
int log_level_of(const char *word, enum mc_log_level *out);

/* What MC_LOG_LEVEL says; "": nothing. Counts until the program has called mc_log_set(). */
void log_environment(const char *word);

/* Text of the calling thread's last error: what log_err() wrote, or what err_note() set without logging. */
void err_note(const char *fmt, ...) mc_printf(1, 2);
const char *err_text(void);
unsigned err_count(void); /* how often it was set on this thread */

#define log_err(...) log_at(MC_LOG_ERR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warn(...) log_at(MC_LOG_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...) log_at(MC_LOG_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...)                                                                 \
	do {                                                                           \
		if (unlikely(log_enabled(MC_LOG_DEBUG)))                               \
			log_at(MC_LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__);         \
	} while (0)

/* For places that can repeat without end: per call site at most @burst lines a second, then a count of what was left out. */
struct log_limit {
	uint64_t since_ns;
	uint32_t seen, dropped;
};
bool log_limit_ok(struct log_limit *l, unsigned burst);

#define log_warn_limited(...)                                                          \
	do {                                                                           \
		static struct log_limit limit_;                                        \
		if (log_limit_ok(&limit_, 5))                                          \
			log_warn(__VA_ARGS__);                                         \
	} while (0)
#define log_err_limited(...)                                                           \
	do {                                                                           \
		static struct log_limit limit_;                                        \
		if (log_limit_ok(&limit_, 5))                                          \
			log_err(__VA_ARGS__);                                          \
	} while (0)

#endif
