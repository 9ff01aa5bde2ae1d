/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a hostile Redis. Byte 0: how many bytes arrive at a time. */
#include <stdint.h>

#include "base/base.h"
#include "meta/redis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#ifdef MC_WITH_REDIS
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	redisReader *reader = redisReaderCreate();
	redisReply *r = NULL;
	size_t step;
	int ret = 0;

	if (len && reader) {
		step = 1 + data[0] % 64;
		for (size_t at = 1; at < len && !ret; at += step)
			ret = redis_feed(reader, at - 1, data + at, MIN(step, len - at), &r);
		if (ret > 0) {
			if (r->type == REDIS_REPLY_ARRAY)
				abort();
			freeReplyObject(r);
		}
	}
	if (reader)
		redisReaderFree(reader);
	return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return 0;
}
#endif
