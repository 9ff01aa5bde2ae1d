/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP metadata service: a map from key to value behind GET, PUT and DELETE /metadata?key=…, in memory. mooncake-metadata is
 * this and nothing else; the master embeds it on request. docs/protocol.md, "Metadata", has the contract.
 */
#ifndef MC_META_SERVER_H
#define MC_META_SERVER_H

#include "base/base.h"

#define META_VALUE_MAX (16 * MiB)
#define META_TOTAL_MAX GiB /* keys and values together; over it PUT is 507 */

struct meta_server;

/*
 * @file: a JSON object with all keys, read now and written by meta_server_save(); NULL: nothing outlives the process. @bound: the
 * port that @port 0 became. Errors were logged: -EADDRINUSE; -EBADMSG the file is not what this wrote; others of reading it.
 */
int meta_server_open(const char *host, uint16_t port, const char *file, struct meta_server **out, uint16_t *bound);
void meta_server_close(struct meta_server *ms); /* saves */

/* Writes the file when something changed, atomically. One thread. */
int meta_server_save(struct meta_server *ms);

#endif
