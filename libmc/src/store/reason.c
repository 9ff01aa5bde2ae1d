/* SPDX-License-Identifier: Apache-2.0 */
/* Why a call did not do what it was asked: in words, for mc_last_error(), and as a number for the statistics. */
#include "store/store.h"

#include <stdio.h>

#include "base/log.h"

#define SHOWN 64 /* bytes of a key */

enum mc_miss reason_of(const struct get_item *it, uint64_t deadline_ns)
{
	switch (it->result) {
	case -EINVAL:
	case -EMSGSIZE:
	case -ENOMEM:
	case -E2BIG:
	case -EPERM:
	case -ESHUTDOWN:
		return MC_MISS_CALL;
	}
	if (it->unasked)
		return MC_MISS_MASTER;
	switch (it->result) {
	case -ENOENT:
		return it->size ? MC_MISS_GONE : MC_MISS_ABSENT;
	case -ESTALE:
		return MC_MISS_GONE;
	case -EBADMSG:
		return MC_MISS_CORRUPT;
	case -ETIMEDOUT:
		return deadline_ns && deadline_passed(deadline_ns) ? MC_MISS_TIMEOUT : MC_MISS_NODE;
	default:
		return MC_MISS_NODE;
	}
}

/* What a log line may hold of a caller's key. */
static const char *shown(const void *key, size_t len, char out[SHOWN + 4])
{
	const uint8_t *k = key;
	size_t n = MIN(len, (size_t)SHOWN);

	for (size_t i = 0; i < n; i++)
		out[i] = k[i] >= ' ' && k[i] < 127 ? (char)k[i] : '?';
	memcpy(out + n, len > n ? "..." : "", len > n ? 4 : 1);
	return out;
}

static const char *call_words(int err)
{
	switch (err) {
	case -EINVAL:
		return "the key is empty or longer than 4096 bytes, or the value is empty or has no address";
	case -E2BIG:
		return "more items than one call may have";
	case -EPERM:
		return "the store was opened before a fork, by the parent";
	case -ESHUTDOWN:
		return "the store is being closed";
	case -EMSGSIZE:
		return "the caller's memory is too small for it, or is nowhere";
	default:
		return strerror(-err);
	}
}

static const char *miss_words(enum mc_miss why, int err)
{
	switch (why) {
	case MC_MISS_ABSENT:
		return "nobody has it";
	case MC_MISS_GONE:
		return "it was evicted, removed or replaced while it was looked for";
	case MC_MISS_MASTER:
		return "it is not on this machine, and the master could not be asked";
	case MC_MISS_NODE:
		return "nobody who has it could be reached; `mooncakectl pools` shows who is there";
	case MC_MISS_TIMEOUT:
		return "the deadline was first";
	case MC_MISS_CORRUPT:
		return "what arrived is not what was stored: its checksum or its lengths differ";
	default:
		return call_words(err);
	}
}

static const char *put_words(int err)
{
	switch (err) {
	case -EINVAL:
		return "the key is empty or longer than 4096 bytes, the value is empty or has no address, its soft pin is longer than the "
		       "master allows (max_kv_soft_pin_ttl), or the key is of another group";
	case -ENOSPC:
		return "no room: what lies there cannot be evicted, or the object is larger than a pool";
	case -ECONNREFUSED:
		return "no master, or no pool that takes objects, can be reached";
	case -ETIMEDOUT:
		return "no answer by the deadline; it may yet be stored";
	case -EIO:
		return "the pool's owner ended meanwhile";
	default:
		return call_words(err);
	}
}

static const char *asked_words(int err)
{
	switch (err) {
	case -ENOENT:
		return "nobody has it";
	case -EBUSY:
		return "it was used a moment ago and is leased; force, or try again later";
	case -ETXTBSY:
		return "it is being copied or moved";
	case -EAGAIN:
		return "its put has not ended";
	case -ECONNREFUSED:
	case -ETIMEDOUT:
	case -ECONNRESET:
		return "the master could not be asked";
	default:
		return call_words(err);
	}
}

static const char *session_words(int err)
{
	switch (err) {
	case -EINVAL:
		return "there is no such session (any more, when nobody used it for MC_STORE_SESSION_IDLE), it is ending, or the key, "
		       "the size or an address is none";
	case -ENOSPC:
		return "no room: what lies there cannot be evicted, the object is larger than a pool, or put sessions that did not end "
		       "have as much as they may (half of a pool, MC_STORE_SESSION_BYTES)";
	case -ERANGE:
		return "a part reaches beyond the object";
	case -EEXIST:
		return "the object is there already";
	case -EKEYEXPIRED:
		return "the object that the session found was removed, replaced or evicted; start another";
	case -ENOMEDIUM:
		return "no pool, or no replica, can be reached; `mooncakectl pools` shows who is there";
	case -EAGAIN:
		return "its put has not ended";
	case -ENOENT:
		return "nobody has it";
	default:
		return put_words(err);
	}
}

/* The first that failed speaks for the others. */
void note_words(const char *what, const struct mc_key *key, const char *words, int err, unsigned others)
{
	char text[SHOWN + 4], more[32] = "";

	if (others)
		snprintf(more, sizeof(more), "; %u more failed", others);
	err_note("%s \"%s\": %s (%s)%s", what, shown(key->data, key->len, text), words, strerror(-err), more);
}

void note_miss(const struct mc_key *key, enum mc_miss why, int err, unsigned others)
{
	note_words("get", key, miss_words(why, err), err, others);
}

void note_part(const struct mc_key *key, int err)
{
	note_words("get a part of", key, err == -ERANGE ? "it reaches beyond the object" : call_words(err), err, 0);
}

void note_put(const struct mc_key *key, int err, unsigned others)
{
	note_words("put", key, put_words(err), err, others);
}

void note_asked(const char *what, const struct mc_key *key, int err, unsigned others)
{
	note_words(what, key, asked_words(err), err, others);
}

static const char *task_words(int err)
{
	switch (err) {
	case -EINVAL:
		return "there is no target, a segment is not mounted, the source has no copy, or it is the target";
	case -EHOSTDOWN:
		return "a target takes nothing now";
	case -EDQUOT:
		return "too many tasks wait at the master (max_total_pending_tasks)";
	case -EOPNOTSUPP:
		return "a store without a master copies nothing";
	default:
		return asked_words(err);
	}
}

void note_task(const char *what, const struct mc_key *key, int err)
{
	note_words(what, key, task_words(err), err, 0);
}

void note_session(const char *what, const struct mc_key *key, int err)
{
	note_words(what, key, session_words(err), err, 0);
}
