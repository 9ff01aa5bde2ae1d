// SPDX-License-Identifier: Apache-2.0
/* Other processes on this node: whether they still are who they were, their descriptors, their memory. */
#include "dev/dev.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/hash.h"
#include "dev/text.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Elements of one process_vm_readv(2) on each side: bounds the stack this takes. */
#define VM_BATCH 256
_Static_assert(VM_BATCH <= IOV_MAX, "the kernel takes at most IOV_MAX elements");

/* State and field 22 (start time, in clock ticks since boot) of /proc/<pid>/stat. */
static int read_stat(pid_t pid, char *state, uint64_t *start_time)
{
	char path[32], text[1024], *p;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ret = file_text(path, text, sizeof(text));
	if (ret < 0)
		return ret == -ENOENT ? -ESRCH : ret;
	/* Field 2 is the program's name in parentheses and may hold anything, parentheses too. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c", state) != 1)
		return -EIO;
	p += 2;
	for (int field = 3; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	*start_time = strtoull(p, NULL, 10);
	return 0;
}

static char boot_id[64];
static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;

static void boot_id_read(void)
{
	file_text("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
}

/*
 * The namespace's inode names it on this machine, but every machine's first one has the same number.
 * With the boot's random id it is unique, so no pid of a cloned machine is ever taken for one of ours.
 */
static int read_pid_ns(uint64_t *out)
{
	static const struct hash_key key = { { 0x6d6f6f6e63616b65, 0x7069642d6e616d65 } };
	struct {
		char boot[sizeof(boot_id)];
		uint64_t ino;
	} id;
	struct stat st;

	if (stat("/proc/self/ns/pid", &st))
		return -errno;
	pthread_once(&boot_id_once, boot_id_read);
	memcpy(id.boot, boot_id, sizeof(boot_id));
	id.ino = st.st_ino;
	*out = siphash64(&key, &id, sizeof(id));
	return 0;
}

int process_identify(pid_t pid, struct process_id *out)
{
	struct process_id id = { .pid = pid };
	char state;
	int ret;

	ret = read_stat(id.pid, &state, &id.start_time);
	if (!ret)
		ret = read_pid_ns(&id.pid_ns);
	if (!ret)
		*out = id;
	return ret;
}

int process_self(struct process_id *out)
{
	return process_identify(getpid(), out);
}

bool process_alive(const struct process_id *p)
{
	uint64_t start, ns;
	char state;

	if (p->pid <= 0 || read_pid_ns(&ns) || ns != p->pid_ns || read_stat(p->pid, &state, &start))
		return false;
	/* A zombie has a pid and nothing else: no memory, no descriptors. */
	return start == p->start_time && state != 'Z' && state != 'X';
}

int process_open_fd(const struct process_id *p, int fd, bool writable, int *out)
{
	char path[48];
	int copy;

	if (!process_alive(p))
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)p->pid, fd);
	copy = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (copy < 0)
		return errno == ENOENT ? -EBADF : errno == EACCES ? -EPERM : -errno;
	/* The pid may have changed hands in between. */
	if (!process_alive(p)) {
		close(copy);
		return -ESRCH;
	}
	*out = copy;
	return 0;
}

int process_pidfd(pid_t pid, int *fd)
{
	long ret = syscall(SYS_pidfd_open, pid, 0);

	if (ret < 0)
		return -errno;
	*fd = (int)ret;
	return 0;
}

typedef ssize_t vm_fn(pid_t pid, const struct iovec *local, unsigned long nr_local,
		      const struct iovec *remote, unsigned long nr_remote, unsigned long flags);

/*
 * The kernel may stop early: at 2 GiB, at a signal, at the first page that is not there. Go on from
 * where it stopped; when it stopped for good, the next call moves nothing and says why.
 */
static int vm_copy(vm_fn *fn, pid_t pid, const struct process_vec *v, size_t nr)
{
	struct iovec local[VM_BATCH], remote[VM_BATCH];
	uint64_t done = 0; /* of v[at] */
	size_t at = 0;

	for (;;) {
		unsigned n = 0;
		ssize_t moved;

		while (at < nr && done == v[at].len) {
			at++;
			done = 0;
		}
		for (size_t i = at; i < nr && n < VM_BATCH; i++) {
			uint64_t skip = i == at ? done : 0, len = v[i].len - skip;

			if (!len)
				continue;
			local[n] = (struct iovec){ (uint8_t *)v[i].local + skip, len };
			remote[n++] =
				(struct iovec){ (void *)(uintptr_t)(v[i].remote + skip), len };
		}
		if (!n)
			return 0;
		moved = fn(pid, local, n, remote, n, 0);
		if (moved < 0)
			return -errno;
		if (!moved)
			return -EFAULT;
		for (uint64_t left = (uint64_t)moved; left;) {
			uint64_t step = MIN(left, v[at].len - done);

			left -= step;
			done += step;
			if (done == v[at].len) {
				at++;
				done = 0;
			}
		}
	}
}

int process_read(pid_t pid, const struct process_vec *v, size_t nr)
{
	return vm_copy(process_vm_readv, pid, v, nr);
}

int process_write(pid_t pid, const struct process_vec *v, size_t nr)
{
	return vm_copy(process_vm_writev, pid, v, nr);
}
