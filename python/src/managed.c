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
	struct block *next;
	void *addr;
	uint64_t len;
};

struct managed {
	pthread_mutex_t lock;
	struct block *all;	     /* everything that is mapped */
	struct block *free[CLASSES]; /* second list of the same memory: blocks of their own */
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
	struct block *b = NULL;

	pthread_mutex_lock(&m->lock);
	if (c < CLASSES && m->free[c]) {
		struct block *f = m->free[c];
		void *addr = f->addr;

		m->free[c] = f->next;
		free(f);
		pthread_mutex_unlock(&m->lock);
		return addr;
	}
	pthread_mutex_unlock(&m->lock);
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

static bool is_free(const struct managed *m, int c, const void *addr)
{
	for (const struct block *f = m->free[c]; f; f = f->next)
		if (f->addr == addr)
			return true;
	return false;
}

void managed_put(struct engine_ref *r, void *addr, uint64_t len)
{
	struct managed *m = r->managed;
	struct block **at, *b = NULL, *f;
	int c = class_of(len);

	pthread_mutex_lock(&m->lock);
	at = find(m, addr);
	if (*at && c < CLASSES && (*at)->len == CLASS_MIN << c && !is_free(m, c, addr)) {
		f = calloc(1, sizeof(*f));
		if (f) {
			f->addr = addr;
			f->next = m->free[c];
			m->free[c] = f;
		}
	} else if (*at && (*at)->len > CLASS_MIN << (CLASSES - 1)) {
		b = *at;
		*at = b->next;
	}
	pthread_mutex_unlock(&m->lock);
	if (b)
		unmap_block(r, b);
}

void managed_close(struct engine_ref *r)
{
	struct managed *m = r->managed;
	struct block *b, *next;

	for (int c = 0; c < CLASSES; c++) {
		for (b = m->free[c]; b; b = next) {
			next = b->next;
			free(b);
		}
	}
	for (b = m->all; b; b = next) {
		next = b->next;
		unmap_block(r, b);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}
