/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool: the regions a node contributes, and a directory in shared memory that says what lies
 * where. This header is the memory layout (part 1), what any process of the node does with it
 * (part 2, view), and what only the owner does (part 3). No sockets, no threads, no clock of its
 * own here: owner.h serves a pool, store reads it.
 *
 *	 directory region (readers: read-only)              data regions
 *	+--------+---------+-----------+            +-----+---------+-----+-----+--------+
 *	| header | buckets | entries   |  first →   | hdr | payload | key | hdr | ...    |
 *	+--------+---------+-----------+            +-----+---------+-----+-----+--------+
 *	            head → entry → entry              64 B   len bytes       next → other extents
 */
#ifndef MC_POOL_H
#define MC_POOL_H

#include <stdatomic.h>

#include "base/base.h"
#include "base/hash.h"
#include "base/htab.h"
#include "base/range.h"
#include "base/ring.h"
#include "dev/dev.h"
#include "proto/proto.h"

/* ---- 1. layout ------------------------------------------------------------------------------- */

#define POOL_MAGIC     0x31304c4f4f50434dULL /* "MCPOOL01" */
#define POOL_LAYOUT    1
#define POOL_UNIT      64 /* extents start at and take multiples of this */
#define POOL_MIN_BYTES (1 * MiB)
#define EXTENTS_MAX    256 /* pieces of one object */

/*
 * Before every run of payload. Generations come from one counter per pool, so a generation names
 * one object for ever: all its extents carry it, none other ever will. Odd while the extent is
 * written or free, even while it is readable.
 *
 *	writer:	gen = G+1 (odd) │ fields, payload, key │ gen = G (even, release)
 *	owner:	gen = odd (release) │ ... │ space may be given out again
 *	announced:	G+1 │ in the directory: G+1+GEN_AGREED │ compare-and-swap of that → G by the writer, or
 *		of both → one of enum gen_end by whoever ends it
 *	reader:	gen == G (acquire) │ copy payload │ fence │ gen == G: the bytes are the object's
 */
#define GEN_AGREED ((uint64_t)1 << 62) /* the owner's yes to an announced object */
enum gen_end { /* generations of no object, odd: why an announced one will not be */
	GEN_REMOVED = -1,  /* by the owner: removed as if it had been there */
	GEN_REVOKED = -3,  /* by the owner: the writer took too long, or another one is there */
	GEN_ABANDONED = -5, /* by the writer, who touches the space no more */
};

struct extent_hdr {
	_Atomic uint64_t gen;
	uint64_t hash[2]; /* of the full key, with the pool's hash key */
	uint64_t len;	  /* payload bytes in this extent */
	uint64_t next;	  /* packed place of the next extent; 0: the last */
	uint64_t obj_len; /* payload bytes of the whole object */
	uint64_t put_id;  /* which put wrote it */
	uint32_t crc;	  /* CRC-32C of this extent's payload, when OBJ_CRC is set */
	uint16_t key_len; /* first extent: the full key follows the payload; others: 0 */
	uint16_t flags;	  /* enum object_flag */
};
_Static_assert(sizeof(struct extent_hdr) == 64, "an extent header is one cache line");

/*
 * region number in the top 16 bits, offset in the lower 48. 0 is never an extent: offset 0 of
 * region 0 is kept free.
 */
static inline uint64_t place_pack(uint16_t region, uint64_t off)
{
	return (uint64_t)region << 48 | off;
}

static inline uint16_t place_region(uint64_t place)
{
	return (uint16_t)(place >> 48);
}

static inline uint64_t place_off(uint64_t place)
{
	return place & (((uint64_t)1 << 48) - 1);
}

/* Bytes an extent takes, header and key included. */
static inline uint64_t extent_bytes(uint64_t len, uint16_t key_len)
{
	return align_up(sizeof(struct extent_hdr) + len + key_len, POOL_UNIT);
}

/*
 * A chain of entries. A reader that found nothing looks again when @seq moved meanwhile: the owner
 * moves it after it takes an entry out and before the entry can join another chain. It is never
 * "locked", so an owner that died stops no reader.
 */
struct dir_bucket {
	_Atomic uint32_t seq;  /* counts removals */
	_Atomic uint32_t head; /* entry number + 1; 0: empty */
};

struct dir_entry {
	uint64_t hash[2];
	_Atomic uint64_t gen; /* even; 0: unused */
	uint64_t size;
	uint64_t first; /* packed place */
	_Atomic uint32_t next;
	uint16_t flags;
	uint16_t nr_extents;
	uint64_t put_id;
	uint64_t stamp; /* the owner's count of touches at the last touch: order after a restart */
};
_Static_assert(sizeof(struct dir_entry) == 64, "a directory entry is one cache line");

