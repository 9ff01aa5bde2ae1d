// SPDX-License-Identifier: GPL-2.0-only
/* Calls of a worker that knows: objects come, change their state and say what it is. */

#include "model.h"

void op_create(void)
{
	static const uint32_t backings[] = { MC_BACKING_AUTO, MC_BACKING_SHMEM, MC_BACKING_SHMEM_HUGE };
	struct mc_ioc_region_create a = { .size = sizeof(a), .memfd = -1, .fd_flags = O_RDWR | O_CLOEXEC };
	struct obj *o = slot();

	if (!o)
		return;
	o->pages = 1 + below(&w.r, chance(&w.r, 50) ? 16 : PAGES_MAX);
	a.length = o->pages * PAGE;
	a.backing = backings[below(&w.r, 3)];
	a.node = (int)below(&w.r, 2) - 1;
	o->flags = a.flags = (chance(&w.r, 30) ? MC_REGION_POPULATE : 0) | (chance(&w.r, 70) ? MC_REGION_PERSIST_OK : 0) |
			     (chance(&w.r, 20) ? MC_REGION_ZERO_ON_FREE : 0);
	expect("create", SYS(ioctl(w.ctx, MC_IOC_REGION_CREATE, &a)), 0);
	o->kind = REGION;
	o->fd = a.out_fd;
	o->id = a.out_id;
	o->bytes = calloc(o->pages, 1);
}

void op_create_wrong(void)
{
	struct mc_ioc_region_create a = { .size = sizeof(a), .length = 16 * PAGE, .node = -1, .memfd = -1,
		.fd_flags = O_RDWR | O_CLOEXEC };
	long want = -EINVAL;

	switch (below(&w.r, 10)) {
	case 0: a.length = 0; break;
	case 1: a.length++; break;
	case 2: a.flags = 1u << (5 + below(&w.r, 27)); break;
	case 3: a.memfd = (int)below(&w.r, 8); break;
	case 4: a.node = 1000 + (int)below(&w.r, 1000); break;
	case 5: a.align = 3 + 2 * below(&w.r, 1000); break;
	case 6: a.fd_flags = O_WRONLY; break;
	case 7: a.size = below(&w.r, sizeof(a)); break;
	case 8: a.backing = MC_BACKING_POOL; want = -EOPNOTSUPP; break;
	case 9: a.flags = MC_REGION_PURGEABLE; want = -EOPNOTSUPP; break;
	}
	expect("wrong create", SYS(ioctl(w.ctx, MC_IOC_REGION_CREATE, &a)), want);
}

