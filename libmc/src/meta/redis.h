/* SPDX-License-Identifier: Apache-2.0 */
/* What of redis.c is tested by itself: taking a reply apart. In builds with hiredis. */
#ifndef MC_META_REDIS_H
#define MC_META_REDIS_H

#if __has_include(<hiredis/hiredis.h>)
#include <hiredis/hiredis.h>
#include <stddef.h>

/*
 * Feeds what arrived to @reader, @before bytes of this reply having come before. 1: *reply is there, to be freed; 0: more has to
 * come; -EBADMSG: no reply to one of our commands, or more than that; -ENOMEM.
 */
int redis_feed(redisReader *reader, size_t before, const void *data, size_t len, redisReply **reply);
#endif

#endif
