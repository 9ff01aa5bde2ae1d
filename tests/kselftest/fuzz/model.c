// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker that knows. Beside every object lies what is true of it: length, state, who may write, one byte of every page.
 * From that follows what each call must answer, and what memory must hold afterwards. Deterministic for a seed.
 */

#include "model.h"

struct model w;

void wrong(const char *what, long got, long want)
{
	printf("# seed %llu op %u: %s: %ld, not %ld\n", (unsigned long long)w.seed, w.op, what, got, want);
	fflush(stdout);
	_exit(1);
}

void expect(const char *what, long got, long want)
{
	COUNT(calls);
	if (got != want)
		wrong(what, got, want);
	if (got >= 0)
		COUNT(done);
}

struct obj *some(enum kind kind)
{
	struct obj *o = &w.obj[below(&w.r, OBJS)];

	return o->kind != NONE && (kind == NONE || o->kind == kind) ? o : NULL;
}

struct obj *slot(void)
{
	unsigned int i;

	for (i = 0; i < OBJS; i++)
		if (w.obj[i].kind == NONE) {
			w.obj[i] = (struct obj){ .fd = -1, .dmabuf = -1, .lease = -1, .memfd = -1 };
			return &w.obj[i];
		}
	return NULL;
}

bool mapped(const struct obj *o)
{
	unsigned int i;

	for (i = 0; i < MAPS; i++)
		if (o->map[i].p)
			return true;
	return false;
}

void window(const struct obj *o, uint32_t *first, uint32_t *n)
{
	*first = below(&w.r, o->pages);
	*n = 1 + below(&w.r, o->pages - *first);
	if (chance(&w.r, 30)) {
		*first = 0;
		*n = o->pages;
	}
}

long copy(struct mc_copy_vec *v, uint64_t *bytes)
{
	struct mc_ioc_copy a = { .size = sizeof(a), .vec = UPTR(v), .nr = 1, .cq_fd = -1 };
	long ret = SYS(ioctl(w.ctx, MC_IOC_COPY, &a));

	*bytes = ret ? 0 : a.out_bytes;
	return ret;
}

void check_bytes(struct obj *o, uint32_t first, uint32_t n)
{
	struct mc_copy_vec v = { { .kind = MC_SGE_REGION, .fd = o->fd, .addr = first * PAGE, .length = n * PAGE },
				 { .kind = MC_SGE_USER, .fd = -1, .addr = UPTR(w.buf), .length = n * PAGE } };
	uint64_t bytes;
	uint32_t i;

	expect("copy out", copy(&v, &bytes), o->revoked ? -EKEYREVOKED : 0);
	if (o->revoked)
		return;
	expect("copied out", bytes, n * PAGE);
	for (i = 0; i < n; i++)
		if ((uint8_t)w.buf[i * PAGE] != o->bytes[first + i])
			wrong("byte copied out", (uint8_t)w.buf[i * PAGE], o->bytes[first + i]);
}

void unpublish(struct obj *o, bool force)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .flags = force ? MC_UNPUBLISH_FORCE : 0, .fd = -1,
		.name = UPTR(o->name), .name_len = strlen(o->name) };
	long want = o->lease >= 0 && !force ? -EBUSY : 0;

	expect("unpublish", SYS(ioctl(w.ctx, MC_IOC_REGION_UNPUBLISH, &a)), want);
	if (!want)
		o->name[0] = '\0';
}

void drop(struct obj *o)
{
	unsigned int i;

	if (o->kind == NONE)
		return;
	if (!o->revoked && o->kind == REGION)
		check_bytes(o, 0, o->pages);
	if (o->name[0])
		unpublish(o, true);
	for (i = 0; i < MAPS; i++)
		if (o->map[i].p)
			munmap(o->map[i].p, o->map[i].n * PAGE);
	close(o->fd);
	if (o->lease >= 0)
		close(o->lease);
	if (o->dmabuf >= 0)
		close(o->dmabuf);
	if (o->memfd >= 0)
		close(o->memfd);
	if (o->own)
		munmap(o->own, o->pages * PAGE);
	free(o->bytes);
	o->kind = NONE;
}

static const struct {
	unsigned int weight;
	void (*fn)(void);
} ops[] = {
	{ 8, op_create }, { 2, op_create_wrong }, { 3, op_pin }, { 3, op_import }, { 12, op_map }, { 1, op_map_wrong },
	{ 20, op_touch }, { 6, op_unmap }, { 4, op_remap }, { 4, op_advise }, { 2, op_file }, { 10, op_copy_in },
	{ 8, op_copy_out }, { 8, op_copy_between }, { 5, op_punch }, { 4, op_seal }, { 4, op_revoke }, { 5, op_publish },
	{ 3, op_unpublish }, { 6, op_open }, { 4, op_lease }, { 8, op_info }, { 6, op_export }, { 3, op_dmabuf },
	{ 4, op_dup }, { 4, op_fork }, { 3, op_drop },
};

int fuzz_model(uint64_t seed, unsigned int nr)
{
	unsigned int sum = 0, i, pick;

	w.seed = seed;
	w.r.s = seed | 1;
	w.ctx = open(DEV, O_RDWR | O_CLOEXEC);
	w.buf = malloc(PAGES_MAX * PAGE);
	if (w.ctx < 0 || !w.buf)
		return 98;
	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	for (w.op = 0; w.op < nr; w.op++) {
		pick = below(&w.r, sum);
		for (i = 0; pick >= ops[i].weight; i++)
			pick -= ops[i].weight;
		ops[i].fn();
	}
	for (i = 0; i < OBJS; i++)
		drop(&w.obj[i]);
	return 0;
}