void op_pin(void)
{
	struct mc_ioc_region_pin a = { .size = sizeof(a), .fd_flags = O_RDWR | O_CLOEXEC };
	struct obj *o = slot();
	uint32_t i;

	if (!o)
		return;
	o->pages = 1 + below(&w.r, 32);
	o->own = mmap(NULL, o->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	o->bytes = calloc(o->pages, 1);
	for (i = 0; i < o->pages; i++)
		o->bytes[i] = o->own[i * PAGE] = (char)rnd_next(&w.r);
	a.addr = UPTR(o->own);
	a.length = o->pages * PAGE;
	expect("pin", SYS(ioctl(w.ctx, MC_IOC_REGION_PIN, &a)), 0);
	o->kind = PINNED;
	o->fd = a.out_fd;
	o->id = a.out_id;
}

void op_import(void)
{
	struct mc_ioc_region_import a = { .size = sizeof(a), .kind = MC_IMPORT_MEMFD, .cq_fd = -1,
		.fd_flags = O_RDWR | O_CLOEXEC };
	struct obj *o = slot();

	if (!o)
		return;
	o->pages = 1 + below(&w.r, 64);
	o->memfd = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	if (ftruncate(o->memfd, o->pages * PAGE))
		return;
	a.fd = o->memfd;
	a.length = o->pages * PAGE;
	expect("unsealed import", SYS(ioctl(w.ctx, MC_IOC_REGION_IMPORT, &a)), -EINVAL);
	fcntl(o->memfd, F_ADD_SEALS, F_SEAL_SHRINK);
	expect("import", SYS(ioctl(w.ctx, MC_IOC_REGION_IMPORT, &a)), 0);
	o->kind = MEMFD;
	o->fd = a.out_fd;
	o->id = a.out_id;
	o->bytes = calloc(o->pages, 1);
}

static long mark(int fd, uint32_t op, uint64_t offset, uint64_t length, uint64_t *gen)
{
	struct mc_ioc_region_mark a = { .size = sizeof(a), .fd = -1, .op = op, .offset = offset, .length = length };
	long ret = SYS(ioctl(fd, MC_IOC_REGION_MARK, &a));

	if (gen)
		*gen = a.out_gen;
	return ret;
}

void op_punch(void)
{
	struct obj *o = some(NONE);
	uint32_t first, n;
	uint64_t gen;
	long want = 0;

	if (!o)
		return;
	window(o, &first, &n);
	if (o->kind != REGION)
		want = -EOPNOTSUPP;
	else if (o->revoked)
		want = -EKEYREVOKED;
	else if (o->sealed)
		want = -EPERM;
	else if (o->dmabuf >= 0)
		want = -EBUSY;
	expect("punch", mark(o->fd, MC_MARK_PUNCH, first * PAGE, n * PAGE, &gen), want);
	if (want)
		return;
	memset(o->bytes + first, 0, n);
	expect("generation", gen, ++o->gen);
}

void op_seal(void)
{
	struct obj *o = some(NONE);
	long want = 0;

	if (!o || (!chance(&w.r, 20) && o->kind == REGION))
		return;
	if (o->kind != REGION)
		want = -EOPNOTSUPP;
	else if (o->revoked)
		want = -EKEYREVOKED;
	else if (!o->sealed && (mapped(o) || o->dmabuf >= 0))
		want = -EBUSY;
	expect("seal", mark(o->fd, MC_MARK_SEAL_WRITE, 0, 0, NULL), want);
	if (want || o->sealed)
		return;
	o->sealed = true;
	if (o->lease >= 0) {
		o->clean = true;
		o->dirty = false;
	}
}

void op_revoke(void)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };
	struct obj *o = some(NONE);

	if (!o || !chance(&w.r, 15))
		return;
	expect("revoke", SYS(ioctl(o->fd, MC_IOC_REGION_REVOKE, &a)), 0);
	o->revoked = true;
	if (o->kind == REGION)
		expect("pinned after revoke", a.out_pinned, 0);	/* no device has mapped the dma-buf */
}

void op_publish(void)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1, .mode = 0600, .uid = -1, .gid = -1 };
	struct obj *o = some(NONE);
	char name[32];
	long want = 0;

	if (!o)
		return;
	snprintf(name, sizeof(name), "model-%d-%u", getpid(), w.names++);
	a.name = UPTR(name);
	a.name_len = strlen(name);
	if (!(o->flags & MC_REGION_PERSIST_OK))
		want = -EPERM;
	else if (o->name[0])
		want = -EEXIST;
	else if (o->revoked)
		want = -EKEYREVOKED;
	expect("publish", SYS(ioctl(o->fd, MC_IOC_REGION_PUBLISH, &a)), want);
	if (!want)
		strcpy(o->name, name);
}

void op_unpublish(void)
{
	struct obj *o = some(REGION);

	if (o && o->name[0])
		unpublish(o, chance(&w.r, 30));
}

void op_open(void)
{
	static const uint32_t access[] = { MC_ACCESS_R, MC_ACCESS_R | MC_ACCESS_W,
					   MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER };
	struct mc_ioc_region_open a = { .size = sizeof(a), .fd_flags = O_CLOEXEC };
	struct obj *o = some(REGION);
	long want = 0;

	if (!o)
		return;
	a.access = access[below(&w.r, 3)];
	if (chance(&w.r, 50)) {
		a.name = UPTR(o->name[0] ? o->name : "never-published");
		a.name_len = strlen(o->name[0] ? o->name : "never-published");
	} else {
		a.id = o->id;
	}
	if (!o->name[0])
		want = -ENOENT;
	else if (o->revoked)
		want = -EKEYREVOKED;
	else if (o->sealed && a.access & MC_ACCESS_W)
		want = -EACCES;
	else if (a.access & MC_ACCESS_EXCL_WRITER && o->lease >= 0)
		want = -EBUSY;
	expect("open", SYS(ioctl(w.ctx, MC_IOC_REGION_OPEN, &a)), want);
	if (want)
		return;
	expect("epoch on open", a.out_epoch, o->epoch);
	expect("dirty on open", !!(a.out_state & MC_STATE_DIRTY), o->dirty);
	if (a.access & MC_ACCESS_EXCL_WRITER) {
		o->lease = a.out_fd;
		o->clean = false;
	} else {
		close(a.out_fd);
	}
}

