// SPDX-License-Identifier: Apache-2.0
/* The initiator: threads that submit a batch, wait for it and start again; a round of that, then one of the limit, and so on. */
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "bench.h"

#define OPEN_NS	   (10 * NSEC_PER_SEC)
#define BATCH_NS   (30 * NSEC_PER_SEC)
#define ROUND_S	   0.2
#define LIMIT_PART 2 /* a round of the limit takes this part of a round of transfers */
#define PROGRESS_S 1.0
#define WARM_S	   0.05

struct worker {
	struct mc_batch *batch;
	struct mc_request *req;
	struct mc_vec *vec;
	unsigned nr; /* requests */
	uint64_t stop_ns, batches;
	int failed;
	struct hist latency;
};

struct run {
	struct options *opt;
	struct mc_engine *eng;
	struct mc_segment *seg;
	struct memory mem;
	struct worker *worker;
};

/* ---- one thread ---- */

/* Why the batch did not succeed as a whole. */
static int first_error(struct worker *w)
{
	for (unsigned i = 0; i < w->nr; i++) {
		struct mc_status st;

		if (!mc_batch_status(w->batch, i, &st) && st.error)
			return st.error;
	}
	return -EIO;
}

static int one_batch(struct worker *w)
{
	uint64_t start = clock_now_ns();
	int ret = mc_batch_submit(w->batch, w->req, w->nr, start + BATCH_NS);

	if (!ret)
		ret = mc_batch_wait(w->batch, DEADLINE_NEVER);
	if (ret < 0)
		return ret;
	if (ret < (int)w->nr)
		return first_error(w);
	hist_add(&w->latency, clock_now_ns() - start);
	w->batches++;
	return mc_batch_reset(w->batch);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	do
		w->failed = one_batch(w);
	while (!w->failed && clock_now_ns() < w->stop_ns);
	return NULL;
}

static void worker_close(struct worker *w)
{
	mc_batch_close(w->batch);
	free(w->req);
	free(w->vec);
}

/* The buffers of the target that are for data; its card is not. */
static int peer_buffer(struct run *r, unsigned i, uint64_t *addr)
{
	uint64_t len, last_addr = 0, last_len = 0;
	unsigned nr = 0;

	while (!mc_segment_buffer(r->seg, nr, &last_addr, &last_len))
		nr++;
	if (nr > 1 && last_len == CARD_BYTES)
		nr--;
	if (!nr || mc_segment_buffer(r->seg, i % nr, addr, &len)) {
		log_err("%s has registered no memory: is it a target?", r->opt->segment_id);
		return -ENOENT;
	}
	if (len >= r->mem.used)
		return 0;
	log_err("the target's buffers have %llu bytes, and block_size * batch_size * threads is %llu: give it --buffer_size=%llu",
		(unsigned long long)len, (unsigned long long)r->mem.used, (unsigned long long)r->mem.used);
	return -ERANGE;
}

static int worker_open(struct run *r, unsigned t)
{
	const char *only = r->opt->auto_discovery || !strcmp(r->opt->protocol, "rdma") ? NULL : r->opt->protocol;
	uint8_t *mine = r->mem.buffer[t % (unsigned)r->mem.nr];
	struct worker *w = &r->worker[t];
	uint64_t theirs;
	int ret = peer_buffer(r, t % (unsigned)r->mem.nr, &theirs);

	if (ret)
		return ret;
	w->nr = (unsigned)r->opt->batch_size;
	w->req = calloc(w->nr, sizeof(*w->req));
	w->vec = calloc(w->nr, sizeof(*w->vec));
	if (!w->req || !w->vec)
		return -ENOMEM;
	for (unsigned i = 0; i < w->nr; i++) {
		uint64_t at = block_at(r->opt, t, i);

		w->vec[i] = (struct mc_vec){ mine + at, theirs + at, r->opt->block_size };
		w->req[i] = (struct mc_request){ *r->opt->operation == 'w' ? MC_WRITE : MC_READ, r->seg, &w->vec[i], 1, only };
	}
	return mc_batch_open(r->eng, w->nr, NULL, NULL, &w->batch);
}

/* ---- a round of all threads ---- */

static int engine_round(struct run *r, double seconds, struct limit *l, struct part *out)
{
	uint64_t cpu = cpu_now_ns(), peer = l ? limit_peer_cpu_ns(l) : 0, start = clock_now_ns(), before = 0, after = 0;
	unsigned nr = (unsigned)r->opt->threads, started = 0;
	pthread_t *t = calloc(nr, sizeof(*t));
	int ret = t ? 0 : -ENOMEM;

	for (; started < nr && !ret; started += !ret) {
		before += r->worker[started].batches;
		r->worker[started].stop_ns = start + (uint64_t)(seconds * 1e9);
		ret = thread_start(&t[started], "bench", work, &r->worker[started]);
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(t[i], NULL);
		after += r->worker[i].batches;
		ret = ret ? ret : r->worker[i].failed;
	}
	free(t);
	*out = (struct part){
		.seconds = (double)(clock_now_ns() - start) / 1e9,
		.batches = after - before,
		.bytes = (after - before) * (uint64_t)r->opt->batch_size * r->opt->block_size,
		.cpu_s = (double)(cpu_now_ns() - cpu) / 1e9,
		.peer_cpu_s = l ? (double)(limit_peer_cpu_ns(l) - peer) / 1e9 : 0,
	};
	if (ret)
		log_err("a transfer failed: %s", strerror(-ret));
	return ret;
}

