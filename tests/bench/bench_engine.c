// SPDX-License-Identifier: Apache-2.0
/*
 * Engine and transports between two processes, each beside the bare system calls moving the same
 * bytes.
 */
#include "bare.h"
#include "bench.h"
#include "unit/peer.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include "net/net.h"

#define LEN	 (64 * MiB)
#define NR_BATCH 512

static struct peer_proc peer = { .len = LEN };
static struct mc_engine *eng;
static struct mc_segment *seg;
static uint8_t *mine;
/* A connection to a process that answers asks with bytes, and bytes with an answer. */
static int bare_fd;

static void must(bool ok)
{
	if (!ok) {
		fprintf(stderr, "bench_engine: setting up or moving failed: %s\n", mc_last_error());
		exit(1);
	}
}

/* ---- what is measured ------------------------------------------------------------------------ */

struct job {
	enum mc_op op;
	const char *transport;
	uint64_t len;
	unsigned nr;
};

static void run_engine(void *arg, uint64_t n)
{
	static struct mc_vec v[NR_BATCH];
	static struct mc_request r[NR_BATCH];
	const struct job *j = arg;

	for (unsigned i = 0; i < j->nr; i++) {
		uint64_t at = j->nr > 1 ? 2 * i * j->len : 0;

		v[i] = (struct mc_vec){ mine + at, (uintptr_t)peer.mem + at, j->len };
		r[i] = (struct mc_request){ j->op, seg, &v[i], 1, j->transport };
	}
	while (n--)
		must(!mc_transfer(eng, r, j->nr, deadline_after_ms(30000)));
}

static void run_vm(void *arg, uint64_t n)
{
	static struct iovec here[NR_BATCH], there[NR_BATCH];
	const struct job *j = arg;
	ssize_t want = (ssize_t)(j->len * j->nr), got;

	for (unsigned i = 0; i < j->nr; i++) {
		uint64_t at = j->nr > 1 ? 2 * i * j->len : 0;

		here[i] = (struct iovec){ mine + at, j->len };
		there[i] = (struct iovec){ peer.mem + at, j->len };
	}
	while (n--) {
		got = j->op == MC_READ ? process_vm_readv(peer.pid, here, j->nr, there, j->nr, 0) :
					 process_vm_writev(peer.pid, here, j->nr, there, j->nr, 0);
		must(got == want);
	}
}

static void run_bare(void *arg, uint64_t n)
{
	const struct job *j = arg;

	while (n--)
		must(bare_move(bare_fd, mine, j->len * j->nr, j->op == MC_WRITE));
}

static void compare(const char *transport, enum mc_op op, uint64_t len, unsigned nr)
{
	struct job j = { op, transport, len, nr };
	bool local = !strcmp(transport, "local");
	char name[64], size[32];

	snprintf(size, sizeof(size), "%llu%c",
		 (unsigned long long)(len >= MiB ? len / MiB : len / KiB), len >= MiB ? 'M' : 'K');
	snprintf(name, sizeof(name), "engine_%s_%s_%s%s", transport,
		 op == MC_READ ? "read" : "write", size, nr > 1 ? "_x512" : "");
	/* Small ones are about the round trip, not about the bytes. */
	bench_case(name, len * nr >= MiB ? len * nr : 0, run_engine, &j,
		   local ? "process_vm" : "socket", local ? run_vm : run_bare, &j);
}

static void cases(const char *transport)
{
	static const uint64_t sizes[] = { 4 * KiB, 64 * KiB, 1 * MiB, 16 * MiB, LEN };

	for (int op = MC_READ; op <= MC_WRITE; op++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			compare(transport, (enum mc_op)op, sizes[i], 1);
		compare(transport, (enum mc_op)op, 4 * KiB, NR_BATCH);
	}
}

int main(int argc, char **argv)
{
	struct mc_engine_opts o = { .size = sizeof(o) };

	bench_init(argc, argv);
	must(!peer_start(&peer));
	bare_fd = bare_open(peer.mem);
	must(bare_fd >= 0);
	mine = malloc(LEN);
	memset(mine, 1, LEN);
	memset(peer.mem, 2, LEN);
	must(!mc_engine_open(&o, &eng) &&
	     !mc_segment_open(eng, peer.name, deadline_after_ms(10000), &seg));
	cases("local");
	cases("tcp");
	mc_segment_close(seg);
	mc_engine_close(eng);
	free(mine);
	return peer_stop(&peer, 0);
}