/* What few entries have and readers do not need. Of another generation than the entry's: it has none of it. */
struct dir_extra {
	_Atomic uint64_t gen;
	uint32_t group;	     /* 0: none */
	uint32_t soft_until; /* soft_time() */
};

struct dir_header {
	uint64_t magic;
	uint32_t layout, nr_regions;
	uint8_t pool_id[16], node[16];
	struct hash_key hash_key;
	uint64_t nr_buckets, nr_entries; /* powers of two; entry pages appear as they are used */
	uint64_t buckets_off, entries_off, bytes;
	uint64_t region_bytes[POOL_REGIONS_MAX];
	_Atomic uint64_t epoch;	   /* owner incarnation, grows by one at each adoption */
	_Atomic uint64_t next_gen; /* even; generations below are spent */
	_Atomic uint64_t top;	   /* entries from here on were never used */
	_Atomic uint32_t dead;	   /* the owner said farewell: detach */
	uint32_t pad;
	/* Of pools with a name (kept.c): the module's numbers of the regions, and the lease's epoch. */
	uint64_t region_id[POOL_REGIONS_MAX], lease_epoch;
	uint64_t extras_off; /* one for each entry; 0: made by a release that did not have them */
};

/* ---- 2. view: reading (and writing granted space) from any process of the node (view.c) ------ */

struct pool_view {
	const struct dir_header *dir;
	uint64_t dir_bytes;
	uint32_t nr_regions;
	struct region dir_region, ring_region, region[POOL_REGIONS_MAX];
	struct lossy_ring *touches; /* NULL: none */
	uint64_t touch_mask;
	struct hash_key hash_key; /* copies: nothing the owner could change under us is trusted */
	uint64_t nr_buckets, nr_entries, buckets_off, entries_off, extras_off;
};

/*
 * Takes over the descriptors: directory, touch ring (or -1), data regions. -EPROTO: another
 * layout; -EBADMSG: damaged.
 */
int view_open(int dir_fd, int ring_fd, const int *region_fds, const struct msg_attach_reply *info,
	      bool writable, struct pool_view *out);
void view_close(struct pool_view *v);
bool view_dead(const struct pool_view *v); /* the owner said farewell */
void view_prefault(const struct pool_view *v); /* the buckets, before the first look-ups; no error */

struct found {
	struct loc loc;
	uint64_t size;
	uint32_t entry; /* for view_touch() */
	uint32_t flags;
};

/* No system call, no lock. -ENOENT. The answer may be old at once; view_read() finds out. */
int view_lookup(const struct pool_view *v, const void *key, uint16_t key_len, struct found *out);

/*
 * The same in steps, for many: a directory fits no cache, so what some (16, say) will touch is
 * asked for before the first is looked up.
 */
#define VIEW_FETCH 16
void view_hash(const struct pool_view *v, const struct key *key, uint64_t hash[2]);
void view_fetch(const struct pool_view *v, const uint64_t (*hash)[2], unsigned nr);
int view_lookup_hash(const struct pool_view *v, const uint64_t hash[2], struct found *out);

/*
 * Validated copy of object bytes [off, off+len) into @dst. 0; -ESTALE: the generation is gone
 * (look up again); -EINVAL: range beyond the object. After -ESTALE @dst holds anything. One copy,
 * no system call.
 */
int view_read(const struct pool_view *v, const struct loc *loc, uint64_t size, uint64_t off,
	      void *dst, uint64_t len);

/* The same from the first byte on, scattered: as much as the pieces hold, at most @size. */
struct iovec;
int view_readv(const struct pool_view *v, const struct loc *loc, uint64_t size,
	       const struct iovec *dst, int nr);

/* Tells the owner that @f was used; lossy. */
void view_touch(const struct pool_view *v, const struct found *f);

/*
 * The payload pieces in place, for zero-copy senders: at most @max; validate afterwards with
 * view_valid(). Return: how many.
 */
int view_map(const struct pool_view *v, const struct loc *loc, uint64_t size, struct iovec *out,
	     int max);
bool view_valid(const struct pool_view *v, const struct loc *loc);

/*
 * Writing. Space comes as runs (a grant); extents_carve() cuts an object's extents from them,
 * extents_fill() writes headers, payload and key. The object is readable after extents_seal(),
 * findable after the owner's commit.
 */
