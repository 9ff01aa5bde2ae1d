// SPDX-License-Identifier: GPL-2.0-only
/* Memory as a worker that knows uses it: mapped, touched, moved, copied, inherited. */

#include "model.h"

static struct map *some_map(struct obj *o)
{
	struct map *m = &o->map[below(&w.r, MAPS)];

	return m->p ? m : NULL;
}

void op_map(void)
{
	struct obj *o = some(NONE);
	bool write = chance(&w.r, 60);
	struct map *m;
	uint32_t first, n;
	long want = 0;
	char *p;

	if (!o)
		return;
	m = &o->map[below(&w.r, MAPS)];
	if (m->p)
		return;
	window(o, &first, &n);
	if (o->kind == PINNED)
		want = -ENODEV;
	else if (o->revoked)
		want = -EKEYREVOKED;
	else if (o->sealed && write)
		want = -EACCES;
	p = mmap(NULL, n * PAGE, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, o->fd, first * PAGE);
	expect("mmap", p == MAP_FAILED ? -errno : 0, want);
	if (p != MAP_FAILED)
		*m = (struct map){ p, first, n, write };
}

void op_map_wrong(void)
{
	struct obj *o = some(REGION);
	const size_t length = o ? o->pages * PAGE : 0;
	void *p;

	if (!o)
		return;
	p = mmap(NULL, length + PAGE, PROT_READ, MAP_SHARED, o->fd, 0);
	expect("mmap too long", p == MAP_FAILED ? -errno : 0, -EINVAL);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, o->fd, length);
	expect("mmap behind the end", p == MAP_FAILED ? -errno : 0, -EINVAL);
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, o->fd, 0);
	expect("mmap private", p == MAP_FAILED ? -errno : 0, -EINVAL);
	/* EPERM where the kernel refuses it to every anonymous file. */
	p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, o->fd, 0);
	expect("mmap to execute", p == MAP_FAILED && (errno == EACCES || errno == EPERM), 1);
}

void op_touch(void)
{
	struct obj *o = some(NONE);
	struct map *m = o ? some_map(o) : NULL;
	bool write = chance(&w.r, 50);
	int want = 0;
	uint32_t i;
	uint8_t v;

	if (!m)
		return;
	i = below(&w.r, m->n);
	v = (uint8_t)rnd_next(&w.r);
	if (write && !m->write)
		want = SIGSEGV;
	else if (o->revoked)
		want = SIGBUS;
	expect(write ? "store" : "load", touch(m->p + i * PAGE, write, (char)v), want);
	if (want)
		return;
	if (write)
		o->bytes[m->first + i] = v;
	expect("what is there", (uint8_t)m->p[i * PAGE], o->bytes[m->first + i]);
}

void op_unmap(void)
{
	struct obj *o = some(NONE);
	struct map *m = o ? some_map(o) : NULL;
	uint32_t n;

	if (!m)
		return;
	n = 1 + below(&w.r, m->n);
	if (n == m->n || chance(&w.r, 50)) {
		expect("munmap", SYS(munmap(m->p, m->n * PAGE)), 0);
		m->p = NULL;
	} else if (chance(&w.r, 50)) {
		expect("munmap of the head", SYS(munmap(m->p, n * PAGE)), 0);
		m->p += n * PAGE;
		m->first += n;
		m->n -= n;
	} else {
		expect("munmap of the tail", SYS(munmap(m->p + (m->n - n) * PAGE, n * PAGE)), 0);
		m->n -= n;
	}
}