static void lease_end(struct obj *o)
{
	close(o->lease);
	o->lease = -1;
	if (!o->clean) {
		o->dirty = true;
		o->epoch++;
	}
}

void op_lease(void)
{
	struct obj *o = some(REGION);
	bool clean = chance(&w.r, 60);

	if (!o || o->lease < 0)
		return;
	expect("clean or dirty", mark(o->lease, clean ? MC_MARK_CLEAN : MC_MARK_DIRTY, 0, 0, NULL),
	       o->revoked ? -EKEYREVOKED : 0);
	if (!o->revoked) {
		o->clean = clean;
		if (clean)
			o->dirty = false;
	}
	expect("clean without lease", mark(o->fd, MC_MARK_CLEAN, 0, 0, NULL), o->revoked ? -EKEYREVOKED : -EPERM);
	if (chance(&w.r, 50))
		lease_end(o);
}

void op_info(void)
{
	struct mc_ioc_region_info a = { .size = sizeof(a), .fd = -1 };
	struct obj *o = some(NONE);
	uint32_t state;

	if (!o)
		return;
	if (chance(&w.r, 50)) {
		expect("info", SYS(ioctl(o->fd, MC_IOC_REGION_INFO, &a)), 0);
	} else {
		a.id = o->id;
		expect("info by id", SYS(ioctl(w.ctx, MC_IOC_REGION_INFO, &a)), 0);
	}
	state = (o->sealed ? MC_STATE_SEALED : 0) | (o->revoked ? MC_STATE_REVOKED : 0) | (o->dirty ? MC_STATE_DIRTY : 0) |
		(o->name[0] ? MC_STATE_PUBLISHED : 0) | (o->lease >= 0 ? MC_STATE_WRITER : 0);
	expect("state", a.state, state);
	expect("id", a.id, o->id);
	expect("length", a.length, o->pages * PAGE);
	expect("exports", a.nr_attach, o->dmabuf >= 0);
	expect("epoch", a.epoch, o->epoch);
	expect("generation", a.gen, o->gen);
	expect("name", a.name_len, strlen(o->name));
	expect("files", a.nr_fds, 1 + (o->lease >= 0));
	if (!mapped(o))
		expect("mappings", a.nr_vmas, 0);
	if (o->kind == REGION && o->revoked && o->dmabuf < 0)
		expect("resident", a.resident, 0);
}

void op_export(void)
{
	struct mc_ioc_region_export a = { .size = sizeof(a), .fd = -1 };
	struct obj *o = some(NONE);
	bool rdonly = chance(&w.r, 40);
	uint32_t first, n;
	long want = 0;

	if (!o)
		return;
	if (o->dmabuf >= 0) {
		close(o->dmabuf);
		o->dmabuf = -1;
		return;
	}
	window(o, &first, &n);
	a.flags = rdonly ? MC_EXPORT_RDONLY : 0;
	a.fd_flags = (rdonly ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	a.offset = first * PAGE;
	a.length = n * PAGE;
	if (o->revoked)
		want = -EKEYREVOKED;
	else if (o->sealed && !rdonly)
		want = -EACCES;
	expect("export", SYS(ioctl(o->fd, MC_IOC_REGION_EXPORT, &a)), want);
	if (want)
		return;
	o->dmabuf = a.out_fd;
	o->dmabuf_pages = n;
}

void op_drop(void)
{
	struct obj *o = some(NONE);

	if (o)
		drop(o);
}
