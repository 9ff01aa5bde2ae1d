/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same node: ranges are copied by the process that wants them. Plainly when the peer is this
 * process or its memory is shared and mapped here (local_map.c), else with process_vm_readv and
 * process_vm_writev. The peer does nothing; its table of reachable ranges says what may be touched.
 *
 * Small transfers of one submission share system calls and are done when submit() returns; what is
 * larger is copied in slices by whoever waits, so that it can be cancelled in between.
 */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/log.h"
#include "dev/dev.h"
#include "transport/local_map.h"
#include "transport/reach.h"

#define SLICE_VECS	      512
#define SLICE_BYTES	      (4 * MiB)
#define SUBMIT_BYTES	      (8 * MiB) /* copied at most by one submit() */
#define LOCAL_COST_NS_PER_MIB 120000	/* about 8 GiB/s */

struct local {
	struct transport base;
	struct process_id self;
	uint8_t node[16];
	int reach_fd;
	_Atomic bool told; /* why this node's processes are reached by other means */
};

struct local_peer {
	struct peer base;
	struct process_id who;
	struct reach_view *view;
	uint8_t token[REACH_TOKEN_BYTES];
	uint64_t token_addr;
	struct map_cache *maps;
	int pidfd;   /* readable once the process ended */
	bool inside; /* it is this process */
};

/* What one look at the table and, mostly, one system call move. */
struct slice {
	struct process_vec v[SLICE_VECS + 1]; /* and the token */
	unsigned nr;
	uint64_t bytes;
};

static int local_open(const struct transport_env *env, struct transport **out)
{
	struct local *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	ret = process_self(&t->self);
	if (ret) {
		free(t);
		return ret;
	}
	node_id(t->node);
	t->base.ops = &transport_local;
	/* Who serves nobody is not reached through its memory either. */
	t->reach_fd = env->loop ? reach_fd(env->reach) : -1;
	*out = &t->base;
	return 0;
}

static void local_close(struct transport *base)
{
	free(container_of(base, struct local, base));
}

static void local_describe(struct transport *base, struct segment_desc *desc)
{
	const struct local *t = container_of(base, struct local, base);

	desc->mc.reach_fd = t->reach_fd;
}

static bool is_neighbour(const struct local *t, const struct segment_desc *desc)
{
	return desc->mc.present && desc->mc.pid > 0 && desc->mc.reach_fd >= 0 &&
	       desc->mc.pid_ns == t->self.pid_ns &&
	       !memcmp(desc->mc.node, t->node, sizeof(t->node));
}

static bool ended(const struct local_peer *p)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) > 0;
}

/* Is the process of that pid still, and in its old program, the peer? */
static int check_token(const struct local_peer *p)
{
	uint8_t got[REACH_TOKEN_BYTES];
	struct process_vec v = { .local = got, .remote = p->token_addr, .len = sizeof(got) };
	int ret = process_read(p->who.pid, &v, 1);

	return ret ? ret : memcmp(got, p->token, sizeof(got)) ? -ESRCH : 0;
}

static void tell_once(struct local *t, const struct segment_desc *desc, const char *why)
{
	if (!atomic_exchange(&t->told, true))
		log_info("process %lld on this node is reached by tcp: %s", (long long)desc->mc.pid,
			 why);
}

static int open_view(struct local_peer *p, int reach_fd)
{
	int ret = process_alive(&p->who) ? reach_view_open(&p->who, reach_fd, &p->view) : -ESRCH;

	if (ret)
		return ret;
	memcpy(p->token, reach_view_token(p->view, &p->token_addr), sizeof(p->token));
	ret = p->inside ? 0 : check_token(p);
	if (ret)
		reach_view_close(p->view);
	return ret;
}

static int open_neighbour(struct local *t, struct local_peer *p, const struct segment_desc *desc)
{
	int ret = process_pidfd(p->who.pid, &p->pidfd);

	if (ret)
		return -EOPNOTSUPP;
	ret = open_view(p, desc->mc.reach_fd);
	if (ret == -EPERM || ret == -EACCES || ret == -ENOSYS)
		tell_once(t, desc,
			  "the kernel forbids access to its memory (another user, a ptrace "
			  "limit or a sandbox)");
	if (ret)
		close(p->pidfd);
	return ret == -ENOMEM ? ret : ret ? -EOPNOTSUPP : 0;
}

