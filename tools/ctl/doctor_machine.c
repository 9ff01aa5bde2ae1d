// SPDX-License-Identifier: Apache-2.0
/* What this machine lets programs do: kernel, memory, limits. */
#include "doctor.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dev/dev.h"

void first_line(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");

	out[0] = 0;
	if (!f)
		return;
	if (!fgets(out, (int)size, f))
		out[0] = 0;
	fclose(f);
	out[strcspn(out, "\n")] = 0;
}

/* 5.6: openat2, pidfd_open with every flag that is used, F_SEAL_FUTURE_WRITE. */
void check_kernel(struct doctor *d)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2) {
		found(d, LEVEL_WARNING, "kernel", NULL, "its version cannot be read");
		return;
	}
	if (major < 5 || (major == 5 && minor < 6))
		found(d, LEVEL_ERROR, "kernel", "run Linux 5.6 or newer", "%s is too old", u.release);
	else
		found(d, LEVEL_OK, "kernel", NULL, "%s %s", u.release, u.machine);
}

/* Pools are sealed memory files: made here once, for real. */
static int try_memfd(void)
{
	int fd = memfd_create("mooncakectl", MFD_CLOEXEC | MFD_ALLOW_SEALING), ret = 0;
	void *p;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, 4096) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		ret = -errno;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		ret = ret ? ret : -errno;
	else
		munmap(p, 4096);
	close(fd);
	return ret;
}

void check_memory(struct doctor *d)
{
	uint64_t free_bytes = mem_available_bytes();
	int ret = try_memfd();

	if (ret)
		found(d, LEVEL_ERROR, "memory", "allow memfd_create, ftruncate and F_ADD_SEALS in the container's system call filter",
		      "sealed memory files do not work: %s", strerror(-ret));
	else if (free_bytes < 256 * MiB)
		found(d, LEVEL_WARNING, "memory", "make room, or raise the control group's memory.max",
		      "%s available; a pool and its clients need more", human_bytes(free_bytes).text);
	else
		found(d, LEVEL_OK, "memory", NULL, "%s available, control groups counted; sealed memory files work",
		      human_bytes(free_bytes).text);
}

void check_huge_pages(struct doctor *d)
{
	uint64_t huge = huge_pages_free_bytes();
	struct module_status m;
	char shmem[128];

	module_status(NULL, &m);
	first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shmem, sizeof(shmem));
	if (!m.err && m.q.features[0] >> MC_FEAT_HUGE & 1)
		found(d, LEVEL_OK, "huge pages", NULL, "the module makes pools of them, none need be set aside");
	else if (huge)
		found(d, LEVEL_OK, "huge pages", NULL, "%s reserved and free", human_bytes(huge).text);
	else if (strstr(shmem, "[always]") || strstr(shmem, "[advise]") || strstr(shmem, "[within_size]") || strstr(shmem, "[force]"))
		found(d, LEVEL_OK, "huge pages", NULL, "none reserved; transparent ones for shared memory are on: %s", shmem);
	else
		found(d, LEVEL_NOTE, "huge pages",
		      "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled, or reserve some with vm.nr_hugepages",
		      "none for pools: large copies are slower and pools take longer to make");
}

void check_memlock(struct doctor *d)
{
	uint64_t limit = limit_memlock_bytes();

	if (limit >= 64 * MiB)
		found(d, LEVEL_OK, "memlock", NULL, "%s", limit == UINT64_MAX ? "no limit" : human_bytes(limit).text);
	else
		found(d, LEVEL_NOTE, "memlock",
		      "only for what pins, RDMA and copies through the module: LimitMEMLOCK=infinity, or ulimit -l unlimited",
		      "%s may be pinned; TCP and shared memory pin nothing", human_bytes(limit).text);
}

/* A node has a socket and a pidfd for each client. */
void check_files(struct doctor *d)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return;
	if (rl.rlim_max < 4096)
		found(d, LEVEL_WARNING, "open files", "LimitNOFILE=65536 in the unit, or ulimit -Hn 65536",
		      "at most %llu descriptors; a node needs two for each client", (unsigned long long)rl.rlim_max);
	else
		found(d, LEVEL_OK, "open files", NULL, "%llu, can be raised to %llu", (unsigned long long)rl.rlim_cur,
		      (unsigned long long)rl.rlim_max);
}

/* May a program read its sibling's memory? Asked of the kernel with two children, for rules come from several modules. */
static int sibling_readable(void)
{
	char here = 1, there = 0;
	struct iovec local = { &there, 1 }, remote = { &here, 1 };
	int p[2], status = 0;
	pid_t idle, reader;

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	idle = fork();
	if (!idle) {
		close(p[1]);
		_exit(read(p[0], &there, 1) != 0); /* until the parent closes its end */
	}
	reader = idle < 0 ? -1 : fork();
	if (!reader)
		_exit(process_vm_readv(idle, &local, 1, &remote, 1, 0) == 1 ? 0 : MIN(errno, 255));
	if (reader > 0)
		waitpid(reader, &status, 0);
	close(p[1]);
	close(p[0]);
	if (idle > 0)
		waitpid(idle, NULL, 0);
	if (reader < 0)
		return -EAGAIN;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

void check_copying(struct doctor *d)
{
	int ret = sibling_readable();
	char scope[16];

	first_line("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope));
	if (!ret)
		found(d, LEVEL_OK, "copying", NULL, "programs of one user may copy to and from each other's memory");
	else
		found(d, LEVEL_NOTE, "copying",
		      scope[0] && scope[0] != '0' ? "sysctl kernel.yama.ptrace_scope=0, or give the programs CAP_SYS_PTRACE" :
						    "allow process_vm_readv and process_vm_writev in the container",
		      "engine transfers between private memory of two programs here go through the module, where that can be used, or TCP "
		      "(%s%s%s); pools are not concerned",
		      strerror(-ret), scope[0] ? ", ptrace_scope " : "", scope);
}
