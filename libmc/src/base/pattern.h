/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions from strangers: POSIX extended ones, and GNU's \w \W \s \S \b \B \< \> \` \'. Bytes, whatever the locale.
 * To look for one takes at most as many steps as the text has bytes times the elements that the expression has; nothing is tried
 * twice, and no memory is taken. So back references are refused.
 */
#ifndef MC_PATTERN_H
#define MC_PATTERN_H

#include "base/base.h"

#define PATTERN_MAX 4096 /* bytes */

struct pattern; /* one thread at a time */

/* -EINVAL: it is none, or too large with its repetitions written out; err_text() says what is wrong. -ENOMEM. */
int pattern_open(const void *text, size_t len, struct pattern **out);
void pattern_close(struct pattern *p); /* NULL is fine */

/* Is it found anywhere in these bytes? */
bool pattern_find(struct pattern *p, const void *text, size_t len);

#endif
