// SPDX-License-Identifier: Apache-2.0
/*
 * Objects in and out, on this node beside memcpy and over TCP beside a bare socket moving the same bytes; then the system calls
 * that the caller's thread makes for each.
 */
#include "bare.h"
#include "bench.h"
#include "unit/store_rig.h"

#include <sys/mman.h>
#include <sys/ptrace.h>

#include "base/copy.h"

#define POOL (512ull << 20)
#define LARGEST (16 * MIB)
#define WIDE (256 * MIB) /* no cache holds it */
#define NR_BATCH 64
#define COUNTED 64

static uint8_t *mine, *other, *wide;
static struct mc_store *here, *far;
static int bare_fd;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_store: %s failed: %s\n", what, mc_last_error());
	exit(1);
}

/* ---- what is measured ----------------------------------------------------------------------------------------------- */

struct job {
	struct mc_store **s;
	bool put;
	size_t len;
	unsigned nr;
};

static uint64_t next_key; /* with the process, for the counted ones are children */
static int self;

/* Every put is of a new object, so a full pool evicts, as in use. */
static void run_store(void *arg, uint64_t n)
{
	static struct mc_put p[NR_BATCH];
	static struct mc_get g[NR_BATCH];
	static struct mc_iov iov[NR_BATCH];
	static char key[NR_BATCH][32];
	const struct job *j = arg;

	for (unsigned i = 0; i < j->nr; i++)
		iov[i] = (struct mc_iov){ mine + i * j->len, j->len };
	while (n--) {
		for (unsigned i = 0; i < j->nr; i++) {
			if (j->put)
				snprintf(key[i], sizeof(key[i]), "new%d.%llu", self, (unsigned long long)next_key++);
			else
				snprintf(key[i], sizeof(key[i]), "old%zu.%u", j->len, i);
			p[i] = (struct mc_put){ .key = key_of(key[i]), .iov = &iov[i], .nr_iov = 1 };
			g[i] = (struct mc_get){ .key = key_of(key[i]), .iov = &iov[i], .nr_iov = 1 };
		}
		if (j->put)
			must(mc_store_put(*j->s, p, j->nr, NULL, SOON) == (int)j->nr, "put");
		else
			must(mc_store_get(*j->s, g, j->nr, SOON) == (int)j->nr, "get");
	}
}

static void run_memcpy(void *arg, uint64_t n)
{
	const struct job *j = arg;
	static size_t at;

	/* Gets read what was read before; puts write where nobody was for long. */
	while (n--) {
		for (unsigned i = 0; i < j->nr; i++) {
			at = at + 2 * j->len > WIDE ? 0 : at + j->len;
			memcpy(j->put ? wide + at : mine + i * j->len, (j->put ? mine : other) + i * j->len, j->len);
		}
		bench_use(j->put ? wide : mine);
	}
}

static void run_bare(void *arg, uint64_t n)
{
	const struct job *j = arg;

	while (n--)
		must(bare_move(bare_fd, mine, j->len * j->nr, j->put), "moving bare bytes");
}

/* The objects that gets read; again before each, for puts evict. */
static void store_old(size_t len, unsigned nr)
{
	char key[32];

	for (unsigned i = 0; i < nr; i++) {
		snprintf(key, sizeof(key), "old%zu.%u", len, i);
		must(!st_put(here, key, mine, len), "put");
	}
}

static void measure(const char *op, struct mc_store **s, size_t len, unsigned nr)
{
	struct job j = { s, !strcmp(op, "put"), len, nr };
	bool tcp = s == &far;
	char name[64];

	snprintf(name, sizeof(name), "store.%s.%s.%zuKiB%s", op, tcp ? "tcp" : "node", len / 1024, nr > 1 ? ".x64" : "");
	if (!bench_wanted(name))
		return;
	if (!j.put)
		store_old(len, nr);
	bench_case(name, len >= MIB || nr > 1 ? len * nr : 0, run_store, &j, tcp ? "socket" : "memcpy", tcp ? run_bare : run_memcpy, &j);
}

/* ---- system calls --------------------------------------------------------------------------------------------------- */

static void counted(const char *name)
{
	struct job j = { strstr(name, "tcp") ? &far : &here, strstr(name, "put"), 65536, strstr(name, "x64") ? NR_BATCH : 1 };
	unsigned calls = 0;
	int status, sig;
	pid_t pid;

	if (!bench_wanted(name))
		return;
	store_old(j.len, j.nr);
	fflush(stdout);
	pid = fork(); /* a store cannot be used in a child: it opens its own */
	if (!pid) {
		uint16_t port = master.port;

		self = getpid();
		*j.s = st_open(port, 0, j.s == &far ? "tcp" : NULL);
		must(*j.s, "opening");
		run_store(&j, 4 * COUNTED / j.nr);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		run_store(&j, COUNTED);
		raise(SIGUSR1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	for (sig = 0; WIFSTOPPED(status) && sig != SIGUSR1; sig = WIFSTOPPED(status) ? WSTOPSIG(status) : SIGUSR1) {
		calls += sig == (SIGTRAP | 0x80);
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		waitpid(pid, &status, 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	/* Two stops each; raise() itself makes a few, once. */
	bench_row(name, (double)(calls / 2 > 4 ? calls / 2 - 4 : 0) / COUNTED, "calls", NULL, 0);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 4096, 65536, 262144, MIB, LARGEST };
	static const char *const names[] = { "syscalls.get.node", "syscalls.put.node", "syscalls.get.tcp", "syscalls.put.tcp",
					     "syscalls.get.node.x64", "syscalls.put.node.x64", "syscalls.get.tcp.x64" };
	struct child owner;

	bench_init(argc, argv);
	mine = aligned_alloc(4096, LARGEST);
	other = aligned_alloc(4096, LARGEST);
	wide = mmap(NULL, WIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(wide != MAP_FAILED && !madvise(wide, WIDE, MADV_DONTFORK), "mapping"); /* or each write faults once more */
	fill(mine, LARGEST, 1);
	fill(other, LARGEST, 2);
	memset(wide, 3, WIDE);
	bare_fd = bare_open(mine); /* first: that process must not hold the pipe whose end tells the owner to end */
	must(bare_fd >= 0, "a bare socket");
	must(!rig_master(&master, NULL, NULL, NULL), "starting a master");
	must(!child_start(&owner, "provider", master.port, POOL), "starting an owner");
	here = st_open(master.port, 0, NULL);
	far = st_open(master.port, 0, "tcp");
	must(here && far, "opening");
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		for (unsigned i = 0; i < 5; i++) {
			measure("get", tcp ? &far : &here, sizes[i], 1);
			measure("put", tcp ? &far : &here, sizes[i], 1);
		}
		measure("get", tcp ? &far : &here, 65536, NR_BATCH);
		measure("put", tcp ? &far : &here, 65536, NR_BATCH);
	}
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		counted(names[i]);
	mc_store_close(far);
	mc_store_close(here);
	child_stop(&owner, 0);
	rig_stop(&master, SIGTERM);
	free(mine);
	free(other);
	return 0;
}
