/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: one object read or written part by part, layer by layer, with one question to the master for all of it. A session is
 * known by the object's key and belongs to one store; closing the store ends it, and so does not using it for mc_store_opts'
 * session_idle_ns. All functions are thread-safe; batches return how many items succeeded and fill one result per item.
 */
#ifndef MOONCAKE_SESSION_H
#define MOONCAKE_SESSION_H

#include <mooncake/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct mc_session - one key of a call that starts or ends sessions. */
struct mc_session {
	struct mc_key key;
	uint64_t bytes; /* of the object: in for mc_session_write_start(), out for mc_session_read_start() */
	int result;	/* out: 0 or a negative errno */
};

/** struct mc_part - @len bytes at @addr, which are those of the object from @off on. */
struct mc_part {
	void *addr;
	uint64_t off, len;
};

/** struct mc_session_move - the parts of one object that a call moves. */
struct mc_session_move {
	struct mc_key key;
	const struct mc_part *parts;
	unsigned nr;
	int64_t result; /* out: bytes moved, or a negative errno */
};

/**
 * mc_session_read_start - finds one replica of each object and stays with it. A session that was there ends, also when this fails.
 * Results: 0; -ENOENT; -EAGAIN its put has not ended; -ENOMEDIUM no replica that can be reached; -EINVAL key; -ECONNREFUSED,
 * -ETIMEDOUT master.
 */
MC_API int mc_session_read_start(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns);

/**
 * mc_session_read - reads parts of the objects that the sessions found, of these very ones. Nobody is asked.
 * Results: bytes; -EINVAL no session, or a part without an address; -ERANGE a part beyond the object, and nothing is read;
 * -EKEYEXPIRED the object is not there any more, and the session ended; -EIO, -ETIMEDOUT could not be moved: the session stays.
 * After an error the parts' memory may hold anything. Checksums are not looked at: they are of whole objects.
 */
MC_API int mc_session_read(struct mc_store *s, struct mc_session_move *items, unsigned nr, uint64_t deadline_ns);

/** mc_session_read_end - forgets sessions; without one for a key nothing happens. Reads under way end as they would have. */
MC_API void mc_session_read_end(struct mc_store *s, const struct mc_key *keys, unsigned nr);

/**
 * mc_session_write_start - makes room for objects that will be written in parts. Nobody sees them before mc_session_write_end().
 * @opts: as mc_store_put(), without MC_PUT_REPLACE; copied.
 *
 * Objects of one replica and no preference lie in this machine's memory where there is room; others wait in this process's for
 * their end. The sessions of a store have at most half of each pool, or one object, and session_bytes of this process's memory.
 * What is never written may hold anything: write all of it.
 * Results: 0; -EEXIST the object is there; -EINVAL key, no bytes, or the key has a session; -ENOSPC no room, or none that
 * sessions may have; -ENOMEDIUM no pool; -ENOMEM; -ECONNREFUSED, -ETIMEDOUT master.
 */
MC_API int mc_session_write_start(struct mc_store *s, struct mc_session *items, unsigned nr, const struct mc_put_opts *opts,
				  uint64_t deadline_ns);

/**
 * mc_session_write - writes parts, in any order, from several threads as well. Nobody is asked.
 * Results: bytes; -EINVAL no session, one that is ending, or a part without an address; -ERANGE a part beyond the object: nothing
 * is written.
 */
MC_API int mc_session_write(struct mc_store *s, struct mc_session_move *items, unsigned nr);

/**
 * mc_session_write_end - waits for writes under way and stores the objects; then any get anywhere sees them.
 * Results: 0 stored, or another put of the key came first and is unchanged; -EINVAL no session, or it is ending; else as
 * mc_store_put(), and the session stays: end it again, or revoke it. @bytes is not looked at.
 */
MC_API int mc_session_write_end(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns);

/**
 * mc_session_write_revoke - gives the room back; the object never was.
 * Results: 0; -EINVAL as above; -ETIMEDOUT writes are still under way.
 */
MC_API int mc_session_write_revoke(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