struct extents {
	uint64_t gen; /* even: what readers will be promised */
	uint64_t size;
	uint64_t put_id; /* set by the caller before extents_begin() or extents_fill() */
	uint16_t key_len;
	uint16_t nr;
	struct {
		uint64_t place, len; /* payload bytes */
	} piece[EXTENTS_MAX];
};

/*
 * Takes a grant's runs into the client's sets. -EBADMSG: outside the regions or twice the same
 * (nothing taken); -ENOMEM.
 */
int view_granted(const struct pool_view *v, const struct msg_grant_reply *m,
		 struct range_set *runs);

/*
 * From @runs, a set per region. Prefers one piece; more when it must. -ENOSPC: the runs together
 * are too short (nothing taken);
 * -E2BIG: it would take over EXTENTS_MAX pieces.
 */
int extents_carve(struct range_set *runs, unsigned nr_regions, uint64_t size, uint16_t key_len,
		  uint64_t gen, struct extents *out);

/* Back into the sets, e.g. after -EEXIST. */
void extents_return(struct range_set *runs, const struct extents *x);

/*
 * Writes everything from the gathered @src (x->size bytes), computing CRCs when @flags has
 * OBJ_CRC, and seals.
 */
void extents_fill(const struct pool_view *v, const struct extents *x, const struct key *key,
		  uint16_t flags, const struct iovec *src, int nr_src);

/*
 * The same in steps, for an object that is announced before its bytes are there: extents_begin(), the announcement,
 * extents_copy(), and after the owner's yes extents_reveal(), which makes it readable.
 * Return of the last: 0; else the space is the writer's again: -ENOENT removed meanwhile, -ESTALE revoked, and the object
 * is to be put in the ordinary way; -EBADMSG somebody else wrote there, or nobody said yes.
 */
void extents_copy(const struct pool_view *v, const struct extents *x, uint16_t flags,
		  const struct iovec *src, int nr_src);
int extents_reveal(const struct pool_view *v, const struct extents *x);
/* The yes can be seen before the reply is read: 0; -EINPROGRESS not yet; -ECANCELED it will not come, the reply says why. */
int extents_agreed(const struct pool_view *v, const struct extents *x);
/* Instead, when no answer came. 0: the space is the owner's business from now on; or as above. */
int extents_abandon(const struct pool_view *v, const struct extents *x);

/* For payload that arrives from a socket: headers first (odd), iovecs to fill, then seal. */
void extents_begin(const struct pool_view *v, const struct extents *x, const struct key *key,
		   uint16_t flags);
int extents_iov(const struct pool_view *v, const struct extents *x, struct iovec *out, int max);
/* Payload from @off on; the caller knows that all of it is inside. */
void extents_write(const struct pool_view *v, const struct extents *x, uint64_t off, const void *src, uint64_t len);
/* With OBJ_CRC among @flags: @crc of each piece's payload, or NULL to compute them. */
void extents_seal(const struct pool_view *v, const struct extents *x, uint16_t flags, const uint32_t *crc);
struct loc extents_loc(const struct extents *x);

/* ---- 3. owner (pool.c, directory.c, evict.c, recover.c): one thread at a time ---------------- */

struct pool;

struct pool_opts {
	const char *name;
	struct region *memory; /* the payload space is this region, taken over also on failure; NULL: it is made */
	uint64_t bytes;	       /* payload space, split into regions of at most region_max */
	uint64_t region_max;   /* 0: one region */
	unsigned region_flags; /* enum region_flag */
	uint64_t entries;      /* 0: one per KiB of pool */
	const char *policy;    /* NULL: the default; see evict.h */
	bool spread;	       /* over the NUMA nodes, a region at least for each */
	const char *keep;      /* pool_open_kept(): the name under which it outlives processes */
	gid_t group;	       /* that may see its regions, and write where clients write; 0: the owner alone */
};

int pool_create(const struct pool_opts *o, struct pool **out);

/*
 * A pool whose owner ended: from its descriptors (as view_open()). Checks every entry against its
 * header, drops what was being written, rebuilds chains, free space and eviction order. @kept,
 * @lost count objects.
 */
int pool_adopt(int dir_fd, const int *region_fds, unsigned nr_regions, const char *policy,
	       struct pool **out, uint64_t *kept, uint64_t *lost);

/*
 * The pool called @o->keep, from /dev/mooncake: the one that an earlier owner left there, whatever became of it, or a new
 * one. Objects of an owner that left in order are served again as they lie; after a crash each one is checked first, as in
 * pool_adopt(). While it is open nobody else can open it. @ledger_fd: as owner_ledger_create(), the caller's to close.
 * -EOPNOTSUPP: regions do not come from the module; -EBUSY: another process has it; -EACCES; -EDQUOT; -ENOMEM; -EINVAL
 * the name.
 */
