/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managed buffers: memory the engine allocates and registers for the caller. Size classes from 8 KiB
 * to 256 MiB by doubling; what is freed serves the next request of its class and stays registered
 * until the engine goes. Larger ones come and go alone.
 */
#include "engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CLASS_MIN ((uint64_t)8 << 10)
#define CLASSES	  16

struct block {
	struct block *next, *next_free;
	void *addr;
	uint64_t len;
	bool is_free;
};

struct managed {
	pthread_mutex_t lock;
	struct block *all;	     /* everything that is mapped */
	struct block *free[CLASSES]; /* of these, what nobody has */
};

int managed_open(struct engine_ref *r)
{
	r->managed = calloc(1, sizeof(*r->managed));
	if (!r->managed)
		return -1;
	pthread_mutex_init(&r->managed->lock, NULL);
	return 0;
}

static int class_of(uint64_t len)
{
	int c = 0;

	while (c < CLASSES && CLASS_MIN << c < len)
		c++;
	return c;
}

static struct block *map_block(struct engine_ref *r, uint64_t len)
{
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->len = len;
	b->addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->addr == MAP_FAILED) {
		free(b);
		return NULL;
	}
	if (mc_region_add(r->eng, b->addr, len, NULL, NULL)) {
		munmap(b->addr, len);
		free(b);
		return NULL;
	}
	return b;
}

static void unmap_block(struct engine_ref *r, struct block *b)
{
	mc_region_del_addr(r->eng, b->addr);
	munmap(b->addr, b->len);
	free(b);
}

void *managed_get(struct engine_ref *r, uint64_t len)
{
	struct managed *m = r->managed;
	int c = class_of(len);
	struct block *b;

	pthread_mutex_lock(&m->lock);
	b = c < CLASSES ? m->free[c] : NULL;
	if (b) {
		m->free[c] = b->next_free;
		b->is_free = false;
	}
	pthread_mutex_unlock(&m->lock);
	if (b)
		return b->addr;
	b = map_block(r, c < CLASSES ? CLASS_MIN << c : len);
	if (!b)
		return NULL;
	pthread_mutex_lock(&m->lock);
	b->next = m->all;
	m->all = b;
	pthread_mutex_unlock(&m->lock);
	return b->addr;
}

static struct block **find(struct managed *m, const void *addr)
{
	struct block **at = &m->all;

	while (*at && (*at)->addr != addr)
		at = &(*at)->next;
	return at;
}

void managed_put(struct engine_ref *r, void *addr, uint64_t len)
{
	struct managed *m = r->managed;
	struct block **at, *b;
	int c = class_of(len);

	pthread_mutex_lock(&m->lock);
	at = find(m, addr);
	b = *at;
	if (b && c < CLASSES && b->len == CLASS_MIN << c && !b->is_free) {
		b->is_free = true;
		b->next_free = m->free[c];
		m->free[c] = b;
		b = NULL;
	} else if (b && b->len > CLASS_MIN << (CLASSES - 1)) {
		*at = b->next;
	} else {
		b = NULL; /* not ours, free already, or of another length */
	}
	pthread_mutex_unlock(&m->lock);
	if (b)
		unmap_block(r, b);
}

void managed_close(struct engine_ref *r)
{
	struct managed *m = r->managed;
	struct block *b, *next;

	for (b = m->all; b; b = next) {
		next = b->next;
		unmap_block(r, b);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}
