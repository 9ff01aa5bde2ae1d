// SPDX-License-Identifier: Apache-2.0
/*
 * Copies through /dev/mooncake between processes that the kernel keeps out of each other's memory: another user, a sandbox. Needs
 * the module, so a guest (tests/vm/test_lib).
 */
#include "mctest.h"
#include "peer.h"

#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "dev/dev.h"

#define MEMBER	 1002
#define STRANGER 65534

static uint64_t later(void)
{
	return deadline_after_ms(60000);
}

static void become(uid_t uid)
{
	struct stat st;

	/* Who may open the device, or nobody at all. */
	if (stat("/dev/mooncake", &st) || setgroups(uid == MEMBER, &st.st_gid) || setgid(uid) || setuid(uid))
		_exit(100);
}

static void forbid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { ARRAY_SIZE(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(101);
}

/* What a test does in a process of its own, with an engine and the peer open; 0, or where it failed. */
struct visit {
	struct peer_proc *p;
	struct mc_engine *eng;
	struct mc_segment *seg;
};
typedef int visit_fn(struct visit *v);

#define MUST(x)			   \
	do {			   \
		if (!(x))	   \
			return __LINE__ % 251 + 1; \
	} while (0)

/* @uid 0: a sandbox instead of another user. Return: what @fn returned, or 128 + signal. */
static int visit(struct peer_proc *p, uid_t uid, visit_fn *fn)
{
	struct visit v = { .p = p };
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (uid)
			become(uid);
		else
			forbid();
		v.eng = engine_new(NULL);
		if (!v.eng || mc_segment_open(v.eng, p->name, later(), &v.seg))
			_exit(102);
		status = fn(&v);
		mc_segment_close(v.seg);
		mc_engine_close(v.eng);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool goes_by(const struct visit *v, const char *transport)
{
	return !strcmp(mc_segment_transport(v->seg), transport);
}

static int moves(struct visit *v, enum mc_op op, void *mine, size_t off, size_t len)
{
	return move_one(v->eng, v->seg, op, mine, v->p->mem + off, len, NULL, later());
}

static int every_size(struct visit *v)
{
	static const size_t sizes[] = { 1, 7, 4095, 4096, 4097, 65536, MiB + 1, 4 * MiB, 16 * MiB + 3 };
	uint8_t *mine = malloc(17 * MiB);

	MUST(goes_by(v, "module"));
	MUST(move_one(v->eng, v->seg, MC_READ, mine, NULL, 1, NULL, later()) == -EFAULT);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t n = sizes[i], off = i * 1000;

		pattern(v->p->mem + off, n, i);
		mine[n] = 0xee;
		MUST(!moves(v, MC_READ, mine, off, n));
		MUST(!memcmp(mine, v->p->mem + off, n));
		MUST(mine[n] == 0xee);
		pattern(mine, n, i + 100);
		v->p->mem[off + n] = 0x77;
		MUST(!moves(v, MC_WRITE, mine, off, n));
		MUST(!memcmp(mine, v->p->mem + off, n));
		MUST(v->p->mem[off + n] == 0x77);
	}
	MUST(goes_by(v, "module"));
	MUST(moves(v, MC_READ, mine, v->p->len, 1) == -EFAULT);
	free(mine);
	return 0;
}

/* Leaves the device closed here: each process opens it as who it is. */
static bool possible(void)
{
	struct module_status st;

	module_status(NULL, &st);
	return !geteuid() && !st.err;
}

#define NEED()                                                                    \
	do {                                                                      \
		if (!possible())                                                  \
			SKIP("needs /dev/mooncake, and root to become others"); \
	} while (0)

static void with_peer(size_t len, void (*before)(void), uid_t uid, visit_fn *fn)
{
	struct peer_proc p = { .len = len, .before = before };

	ASSERT_EQ(peer_start(&p), 0);
	EXPECT_EQ(visit(&p, uid, fn), 0);
	peer_stop(&p, SIGKILL);
	peer_free(&p);
}

TEST(another_user)
{
	NEED();
	with_peer(32 * MiB, NULL, MEMBER, every_size);
}

TEST(a_sandbox)
{
	NEED();
	with_peer(32 * MiB, NULL, 0, every_size);
}

/* More than is pinned at a time, and pieces that lie across. */
static int far_apart(struct visit *v)
{
	const size_t seam = 64 * MiB;
	char got[300] = "";
	struct mc_vec vec[64];
	struct mc_request r = { .op = MC_READ, .segment = v->seg, .vec = vec, .nr_vec = ARRAY_SIZE(vec) };

	memset(v->p->mem + seam - 150, 'x', 300);
	MUST(!moves(v, MC_READ, got, seam - 150, 300));
	MUST(!memcmp(got, v->p->mem + seam - 150, 300));
	memset(got, 'y', 300);
	MUST(!moves(v, MC_WRITE, got, seam - 150, 300));
	MUST(v->p->mem[seam - 150] == 'y' && v->p->mem[seam + 149] == 'y' && !v->p->mem[seam + 150]);
	for (size_t i = 0; i < ARRAY_SIZE(vec); i++) {
		v->p->mem[i * 2 * MiB] = (uint8_t)(i + 1);
		vec[i] = (struct mc_vec){ got + i, (uintptr_t)v->p->mem + i * 2 * MiB, 1 };
	}
	MUST(!mc_transfer(v->eng, &r, 1, later()));
	for (size_t i = 0; i < ARRAY_SIZE(vec); i++)
		MUST(got[i] == (char)(i + 1));
	MUST(goes_by(v, "module"));
	return 0;
}

TEST(across_what_is_pinned_at_a_time)
{
	NEED();
	with_peer(128 * MiB, NULL, MEMBER, far_apart);
}

/* What was borrowed ends with the registration, and other memory at the same place is other memory. */
static int unregistered(struct visit *v)
{
	char got[100];

	MUST(!moves(v, MC_READ, got, 0, 100));
	MUST(peer_tell(v->p, 'u') == 'k');
	MUST(moves(v, MC_READ, got, 0, 100) == -EFAULT);
	MUST(moves(v, MC_WRITE, got, 0, 100) == -EFAULT);
	MUST(peer_tell(v->p, 'r') == 'k');
	MUST(!moves(v, MC_WRITE, got, 0, 100));
	memset(v->p->mem, 'a', 100);
	MUST(peer_tell(v->p, 'm') == 'k');
	MUST(!moves(v, MC_READ, got, 0, 100));
	MUST(got[0] == 'z' && got[99] == 'z');
	memset(got, 'b', 100);
	MUST(!moves(v, MC_WRITE, got, 0, 100));
	MUST(v->p->mem[0] == 'a');
	MUST(goes_by(v, "module"));
	return 0;
}

TEST(memory_that_is_unregistered)
{
	NEED();
	with_peer(MiB, NULL, MEMBER, unregistered);
}

static uint64_t regions(void)
{
	FILE *f = fopen("/sys/class/misc/mooncake/regions", "r");
	uint64_t n = UINT64_MAX;

	if (f && fscanf(f, "%" SCNu64, &n) != 1)
		n = UINT64_MAX;
	if (f)
		fclose(f);
	return n;
}

/* Its pages are still held here; a transfer ends all the same, and then they are not. */
static int dies(struct visit *v)
{
	const uint64_t before = regions();
	char got[100];

	MUST(!moves(v, MC_READ, got, 0, 100));
	MUST(goes_by(v, "module"));
	MUST(regions() == before + 1);
	MUST(peer_tell(v->p, 'q') == 0);
	MUST(moves(v, MC_READ, got, 0, 100) < 0);
	MUST(regions() == before);
	MUST(moves(v, MC_WRITE, got, 0, 100) < 0);
	return 0;
}

TEST(a_peer_that_ends)
{
	NEED();
	with_peer(MiB, NULL, MEMBER, dies);
}

/* The last page is not the range's alone, so nobody gets it: everything goes by tcp then. */
static int odd_end(struct visit *v)
{
	char *got = calloc(1, v->p->len);

	pattern(v->p->mem, v->p->len, 3);
	MUST(!moves(v, MC_READ, got, 0, 4096));
	MUST(goes_by(v, "module"));
	MUST(!moves(v, MC_READ, got, 0, v->p->len));
	MUST(!memcmp(got, v->p->mem, v->p->len));
	MUST(goes_by(v, "tcp"));
	MUST(move_one(v->eng, v->seg, MC_READ, got, v->p->mem + v->p->len - 1, 1, "module", later()) == -EOPNOTSUPP);
	free(got);
	return 0;
}

TEST(a_range_that_ends_within_a_page)
{
	NEED();
	with_peer(3 * 4096 + 100, NULL, MEMBER, odd_end);
}

static void nothing_may_be_locked(void)
{
	struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_MEMLOCK, &none))
		_exit(103);
	become(MEMBER);
}

static int by_tcp(struct visit *v)
{
	uint8_t got[4096];

	pattern(v->p->mem, sizeof(got), 3);
	MUST(!moves(v, MC_READ, got, 0, sizeof(got)));
	MUST(!memcmp(got, v->p->mem, sizeof(got)));
	MUST(goes_by(v, "tcp"));
	return 0;
}

TEST(a_peer_that_may_pin_nothing)
{
	NEED();
	with_peer(MiB, nothing_may_be_locked, 0, by_tcp);
}

TEST(a_stranger)
{
	NEED();
	with_peer(MiB, NULL, STRANGER, by_tcp);
}