#define POOL_KEEP_MAX 48 /* characters of its name: REGION_NAME_MAX less what is added */
struct pool_found {
	bool found, clean; /* it was there; and its owner had left in order */
	uint64_t kept, lost;
};
int pool_open_kept(const struct pool_opts *o, struct pool **out, int *ledger_fd, struct pool_found *f);
int pool_forget_kept(const char *keep); /* its memory goes; -ENOENT; -EBUSY: it is being served */

/* Unmaps; the memory lives as long as a descriptor or its name does. The owner's orderly end: with a name it is clean. */
void pool_close(struct pool *p);
bool pool_revoked(const struct pool *p); /* its memory was taken away: whatever it says now means nothing */
void pool_farewell(struct pool *p); /* tells readers to detach: view_dead() */

/*
 * The owner's own view, writable. Its dir_region.fd and region[].fd are what to keep for
 * pool_adopt().
 */
const struct pool_view *pool_view(const struct pool *p);

struct pool_stat {
	uint64_t capacity, used, granted; /* bytes: all; of objects; held by holders */
	uint64_t objects, entries_free;
	uint64_t evicted, evicted_bytes, pinned_bytes;
};
void pool_stat(const struct pool *p, struct pool_stat *out);

void pool_set_rules(struct pool *p, const struct pool_rules *r); /* for puts and evictions from now on */


/* Called for each object that eviction takes, before its space is reused: to tell the master. */
typedef void (*pool_evicted_fn)(void *arg, const struct key *key, uint64_t gen);
void pool_on_evict(struct pool *p, pool_evicted_fn fn, void *arg);

/*
 * Grants: space a client fills by itself. A holder is one client; what it holds and did not commit
 * comes back with pool_holder_fini(), which the caller does only when the client can no longer
 * write (it returned the space or it is dead).
 */
/* A holder may use the generations of its last windows, this many. A window is a grant, or several that follow on each other. */
#define HOLDER_GENS 64
struct pool_holder {
	struct range_set held[POOL_REGIONS_MAX];
	struct range_set announced[POOL_REGIONS_MAX]; /* it may write there, too */
	struct gen_window {
		uint64_t first; /* even */
		uint32_t count;
		uint64_t *used; /* a bit each */
	} gens[HOLDER_GENS];
	unsigned next_window;
};
void pool_holder_init(struct pool_holder *h);
void pool_holder_fini(struct pool *p, struct pool_holder *h);

/*
 * Evicts as needed, so that GRANT_RUNS_MAX runs hold @bytes: who asks for at most that many times
 * its smallest object never causes eviction for want of longer runs. Fills m->runs (from @s).
 * -ENOSPC when nothing at all can be had; -ENOMEM.
 */
int pool_grant(struct pool *p, struct pool_holder *h, uint64_t bytes, struct scratch *s,
	       struct msg_grant_reply *m);
/* -EINVAL: not held. */
int pool_return(struct pool *p, struct pool_holder *h, const struct msg_return *m);

/*
 * Evicts at most @max objects towards a grant of @bytes. Return: no more is needed, or nothing can go.
 */
bool pool_make_room(struct pool *p, uint64_t bytes, unsigned max);

/*
 * After pool_adopt(): what is free of @run becomes @h's, a process that an earlier owner had
 * granted it to and that still lives.
 * -EBADMSG: outside the regions; -ENOMEM.
 */
int pool_hold(struct pool *p, struct pool_holder *h, const struct grant_run *run);

/*
 * Two steps, because the master decides in between: pool_stage() checks an item against the grant
 * and its headers and takes the space out of the holder; then pool_publish() makes it findable or
 * pool_unstage() gives the space back to the holder.
 * -EINVAL: not in the grant; -ESTALE: its generation is of a grant that is long past; -EBADMSG: headers disagree;
 * -EEXIST: findable here already (without OBJ_REPLACE); -ENOSPC: no directory entry is left; -ENOMEM. After an error the
 * space is still the holder's.
 */
struct staged; /* one object between the steps */
int pool_stage(struct pool *p, struct pool_holder *h, const struct publish_item *it,
	       struct staged **out);
/* Each of @items; @out is NULL where @status is not 0. Return: how many are staged. */
uint32_t pool_stage_many(struct pool *p, struct pool_holder *h, const struct publish_item *items,
			 uint32_t nr, struct staged **out, int32_t *status);