void op_remap(void)
{
	struct obj *o = some(NONE);
	struct map *m = o ? some_map(o) : NULL;
	char *p, *to;

	if (!m)
		return;
	if (chance(&w.r, 30)) {
		p = mremap(m->p, m->n * PAGE, (m->n + 1) * PAGE, MREMAP_MAYMOVE);
		expect("mremap to more", p == MAP_FAILED ? -errno : 0, -EFAULT);
		return;
	}
	to = mmap(NULL, m->n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p = mremap(m->p, m->n * PAGE, m->n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	/* Advice may have cut the mapping in two, and two cannot move at once before 6.17. */
	if (p == MAP_FAILED && errno == EFAULT)
		return;
	expect("mremap", p == MAP_FAILED ? -errno : 0, 0);
	m->p = p;
}

void op_advise(void)
{
	static const int advice[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_REMOVE,
				      MADV_HUGEPAGE, MADV_NOHUGEPAGE, 20, 21, 22, 23, 25, MADV_FREE, MADV_MERGEABLE };
	struct obj *o = some(NONE);
	struct map *m = o ? some_map(o) : NULL;
	uint32_t i;
	long ret;
	int a;

	if (!m)
		return;
	a = advice[below(&w.r, ARRAY_SIZE(advice))];
	i = below(&w.r, m->n);
	ret = SYS(madvise(m->p + i * PAGE, (m->n - i) * PAGE, a));
	if (a == MADV_REMOVE && !ret)
		wrong("a hole", ret, -EOPNOTSUPP);
	if (chance(&w.r, 20) && !m->write)
		expect("mprotect to write", SYS(mprotect(m->p, m->n * PAGE, PROT_READ | PROT_WRITE)),
		       o->sealed ? -EACCES : 0) ;
	if (!m->write && !o->sealed && mprotect(m->p, m->n * PAGE, PROT_READ))
		wrong("mprotect back", -errno, 0);
}

/* A region is not a file of bytes. */
void op_file(void)
{
	struct obj *o = some(NONE);
	char c;

	if (!o)
		return;
	expect("ftruncate", SYS(ftruncate(o->fd, 0)), -EINVAL);
	expect("read", SYS(read(o->fd, &c, 1)), -EINVAL);
	expect("write", SYS(write(o->fd, &c, 1)), -EINVAL);
	if (!fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
		wrong("fallocate", 0, -ENODEV);
	expect("add seals", SYS(fcntl(o->fd, F_ADD_SEALS, F_SEAL_WRITE)), -EINVAL);
}

void op_copy_in(void)
{
	struct obj *o = some(NONE);
	struct mc_copy_vec v = { { .kind = MC_SGE_USER, .fd = -1 }, { .kind = MC_SGE_REGION } };
	uint64_t off, len, bytes, i;
	uint8_t value = (uint8_t)rnd_next(&w.r);
	long want = 0;

	if (!o)
		return;
	off = below(&w.r, o->pages * PAGE);
	len = 1 + below(&w.r, o->pages * PAGE - off);
	if (len > 8 * PAGE)
		len = 1 + len % (8 * PAGE);
	memset(w.buf, value, len);
	v.src.addr = UPTR(w.buf);
	v.dst.fd = o->fd;
	v.dst.addr = off;
	v.src.length = v.dst.length = len;
	if (o->revoked)
		want = -EKEYREVOKED;
	else if (o->sealed)
		want = -EACCES;
	expect("copy in", copy(&v, &bytes), want);
	if (want)
		return;
	expect("copied in", bytes, len);
	for (i = (off + PAGE - 1) / PAGE; i * PAGE < off + len; i++)
		o->bytes[i] = value;
}

void op_copy_out(void)
{
	struct obj *o = some(NONE);
	uint32_t first, n;

	if (!o)
		return;
	window(o, &first, &n);
	check_bytes(o, first, n);
}

void op_copy_between(void)
{
	struct obj *s = some(NONE), *d = some(NONE);
	struct mc_copy_vec v = { { .kind = MC_SGE_REGION }, { .kind = MC_SGE_REGION } };
	uint32_t sf, df, n, m;
	uint64_t bytes;
	long want = 0;

	if (!s || !d)
		return;
	window(s, &sf, &n);
	window(d, &df, &m);
	if (n > m)
		n = m;
	v.src.fd = s->fd;
	v.src.addr = sf * PAGE;
	v.dst.fd = d->fd;
	v.dst.addr = df * PAGE;
	v.src.length = v.dst.length = n * PAGE;
	if (s->revoked || d->revoked)
		want = -EKEYREVOKED;
	else if (d->sealed)
		want = -EACCES;
	else if (s == d && (sf > df ? sf - df : df - sf) < n)
		want = -EINVAL;
	expect("copy between", copy(&v, &bytes), want);
	if (!want)
		memmove(d->bytes + df, s->bytes + sf, n);
}

void op_dmabuf(void)
{
	struct obj *o = some(NONE);
	long want = 0;
	char *p;

	if (!o || o->dmabuf < 0)
		return;
	if (o->kind == PINNED)
		want = -ENODEV;
	else if (o->revoked)
		want = -EKEYREVOKED;
	p = mmap(NULL, o->dmabuf_pages * PAGE, PROT_READ, MAP_SHARED, o->dmabuf, 0);
	expect("mmap of an export", p == MAP_FAILED ? -errno : 0, want);
	if (want)
		return;
	expect("load from an export", touch(p, false, 0), 0);
	munmap(p, o->dmabuf_pages * PAGE);
}

void op_dup(void)
{
	struct obj *o = some(NONE);
	int s[2], fd;

	if (!o)
		return;
	if (chance(&w.r, 50)) {
		fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
	} else {
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
			return;
		fd_send(s[1], o->fd);
		fd = fd_receive(s[0]);
		close(s[0]);
		close(s[1]);
	}
	if (fd < 0)
		wrong("another descriptor", fd, 3);
	close(o->fd);
	o->fd = fd;
}

/* The child looks at what it inherited and goes, in one way or another. */
void op_fork(void)
{
	bool killed = chance(&w.r, 40);
	unsigned int i, j;
	int status;
	pid_t pid;

	if (!chance(&w.r, 30))
		return;
	pid = fork();
	if (!pid) {
		for (i = 0; i < OBJS; i++)
			for (j = 0; j < MAPS; j++)
				if (w.obj[i].kind != NONE && w.obj[i].map[j].p)
					expect("load in a child", touch(w.obj[i].map[j].p, false, 0),
					       w.obj[i].revoked ? SIGBUS : 0);
		if (killed)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	expect("child", status, killed ? SIGKILL : 0);
}
