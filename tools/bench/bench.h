/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_engine_bench: how fast the engine moves blocks between two processes, beside what the machine can do at best.
 *
 *	main.c		flags, then one of the two roles
 *	memory.c	what is transferred: one buffer for each NUMA node
 *	target.c	registers buffers and waits; serves the bare streams of the limit
 *	initiator.c	rounds of transfers and rounds of the limit in turn
 *	limit.c		the initiator's side of the limit: bare streams, or memcpy
 *	report.c	figures for people and for programs
 *	hist.c		latencies, and the part of them below a value
 */
#ifndef TE_BENCH_H
#define TE_BENCH_H

#include <mooncake/engine.h>

#include "base/base.h"
#include "program.h"

struct options {
	struct program_flags flags;
	char *local_server_name, *metadata_server, *mode, *operation, *protocol, *device_name, *nic_priority_matrix, *segment_id;
	char *report_unit, *backend;
	uint64_t buffer_size, block_size;
	int64_t batch_size, threads, report_precision, gpu_id;
	double duration;
	bool auto_discovery, use_vram, init_mem;
	bool limit, json, progress;
};

/* ---- hist.c ------------------------------------------------------------------------------------------------------ */

#define HIST_STEPS 64 /* of a doubling: values are kept to 1.6 % */
struct hist {
	uint64_t nr, sum, max;
	uint64_t count[64 * HIST_STEPS];
};
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *h, const struct hist *more);
uint64_t hist_at(const struct hist *h, double part); /* the value that @part of all are not above */

/* ---- memory.c ---------------------------------------------------------------------------------------------------- */

#define BUFFERS_MAX 64
struct memory {
	uint8_t *buffer[BUFFERS_MAX];
	int node[BUFFERS_MAX];
	int nr;
	uint64_t len;  /* of each */
	uint64_t used; /* of that, from its start */
};
/* Raises buffer_size where the blocks need more. -ENOMEM and what mc_region_add() says, after a message. */
int memory_open(struct memory *m, struct mc_engine *eng, struct options *o);
void memory_close(struct memory *m);
uint64_t block_at(const struct options *o, unsigned thread, unsigned i); /* where request @i of a thread's batch lies in a buffer */

/* ---- target.c ---------------------------------------------------------------------------------------------------- */

/* The target's last registered range: where its bare streams are. Little endian; read by the initiator through the engine. */
#define CARD_MAGIC 0x68636e6562657431ull
#define CARD_BYTES 4096
struct card {
	uint64_t magic;
	uint64_t port;	   /* TCP, at the host the engine listens on; 0: none */
	char address[240]; /* host:port; "" when the host is the one of the segment's name */
};

/* What a bare stream carries towards the target, one after the other. Machines of one byte order. */
enum bare_op {
	BARE_READ,  /* the target answers with @len bytes */
	BARE_WRITE, /* @len bytes follow; it answers with 8 */
	BARE_CPU,   /* it answers with the nanoseconds of processor time it has used */
};
struct bare_ask {
	uint64_t op, offset, len; /* @offset, @len: of the target's first buffer */
};

bool send_all(int fd, const void *p, size_t len);
bool recv_all(int fd, void *p, size_t len);
uint64_t cpu_now_ns(void); /* used by this process so far */

int run_target(struct options *o);

/* ---- limit.c ----------------------------------------------------------------------------------------------------- */

#define STREAMS_MAX 64
struct limit {
	const char *kind; /* "socket", "memcpy"; NULL: there is none */
	struct memory *mem;
	const struct options *opt;
	uint8_t *shadow; /* what memcpy reads or writes */
	char address[256];
	int talk; /* a stream for small questions */
	int stream[STREAMS_MAX];
	unsigned streams; /* or threads */
	struct hist trip; /* of one block, one at a time */
};
struct part { /* of a run */
	double seconds, cpu_s, peer_cpu_s;
	uint64_t bytes, batches;
};
/* Looks for the engine's streams to count them, so after some transfers. Says why there is no limit. */
void limit_open(struct limit *l, const struct options *o, struct memory *m, struct mc_segment *seg, struct mc_engine *eng,
		const char *transport);
void limit_close(struct limit *l);
int limit_round(struct limit *l, double seconds, struct part *out); /* adds to @out */
uint64_t limit_peer_cpu_ns(struct limit *l);			     /* 0: not known */

/* ---- initiator.c, report.c --------------------------------------------------------------------------------------- */

#define ROUNDS_MAX 512
struct result {
	const char *transport;
	struct part engine, limit;
	struct hist *latency;	  /* of batches */
	double ratio[ROUNDS_MAX]; /* engine to limit in each round */
	unsigned nr_rounds;
};
int run_initiator(struct options *o);
void report_progress(const struct options *o, double elapsed, const struct part *round);
void report(const struct options *o, const struct result *r, const struct limit *l);
bool unit_known(const char *name);

#endif