void pool_publish(struct pool *p, struct staged *s); /* frees @s; replaces an entry of the key */
void pool_inherit(struct staged *s, const struct inherited *in); /* before it is published: of what it replaces elsewhere */
/* Before each of many is published or given up: @s is the next of @nr. NULL among them is fine. */
void pool_fetch_staged(struct pool *p, struct staged *const *s, uint32_t nr);
/* @h NULL: the space is free again. The generation is spent either way. */
void pool_unstage(struct pool *p, struct staged *s, struct pool_holder *h);
/* Key and loc; the key's memory is the staged object's. */
const struct publish_item *staged_item(const struct staged *s);
/* A DROP may come before the verdict. */
struct staged *pool_staged_by_gen(struct pool *p, uint64_t gen);

/*
 * Announced objects (announce.c) are staged with OBJ_PENDING, their headers odd. pool_publish() keeps @s for the caller then:
 * readers find the entry and take its header's word, eviction passes it by. It ends in one of two states, by what the
 * writer does, by removal, or by pool_announced_end(), after which the flip fails and the space is @h's again (free,
 * when the writer is not @alive). OBJ_REPLACE cannot be announced: -EINVAL.
 */
enum announced { ANNOUNCED_WRITING, ANNOUNCED_STORED, ANNOUNCED_GONE };
enum announced pool_announced_look(struct pool *p, struct staged *s);
enum announced pool_announced_end(struct pool *p, struct staged *s, bool alive);
void pool_announced_free(struct pool *p, struct staged *s); /* still WRITING: the entry is left to the next owner */

/*
 * Space for an object the owner itself receives (a put from another node): then fill x, stage
 * without holder. -ENOSPC: un-evictable bytes leave no room.
 */
int pool_alloc(struct pool *p, uint64_t size, uint16_t key_len, struct extents *out);
void pool_alloc_undo(struct pool *p, const struct extents *x);
int pool_stage_own(struct pool *p, const struct extents *x, const struct publish_item *it,
		   struct staged **out);

/* @gen 0: whatever generation. -ENOENT; -EBUSY: touched within @lease_ns and not @force. */
int pool_drop(struct pool *p, const struct key *key, uint64_t gen, bool force, uint64_t now_ns,
	      uint64_t lease_ns);

/* Entries that a sweep left because they are leased; @nr is right also when it is more than there is room for. */
struct pool_kept {
	uint64_t nr;
	uint32_t entry[KEPT_MAX];
};

/*
 * All objects whose full key starts with @prefix (empty: all). @kept may be NULL. Return: how many went.
 */
uint64_t pool_sweep(struct pool *p, const void *prefix, size_t len, bool force, uint64_t now_ns,
		    uint64_t lease_ns, struct pool_kept *kept);
/* The keys lie in the pool. What cannot be named is left out. Return: how many are in @out. */
uint32_t pool_kept_items(struct pool *p, const struct pool_kept *kept, struct drop_item *out);
static inline uint64_t pool_drop_prefix(struct pool *p, const void *prefix, size_t len, bool force,
					uint64_t now_ns, uint64_t lease_ns)
{
	return pool_sweep(p, prefix, len, force, now_ns, lease_ns, NULL);
}

void pool_touch(struct pool *p, const struct key *key, uint64_t now_ns); /* as a reader's touch */

int pool_find(struct pool *p, const struct key *key, struct publish_item *out); /* -ENOENT */

/*
 * Until it is given back the bytes of this generation stay as they are, for who sends them without looking at the headers
 * afterwards: the object is not evicted; when it is removed, its space is free only then. -ENOENT; -ENOMEM.
 */
struct lent;
int pool_lend(struct pool *p, const struct key *key, uint64_t gen, struct lent **out);
void pool_give_back(struct pool *p, struct lent *l);

/*
 * Walks all objects from *cursor (0 first), up to @max; *cursor 0 at the end. For refilling a
 * master and listing.
 */
uint32_t pool_walk(struct pool *p, uint64_t *cursor, uint32_t max, struct publish_item *out);

/*
 * A touch ring of a client, drained with the others before eviction decides. @now_ns becomes the
 * time of these touches.
 */
struct pool_ring {
	struct region region; /* its descriptor and size go to the client */
	struct lossy_ring *ring;
	uint64_t mask, tail;
	struct pool_ring *next;
};
int pool_ring_open(struct pool *p, struct pool_ring **out);
void pool_ring_close(struct pool *p, struct pool_ring *r);
void pool_drain_touches(struct pool *p, uint64_t now_ns);

/*
 * Descriptors for msg_attach_reply, the pool's to close: directory (read-only), then regions.
 * ring_bytes is the caller's to set.
 */
int pool_fds(struct pool *p, int *dir_fd, int *region_fds, struct msg_attach_reply *info);

#endif