static int local_connect(struct transport *base, const struct segment_desc *desc, struct peer **out,
			 uint64_t *cost)
{
	struct local *t = container_of(base, struct local, base);
	struct local_peer *p;
	int ret;

	if (!is_neighbour(t, desc))
		return -EOPNOTSUPP;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->base.transport = base;
	p->who = (struct process_id){
		.pid = (pid_t)desc->mc.pid,
		.start_time = desc->mc.start_time,
		.pid_ns = desc->mc.pid_ns,
	};
	p->inside = p->who.pid == t->self.pid && p->who.start_time == t->self.start_time;
	ret = map_cache_open(p->who.pid, &p->maps);
	if (ret)
		goto err_free;
	ret = open_neighbour(t, p, desc);
	if (ret)
		goto err_maps;
	*cost = LOCAL_COST_NS_PER_MIB;
	*out = &p->base;
	return 0;

err_maps:
	map_cache_close(p->maps);
err_free:
	free(p);
	return ret;
}

static void local_disconnect(struct peer *base)
{
	struct local_peer *p = container_of(base, struct local_peer, base);

	reach_view_close(p->view);
	map_cache_close(p->maps);
	close(p->pidfd);
	free(p);
}

/* Adds what is left of @x, as far as it fits. */
static void slice_fill(struct slice *s, const struct xfer *x, uint64_t max_bytes)
{
	uint64_t skip = x->bytes;

	for (unsigned i = 0; i < x->nr && s->nr < SLICE_VECS && s->bytes < max_bytes; i++) {
		const struct xvec *v = &x->vec[i];
		uint64_t len = v->len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len = MIN(len - skip, max_bytes - s->bytes);
		s->v[s->nr++] =
			(struct process_vec){ (char *)v->local + skip, v->remote + skip, len };
		s->bytes += len;
		skip = 0;
	}
}

static int slice_check(const struct reach_view *view, const struct reach_access *a,
		       const struct slice *s)
{
	int ret = 0;

	for (unsigned i = 0; i < s->nr && !ret; i++)
		ret = reach_view_has(view, a, s->v[i].remote, s->v[i].len);
	return ret;
}

/*
 * The token is read last, in the same system call: if it is the peer's, so was all that was read
 * before.
 * A write cannot be taken back, so there it comes first.
 */
static int slice_copy_foreign(const struct local_peer *p, enum xfer_op op, struct slice *s)
{
	uint8_t got[REACH_TOKEN_BYTES];
	int ret;

	if (op == XFER_WRITE) {
		ret = check_token(p);
		return ret ? ret : process_write(p->who.pid, s->v, s->nr);
	}
	s->v[s->nr] = (struct process_vec){ got, p->token_addr, sizeof(got) };
	ret = process_read(p->who.pid, s->v, s->nr + 1);
	return ret ? ret : memcmp(got, p->token, sizeof(got)) ? -ESRCH : 0;
}

/* Through addresses of this process: its own memory, or the peer's mapped here. */
static void slice_copy_here(const struct local_peer *p, enum xfer_op op, const struct slice *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		const struct process_vec *v = &s->v[i];
		void *remote = p->inside ? (void *)(uintptr_t)v->remote :
					   map_cache_at(p->maps, v->remote, v->len);

		if (op == XFER_READ)
			copy_racy(v->local, remote, v->len);
		else
			copy_bytes(remote, v->local, v->len);
		/*
		 * Vectors are done in order: readers of extents look at the header before and after
		 * the payload.
		 */
		fence_full();
	}
}

static int slice_copy(const struct local_peer *p, enum xfer_op op, struct slice *s, uint32_t seq)
{
	int ret;

	if (p->inside) {
		slice_copy_here(p, op, s);
		return 0;
	}
	if (!map_cache_begin(p->maps, seq, s->v, s->nr))
		return slice_copy_foreign(p, op, s);
	/*
	 * Shared memory outlives the process, or its program; a transfer does not. A write cannot
	 * be taken back, so it asks first, but after begin(): what was mapped there was then the
	 * peer's.
	 */
	ret = op == XFER_WRITE ? check_token(p) : 0;
	if (!ret)
		slice_copy_here(p, op, s);
	map_cache_end(p->maps);
	if (!ret && op == XFER_READ)
		ret = check_token(p);
	return ret ? -ESRCH : 0;
}

