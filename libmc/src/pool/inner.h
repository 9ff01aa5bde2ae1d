/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share and nobody else sees. */
#ifndef MC_POOL_INNER_H
#define MC_POOL_INNER_H

#include <sys/uio.h>

#include "base/list.h"
#include "pool/evict_inner.h"
#include "pool/pool.h"

/*
 * ---- fences ---- gcc warns that its thread sanitizer ignores them; what they order here is atomic
 * or exempt.
 */

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void fence_acquire(void)
{
	atomic_thread_fence(memory_order_acquire);
}

static inline void fence_release(void)
{
	atomic_thread_fence(memory_order_release);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/*
 * Plain fields that another process may be changing: each is loaded and stored whole, order comes
 * from the generations.
 */
#define peek(p)	   __atomic_load_n(p, __ATOMIC_RELAXED)
#define poke(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)

/* For functions that read where somebody may be writing payload by now, and find out afterwards. */
#if defined(__SANITIZE_THREAD__)
#define racy_fn __attribute__((no_sanitize("thread"), noinline))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define racy_fn __attribute__((no_sanitize("thread"), noinline))
#endif
#endif
#ifndef racy_fn
#define racy_fn
#endif

/* ---- memory shared with others (view.c, read.c) ---------------------------------------------- */

#define NIL UINT32_MAX

/* The first byte of [place, place + len), or NULL when that is not inside one region. */
static inline void *place_at(const struct pool_view *v, uint64_t place, uint64_t len)
{
	uint16_t r = place_region(place);
	uint64_t off = place_off(place);

	if (unlikely(r >= v->nr_regions || off % POOL_UNIT ||
		     !range_inside(off, len, v->region[r].size)))
		return NULL;
	return (char *)v->region[r].base + off;
}

static inline const struct dir_bucket *view_bucket(const struct pool_view *v,
						   const uint64_t hash[2])
{
	return (const struct dir_bucket *)((const char *)v->dir + v->buckets_off) +
	       (hash[0] & (v->nr_buckets - 1));
}

static inline const struct dir_entry *view_entry(const struct pool_view *v, uint32_t i)
{
	return (const struct dir_entry *)((const char *)v->dir + v->entries_off) + i;
}

/* Takes over open regions (closing them on error) and checks the header against them. */
int view_init(struct pool_view *v);

/* Does what the header says lie inside the regions of @v? -EBADMSG. */
int view_check_header(const struct pool_view *v, const struct dir_header *h);

/*
 * Touches carry the entry and enough of its generation that one meant for an earlier object is
 * seen.
 */
static inline uint64_t touch_pack(uint32_t entry, uint64_t gen)
{
	return (gen >> 1) << 32 | (entry + 1);
}

/*
 * Places of a touch ring in a region of @bytes: what both sides conclude from the size alone. 0:
 * none.
 */
uint64_t touch_places(uint64_t bytes);

/* ---- the owner ------------------------------------------------------------------------------- */

#define SOFT_PIN_MS (30 * 60 * 1000) /* when neither the put nor the master's rules said */

struct piece {
	uint64_t place, bytes; /* header and key included */
};

/*
 * Where an object lies, as checked when it was staged: headers can be overwritten by clients and
 * are never believed again.
 */
struct layout {
	uint16_t nr, key_len;
	uint64_t first_len; /* payload of the first extent */
	uint64_t bytes;	    /* all extents */
	struct piece piece[];
};

enum slot_order { ORDER_NONE, ORDER_POLICY, ORDER_SOFT, ORDER_WRITING /* announced: in none yet */, ORDER_LENT };

/* The owner's private part of an entry. Pages appear as entries are used. */
struct slot {
	uint64_t touched_ns; /* 0: never */
	struct layout *
		layout; /* of objects with several extents; else it follows from size and key_len */
	uint32_t prev, next; /* soft pins: by last use; unused entries: next alone */
	uint32_t soft_until; /* soft pins: soft_time() */
	uint16_t key_len;
	uint8_t order; /* enum slot_order */
	bool grouped;
};

/* A moment in units of 67 ms, which a slot has room for. */
static inline uint32_t soft_time(uint64_t ns)
{
	return (uint32_t)(ns >> 26);
}

struct pool {
	struct pool_view view;
	struct dir_header *dir;
	struct dir_bucket *buckets;
	struct dir_entry *entries;
	struct dir_extra *extras; /* NULL: this directory has none */
	int dir_fd; /* read-only, for others */

	struct range_alloc *space[POOL_REGIONS_MAX];
	uint64_t capacity, free, granted, evictable, pinned;
	uint64_t soft; /* of @evictable: soft pins */
	struct pool_rules rules;

	struct slot *slots;		/* one per entry */
	uint32_t unused;		/* head of the list of unused entries below dir->top */
	uint32_t soft_first, soft_last; /* first: used last */
	uint64_t objects, reserved;	/* entries in the directory; entries of staged objects */

	struct evict *evict;
	uint64_t evicted, evicted_bytes;
	pool_evicted_fn evicted_fn;
	void *evicted_arg;

	struct htab groups, members; /* group.c */
	uint32_t evict_group;	     /* its members go first; 0: none */
	struct htab staged; /* by generation */
	struct staged *spare; /* ended, for the next ones */
	unsigned nr_spare;
	struct list writing; /* announced objects that are findable and have not ended: few */
	struct list lent;    /* struct lent: few */
	struct pool_ring own_ring, *rings;
	uint64_t next_gen, stamp, now_ns;
	bool kept; /* the directory's lease is ours */
};

struct staged {
	union {
		struct hnode node;
		struct staged *next; /* spare */
		struct list in_writing; /* announced, in the directory */
	};
	struct publish_item item;
	uint64_t hash[2];
	struct layout *layout; /* staged_single(): one extent */
	uint64_t single[(sizeof(struct layout) + sizeof(struct piece)) / sizeof(uint64_t)];
	uint32_t entry;		   /* reserved */
	enum announced state;	   /* announced ones only, as the next */
	struct pool_holder *holder; /* whose process writes it */
	uint8_t key[];
};
/* A layout with one piece, in the staged object itself. */
static inline struct layout *staged_single(struct staged *s)
{
	return (struct layout *)(void *)s->single;
}

static inline bool staged_announced(const struct staged *s)
{
	return s->item.flags & OBJ_PENDING;
}

/* pool.c */
struct pool *pool_new(void);
int pool_init(struct pool *p,
	      const char *policy); /* private state of a pool whose view is open and checked */
int pool_make_regions(const struct pool_opts *o, struct pool_view *v);
uint64_t pool_dir_bytes(const struct pool_opts *o); /* 0: too many entries */
void pool_make_header(const struct pool_opts *o, struct pool_view *v); /* of the directory, which is zeroes */

/* recover.c: private state too, and the directory mended. */
int pool_take_over(struct pool *p, const char *policy, bool trusted, uint64_t *kept, uint64_t *lost);

/* kept.c */
int keep_region(const struct pool_opts *o, struct region *r, unsigned i); /* gives the @i-th its name */

/* directory.c */
uint32_t dir_find(const struct pool *p, const uint64_t hash[2]); /* NIL: not there */
uint32_t dir_reserve(struct pool *p);				 /* an unused entry, or NIL */
void dir_unreserve(struct pool *p, uint32_t i);
void dir_link(struct pool *p, uint32_t i); /* an entry that is filled becomes findable */
void dir_unlink(struct pool *p, uint32_t i);
void entry_key_at(const struct pool *p, uint32_t i, struct key *out);
bool entry_key(const struct pool *p, uint32_t i,
	       struct key *out); /* false: a client overwrote it */
void entry_item(const struct pool *p, uint32_t i, struct publish_item *out); /* all but the key */
uint64_t entry_bytes(const struct pool *p, uint32_t i);
/* For the next owner: what the object of generation @gen, soon the entry's, has of these. */
void extra_note(struct pool *p, uint32_t i, uint64_t gen, uint32_t group, uint32_t soft_until);
bool extra_read(const struct pool *p, uint32_t i, struct dir_extra *out); /* false: nothing was noted */

/*
 * Walking all objects costs some cache misses each: asks for what entry @i leads to, so that it is
 * there FETCH_AHEAD entries later.
 */
#define FETCH_AHEAD 16
void fetch_object(const struct pool *p, uint64_t i, bool key, bool header);

static inline struct dir_bucket *bucket_of(const struct pool *p, const uint64_t hash[2])
{
	return &p->buckets[hash[0] & (p->view.nr_buckets - 1)];
}

static inline uint64_t dir_top(const struct pool *p)
{
	return atomic_load_explicit(&p->dir->top, memory_order_relaxed);
}

static inline uint64_t entry_gen(const struct pool *p, uint32_t i)
{
	return atomic_load_explicit(&p->entries[i].gen, memory_order_relaxed);
}

/* order.c: which object goes next */
void order_insert(struct pool *p, uint32_t i);
void order_remove(struct pool *p, uint32_t i);
void order_touch(struct pool *p, uint32_t i);
uint32_t order_victim(struct pool *p); /* out of the order; NIL: nothing can go */
uint64_t order_evictable(struct pool *p); /* bytes that may go */

/* group.c */
void group_join(struct pool *p, uint32_t i, uint32_t nr); /* 0: none. Best effort */
void group_leave(struct pool *p, uint32_t i);
uint32_t group_of(const struct pool *p, uint32_t i); /* 0: none */
void group_touch(struct pool *p, uint32_t i, uint64_t now_ns);
uint64_t group_touched_ns(const struct pool *p, uint32_t i); /* the last touch of any member */
void group_evict(struct pool *p, uint32_t i); /* the others of its group shall follow it */
uint32_t group_victim(struct pool *p);	      /* one of them; NIL */
void groups_free(struct pool *p);

/* space.c */
struct layout *layout_new(unsigned nr, uint16_t key_len);
void pieces_spoil(struct pool *p, const struct piece *piece, unsigned nr,
		  uint64_t gen); /* no reader accepts them again */
void pieces_free(struct pool *p, const struct piece *piece, unsigned nr);
void object_remove(struct pool *p, uint32_t i); /* out of order and directory, spoiled, freed */
bool space_evict(struct pool *p);		/* one object; false: nothing can go */

/*
 * Runs that together hold @bytes after @overhead is taken from each, the first at least
 * @first_least long. Evicts for it. What was found is returned even when it is less. Return: how
 * many.
 */
unsigned space_collect(struct pool *p, uint64_t bytes, uint64_t overhead, uint64_t first_least,
		       unsigned max, struct grant_run *runs);
void space_put(struct pool *p, uint16_t region, uint64_t off, uint64_t len);

/* lend.c */
/* The object of entry @i goes: was it lent, and keeps its space (@layout too) until it is given back? */
bool lent_keep_space(struct pool *p, uint32_t i, struct layout *layout, const struct piece *one);
void lent_forget(struct pool *p);

/* drop.c */
uint32_t find_key(const struct pool *p, const struct key *key); /* NIL */

/* stage.c */
/*
 * Reads the chain of @it into @l (room for its pieces), checking all but who may use the space.
 * -EINVAL places; -EBADMSG headers.
 */
int layout_read(const struct pool *p, const struct publish_item *it, const uint64_t hash[2],
		struct layout *l);
void staged_free_spare(struct pool *p);

void staged_free(struct pool *p, struct staged *s);

/* announce.c */
int announced_hold(struct staged *s, struct pool_holder *h); /* the space is being written to; -ENOMEM */
void announced_unhold(struct staged *s);
void announced_publish(struct pool *p, struct staged *s); /* its entry is in the directory */
void announced_unstage(struct pool *p, struct staged *s); /* the space goes back, the entry is untouched */
/* An announced object's entry goes, unless it turns out to be stored: false, and it is one like any other. */
bool announced_displace(struct pool *p, uint32_t i, enum gen_end why);
bool announced_writing(struct pool *p, uint32_t i); /* is the entry one whose bytes are not there? Looks. */
/* recover.c: what an earlier owner's clients did not finish. Return: is the object there? */
bool announced_adopt(struct pool *p, uint32_t i);

/* touch.c */
int ring_init(struct pool_ring *r);
void ring_fini(struct pool_ring *r);
void touch_entry(struct pool *p, uint32_t i, uint64_t now_ns);

#endif
