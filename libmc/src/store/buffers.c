/* SPDX-License-Identifier: Apache-2.0 */
/* Memory the caller registered: exact ranges for removal, their union for "does this pointer lie in one?". */
#include "store/store.h"

#include "base/log.h"

/*
 * Memory of mc_memory_alloc() outlives its registration, and the calls that were under way when that ended: what was registered may
 * be freed without a thought to other threads.
 */
struct parked {
	struct parked *next;
	void *hold;
};

struct buffer {
	struct range r;
	struct parked *parked; /* NULL: other memory */
};

static int insert(struct mc_store *s, struct range r)
{
	struct buffer *more = realloc(s->buffer_list, (s->nr_buffers + 1) * sizeof(*more));
	void *hold = more ? memory_hold((const void *)(uintptr_t)r.off, r.len) : NULL;
	struct parked *p = hold ? calloc(1, sizeof(*p)) : NULL;

	if (more)
		s->buffer_list = more;
	if (!more || (hold && !p)) {
		memory_let_go(hold);
		return -ENOMEM;
	}
	if (p)
		p->hold = hold;
	s->buffer_list[s->nr_buffers++] = (struct buffer){ r, p };
	return 0;
}

static void let_go(struct parked *p)
{
	while (p) {
		struct parked *next = p->next;

		memory_let_go(p->hold);
		free(p);
		p = next;
	}
}

/* Called by a call that is about to leave: when it is the only one, nobody uses what was unregistered before. */
void buffers_unpark(struct mc_store *s)
{
	struct parked *p = NULL;

	pthread_rwlock_wrlock(&s->buffers_lock);
	/* Acquire: what calls that left did with the memory comes before. Pairs with store_leave(). */
	if ((atomic_load_explicit(&s->users, memory_order_acquire) & ~STORE_CLOSING) == 1) {
		p = s->parked;
		s->parked = NULL;
		atomic_store_explicit(&s->any_parked, false, memory_order_relaxed);
	}
	pthread_rwlock_unlock(&s->buffers_lock);
	let_go(p);
}

void buffers_fini(struct mc_store *s)
{
	for (unsigned i = 0; i < s->nr_buffers; i++)
		let_go(s->buffer_list[i].parked);
	let_go(s->parked);
	free(s->buffer_list);
	range_set_fini(&s->buffers);
}

int mc_store_buffer_add(struct mc_store *s, void *addr, size_t len)
{
	struct range r = { (uint64_t)(uintptr_t)addr, len };
	uint64_t end;
	int ret;

	if (!addr || !len || check_add(r.off, r.len, &end)) {
		err_note("buffer at %p of %zu bytes: a buffer has an address and at least one byte", addr, len);
		return -EINVAL;
	}
	ret = store_enter(s);
	if (ret)
		return ret;
	pthread_rwlock_wrlock(&s->buffers_lock);
	ret = range_set_add(&s->buffers, r.off, r.len);
	if (!ret) {
		ret = insert(s, r);
		if (ret)
			range_set_del(&s->buffers, r.off, r.len);
	}
	pthread_rwlock_unlock(&s->buffers_lock);
	if (ret == -EEXIST)
		log_err("buffer at %p of %zu bytes overlaps a registered one; unregister that first", addr, len);
	store_leave(s);
	return ret;
}

int mc_store_buffer_del(struct mc_store *s, void *addr)
{
	int ret = store_enter(s);

	if (ret)
		return ret;
	ret = -ENOENT;
	pthread_rwlock_wrlock(&s->buffers_lock);
	for (unsigned i = 0; i < s->nr_buffers; i++) {
		const struct buffer *b = &s->buffer_list[i];

		if (b->r.off != (uint64_t)(uintptr_t)addr)
			continue;
		ret = range_set_del(&s->buffers, b->r.off, b->r.len);
		if (!ret) {
			if (b->parked) {
				b->parked->next = s->parked;
				s->parked = b->parked;
				atomic_store_explicit(&s->any_parked, true, memory_order_relaxed);
			}
			s->buffer_list[i] = s->buffer_list[--s->nr_buffers];
		}
		break;
	}
	pthread_rwlock_unlock(&s->buffers_lock);
	if (ret == -ENOENT)
		err_note("no registered buffer begins at %p", addr);
	store_leave(s);
	return ret;
}

int mc_store_buffer_check(struct mc_store *s, const struct mc_iov *iov, unsigned nr)
{
	for (unsigned i = 0; s->of_node && i < nr; i++) {
		if (!iov[i].len || mc_store_buffer_has(s, iov[i].addr, iov[i].len))
			continue;
		err_note("%zu bytes at %p lie in no registered buffer; a client of a node registers memory of mc_memory_alloc() first "
			 "(MooncakeHostMemAllocator, register_buffer)", iov[i].len, iov[i].addr);
		return -EFAULT;
	}
	return 0;
}

int mc_store_of_node(const struct mc_store *s)
{
	return s->of_node;
}

int mc_store_buffer_has(struct mc_store *s, const void *addr, size_t len)
{
	int ret;

	pthread_rwlock_rdlock(&s->buffers_lock);
	ret = range_set_has(&s->buffers, (uint64_t)(uintptr_t)addr, len);
	pthread_rwlock_unlock(&s->buffers_lock);
	return ret;
}
