/* SPDX-License-Identifier: Apache-2.0 */
/* Mooncake in C: what every program needs. Version, messages, error texts. */
#ifndef MOONCAKE_H
#define MOONCAKE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MC_VERSION "0.1.0"

#if defined(__GNUC__)
#define MC_API __attribute__((visibility("default")))
#else
#define MC_API
#endif

/** mc_version - the version of the library that is loaded, as MC_VERSION was when it was built. */
MC_API const char *mc_version(void);

enum mc_log_level { MC_LOG_ERR, MC_LOG_WARN, MC_LOG_INFO, MC_LOG_DEBUG };

/**
 * mc_log_fn - receives each message.
 * @text: one line without newline, valid during the call.
 * May be called from any thread of the library and must not call the library back.
 */
typedef void (*mc_log_fn)(void *arg, enum mc_log_level level, const char *text);

/**
 * mc_log_set - where messages go and which.
 * @fn:    NULL: standard error.
 * @level: the most talkative level that is delivered; the default is MC_LOG_WARN.
 * Thread-safe; messages in flight on other threads may still reach the old @fn.
 */
MC_API void mc_log_set(mc_log_fn fn, void *arg, enum mc_log_level level);

/**
 * mc_last_error - the calling thread's last error in words, with cause and fix.
 * Return: never NULL; "" when nothing failed yet. Valid until the thread's next call into the library.
 */
MC_API const char *mc_last_error(void);

/**
 * mc_error_set - makes @text the calling thread's last error: for who hands on what another thread was told.
 * NULL is "". Cut to 1023 bytes.
 */
MC_API void mc_error_set(const char *text);

/* Deadlines are absolute CLOCK_MONOTONIC nanoseconds. */

/** mc_deadline_ms - the deadline @ms milliseconds from now. */
MC_API uint64_t mc_deadline_ms(uint64_t ms);

#ifdef __cplusplus
}
#endif

#endif