static void part_add(struct part *sum, const struct part *p)
{
	sum->seconds += p->seconds;
	sum->cpu_s += p->cpu_s;
	sum->peer_cpu_s += p->peer_cpu_s;
	sum->bytes += p->bytes;
	sum->batches += p->batches;
}

static double rate(const struct part *p)
{
	return p->seconds > 0 ? (double)p->bytes / p->seconds : 0;
}

/* What the machine can do now. A limit that fails is given up, with a warning. */
static void compare(struct limit *l, double seconds, const struct part *engine, struct result *res)
{
	struct part p = { 0 };
	int ret = limit_round(l, seconds, &p);

	if (ret) {
		log_warn("the comparison ended: %s", strerror(-ret));
		l->kind = NULL;
		return;
	}
	part_add(&res->limit, &p);
	res->ratio[res->nr_rounds++] = rate(engine) / rate(&p);
}

static int rounds(struct run *r, struct limit *l, struct result *res)
{
	double wanted = MAX(r->opt->duration / ROUND_S, 1.0);
	unsigned nr = wanted < ROUNDS_MAX ? (unsigned)wanted : ROUNDS_MAX;
	double each = r->opt->duration / nr;
	struct part p, shown = { 0 };
	int ret = 0;

	for (unsigned i = 0; i < nr && !ret; i++) {
		ret = engine_round(r, each, l->kind ? l : NULL, &p);
		if (ret)
			break;
		part_add(&res->engine, &p);
		part_add(&shown, &p);
		if (l->kind)
			compare(l, each / LIMIT_PART, &p, res);
		if (r->opt->progress && shown.seconds >= PROGRESS_S) {
			report_progress(r->opt, res->engine.seconds, &shown);
			shown = (struct part){ 0 };
		}
	}
	return ret;
}

static void collect(struct run *r, struct hist *out)
{
	memset(out, 0, sizeof(*out));
	for (int i = 0; i < r->opt->threads; i++)
		hist_merge(out, &r->worker[i].latency);
}

static int measure(struct run *r, struct result *res)
{
	struct part warm;
	struct limit l = { .talk = -1 };
	int ret = 0;

	for (unsigned i = 0; i < r->opt->threads && !ret; i++)
		ret = worker_open(r, i);
	if (!ret)
		ret = engine_round(r, WARM_S, NULL, &warm);
	if (ret)
		return ret;
	for (int i = 0; i < r->opt->threads; i++)
		memset(&r->worker[i].latency, 0, sizeof(r->worker[i].latency));
	res->transport = r->worker[0].req[0].transport ?: mc_segment_transport(r->seg);
	if (r->opt->limit)
		limit_open(&l, r->opt, &r->mem, r->seg, r->eng, res->transport);
	ret = rounds(r, &l, res);
	for (int i = 0; i < r->opt->threads; i++)
		fprintf(stderr, "Worker %d stopped!\n", i);
	if (!ret) {
		collect(r, res->latency);
		report(r->opt, res, &l);
	}
	if (r->opt->limit)
		limit_close(&l);
	return ret;
}

/* ---- the role ---- */

static int open_all(struct run *r)
{
	const struct options *o = r->opt;
	const struct mc_engine_opts opts = {
		.size = sizeof(opts),
		.local_name = o->local_server_name,
		.metadata = o->metadata_server,
		.devices = o->device_name,
		.protocol = !strcmp(o->protocol, "rdma") ? "rdma" : "tcp",
	};
	int ret = mc_engine_open(&opts, &r->eng);

	if (ret) {
		fprintf(stderr, "transfer_engine_bench: the engine does not open: %s\n", mc_last_error());
		return ret;
	}
	ret = mc_segment_open(r->eng, o->segment_id, deadline_after_ns(OPEN_NS), &r->seg);
	if (ret) {
		fprintf(stderr, "transfer_engine_bench: target %s cannot be opened: %s\n", o->segment_id, mc_last_error());
		return ret;
	}
	return memory_open(&r->mem, r->eng, r->opt);
}

int run_initiator(struct options *o)
{
	struct run r = { .opt = o };
	struct result res = { .latency = calloc(1, sizeof(struct hist)) };
	int ret = -ENOMEM;

	r.worker = calloc((size_t)o->threads, sizeof(*r.worker));
	if (r.worker && res.latency)
		ret = open_all(&r);
	if (!ret)
		ret = measure(&r, &res);
	for (int i = 0; r.worker && i < o->threads; i++)
		worker_close(&r.worker[i]);
	if (r.seg)
		mc_segment_close(r.seg);
	mc_engine_close(r.eng);
	memory_close(&r.mem);
	free(r.worker);
	free(res.latency);
	return ret;
}
