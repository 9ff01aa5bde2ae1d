/* SPDX-License-Identifier: Apache-2.0 */
/* Memory the caller registered: exact ranges for removal, their union for "does this pointer lie in one?". */
#include "store/store.h"

#include "base/log.h"

struct buffer {
	struct range r;
	void *hold; /* memory of mc_memory_alloc() outlives its registration */
};

static int insert(struct mc_store *s, struct range r)
{
	struct buffer *more = realloc(s->buffer_list, (s->nr_buffers + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	s->buffer_list = more;
	s->buffer_list[s->nr_buffers++] = (struct buffer){ r, memory_hold((const void *)(uintptr_t)r.off, r.len) };
	return 0;
}

void buffers_fini(struct mc_store *s)
{
	for (unsigned i = 0; i < s->nr_buffers; i++)
		memory_let_go(s->buffer_list[i].hold);
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
	void *hold = NULL;

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
			hold = b->hold;
			s->buffer_list[i] = s->buffer_list[--s->nr_buffers];
		}
		break;
	}
	pthread_rwlock_unlock(&s->buffers_lock);
	memory_let_go(hold);
	store_leave(s);
	return ret;
}

int mc_store_buffer_has(struct mc_store *s, const void *addr, size_t len)
{
	int ret;

	pthread_rwlock_rdlock(&s->buffers_lock);
	ret = range_set_has(&s->buffers, (uint64_t)(uintptr_t)addr, len);
	pthread_rwlock_unlock(&s->buffers_lock);
	return ret;
}
