/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a master or an owner: HELLO and STATUS on a stream of its own, so that each step can fail apart. */
#ifndef MC_TALK_H
#define MC_TALK_H

#include <json-c/json.h>

#include "base/base.h"

struct answer {
	char software[64];
	bool connected; /* the stream stood, whatever came of it */
	struct json_object *status; /* the caller's to release */
};

/* @name: who asks, for the other end's log. By the deadline. */
int talk(const char *addr, const char *name, uint64_t deadline_ns, struct answer *out);

#endif