/*
 * The whole slice: 0, -EFAULT not reachable, -ECONNRESET the peer ended, -EAGAIN its table is
 * changing.
 */
static int slice_move(const struct local_peer *p, enum xfer_op op, struct slice *s)
{
	struct reach_access a;
	/* In one process the range must also stay mapped while it is read: its owner waits for us, as for writers. */
	int ret = reach_view_begin(p->view, op == XFER_WRITE || p->inside, &a);

	if (!ret) {
		ret = slice_check(p->view, &a, s);
		if (!ret)
			ret = slice_copy(p, op, s, a.seq);
		/* A range that left while it was read may hold anything by now. */
		if (!reach_view_end(p->view, &a) && !ret && op == XFER_READ)
			ret = -EAGAIN;
	}
	if (ret == -EAGAIN && ended(p))
		ret = -ESRCH;
	return ret == -ESRCH ? -ECONNRESET : ret;
}

static void finish(struct xfer *x, int status)
{
	x->status = status;
	x->done = true;
}

static uint64_t xfer_bytes(const struct xfer *x)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < x->nr; i++)
		sum += x->vec[i].len;
	return sum;
}

/*
 * Moves x[0..nr), which are together in @s, at once. On failure they are left to progress(), one by
 * one.
 */
static void flush(const struct local_peer *p, struct slice *s, struct xfer *const *x, unsigned nr)
{
	if (nr && !slice_move(p, x[0]->op, s)) {
		for (unsigned i = 0; i < nr; i++) {
			x[i]->bytes = xfer_bytes(x[i]);
			finish(x[i], 0);
		}
	}
	s->nr = 0;
	s->bytes = 0;
}

static void local_submit(struct peer *base, struct xfer *const *x, unsigned nr)
{
	struct local_peer *p = container_of(base, struct local_peer, base);
	struct slice s; /* large: only what is used is set */
	uint64_t left = SUBMIT_BYTES;
	unsigned first = 0, i;

	s.nr = 0;
	s.bytes = 0;
	for (i = 0; i < nr; i++) {
		x[i]->peer = base;
		x[i]->done = false;
		x[i]->bytes = 0;
	}
	for (i = 0; i < nr; i++) {
		uint64_t bytes = xfer_bytes(x[i]);

		if (bytes > left || x[i]->nr > SLICE_VECS)
			break;
		if (i > first && (x[i]->op != x[first]->op || s.nr + x[i]->nr > SLICE_VECS ||
				  s.bytes + bytes > SLICE_BYTES)) {
			flush(p, &s, x + first, i - first);
			first = i;
		}
		slice_fill(&s, x[i], UINT64_MAX);
		left -= bytes;
	}
	flush(p, &s, x + first, i - first);
}

static bool local_progress(struct peer *base, struct xfer *x, uint64_t deadline_ns)
{
	struct local_peer *p = container_of(base, struct local_peer, base);
	const struct timespec nap = { .tv_nsec = 50 * NSEC_PER_USEC };
	uint64_t total = xfer_bytes(x);

	while (!x->done) {
		struct slice s;
		int ret;

		s.nr = 0;
		s.bytes = 0;
		slice_fill(&s, x, SLICE_BYTES);
		ret = slice_move(p, x->op, &s);
		if (!ret)
			x->bytes += s.bytes;
		if (x->bytes == total || (ret && ret != -EAGAIN))
			finish(x, ret);
		else if (deadline_passed(deadline_ns))
			break;
		else if (ret)
			nanosleep(&nap, NULL);
	}
	return x->done;
}

/* Every look copies. */
static int local_wants(struct peer *base, const struct xfer *x, short *events)
{
	return -1;
}

static void local_cancel(struct peer *base, struct xfer *x)
{
	if (!x->done)
		finish(x, -ECANCELED);
}

static uint64_t local_backlog(const struct peer *base)
{
	return 0;
}

const struct transport_ops transport_local = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.describe = local_describe,
	.connect = local_connect,
	.disconnect = local_disconnect,
	.submit = local_submit,
	.progress = local_progress,
	.wants = local_wants,
	.cancel = local_cancel,
	.backlog = local_backlog,
};
