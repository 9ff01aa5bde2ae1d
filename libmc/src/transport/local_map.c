/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of a neighbour's memory can be mapped is read from /proc/<pid>/maps, the memory comes
 * through map_files.
 */
#include "transport/local_map.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define MAPS_MAX 64

struct map_area {
	uint64_t start, end; /* in the neighbour */
	char *base;	     /* here; NULL: private, or not for us */
};

struct map_cache {
	pid_t pid;
	pthread_rwlock_t lock; /* readers copy, a writer maps and unmaps */
	uint32_t seq;
	unsigned nr;
	struct map_area area[MAPS_MAX];
};

int map_cache_open(pid_t pid, struct map_cache **out)
{
	struct map_cache *c = calloc(1, sizeof(*c));
	pthread_rwlockattr_t attr;

	if (!c)
		return -ENOMEM;
	c->pid = pid;
	pthread_rwlockattr_init(&attr);
	/* Copies overlap without end under load; who wants to map must not wait for all of them. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&c->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	*out = c;
	return 0;
}

static void drop_all(struct map_cache *c)
{
	for (unsigned i = 0; i < c->nr; i++) {
		if (c->area[i].base)
			munmap(c->area[i].base, c->area[i].end - c->area[i].start);
	}
	c->nr = 0;
}

void map_cache_close(struct map_cache *c)
{
	drop_all(c);
	pthread_rwlock_destroy(&c->lock);
	free(c);
}

static const struct map_area *find(const struct map_cache *c, uint64_t addr)
{
	for (unsigned i = 0; i < c->nr; i++) {
		if (addr >= c->area[i].start && addr < c->area[i].end)
			return &c->area[i];
	}
	return NULL;
}

void *map_cache_at(const struct map_cache *c, uint64_t addr, uint64_t len)
{
	const struct map_area *a = find(c, addr);

	if (!a || !a->base || !range_inside(addr - a->start, len, a->end - a->start))
		return NULL;
	return a->base + (addr - a->start);
}

/* Anonymous shared memory has no name to be truncated by; a memfd must be sealed against that. */
static bool is_lasting(int fd, const char *path)
{
	int seals;

	if (!strcmp(path, "/dev/zero (deleted)"))
		return true;
	seals = fcntl(fd, F_GET_SEALS);
	return !strncmp(path, "/memfd:", 7) && seals >= 0 && seals & F_SEAL_SHRINK;
}

static void map_area(struct map_cache *c, struct map_area *a, uint64_t off, const char *path)
{
	size_t len = a->end - a->start;
	char name[96];
	void *base;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)c->pid,
		 a->start, a->end);
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (is_lasting(fd, path)) {
		base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)off);
		if (base != MAP_FAILED) {
			madvise(base, len, MADV_DONTFORK);
			madvise(base, len, MADV_DONTDUMP);
			a->base = base;
		}
	}
	close(fd);
}

/* The line of @addr in the neighbour's maps. Private memory is remembered as such. */
static void learn(struct map_cache *c, uint64_t addr)
{
	char name[32], line[512], perms[8], path[256];
	struct map_area a = { 0 };
	uint64_t off;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)c->pid);
	f = c->nr < MAPS_MAX ? fopen(name, "re") : NULL;
	while (f && fgets(line, sizeof(line), f)) {
		path[0] = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %255[^\n]",
			   &a.start, &a.end, perms, &off, path) < 4)
			continue;
		if (addr < a.start || addr >= a.end)
			continue;
		if (perms[0] == 'r' && perms[1] == 'w' && perms[3] == 's')
			map_area(c, &a, off, path);
		c->area[c->nr++] = a;
		break;
	}
	if (f)
		fclose(f);
}

/* 1: all mapped; 0: some cannot be; -1: @missing is not known yet. */
static int look(const struct map_cache *c, uint32_t seq, const struct process_vec *v, unsigned nr,
		uint64_t *missing)
{
	*missing = v->remote;
	if (c->seq != seq)
		return -1;
	for (unsigned i = 0; i < nr; i++) {
		if (map_cache_at(c, v[i].remote, v[i].len))
			continue;
		*missing = v[i].remote;
		return find(c, v[i].remote) ? 0 : -1;
	}
	return 1;
}

bool map_cache_begin(struct map_cache *c, uint32_t seq, const struct process_vec *v, unsigned nr)
{
	uint64_t missing;
	int ret;

	for (int tries = 0; tries <= MAPS_MAX; tries++) {
		pthread_rwlock_rdlock(&c->lock);
		ret = look(c, seq, v, nr, &missing);
		if (ret > 0)
			return true;
		pthread_rwlock_unlock(&c->lock);
		if (!ret)
			return false;
		pthread_rwlock_wrlock(&c->lock);
		if (c->seq != seq)
			drop_all(c);
		c->seq = seq;
		if (!find(c, missing))
			learn(c, missing);
		ret = find(c, missing) ? 0 : -1;
		pthread_rwlock_unlock(&c->lock);
		if (ret)
			return false;
	}
	return false;
}

void map_cache_end(struct map_cache *c)
{
	pthread_rwlock_unlock(&c->lock);
}
