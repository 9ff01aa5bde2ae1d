/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same node: ranges are copied by the process that wants them. Plainly when the peer is this
 * process or its memory is shared and mapped here (local_map.c), else with process_vm_readv and
 * process_vm_writev. The peer does nothing; its table of reachable ranges says what may be touched.
 */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/log.h"
#include "dev/dev.h"
#include "transport/local_map.h"
#include "transport/near.h"
#include "transport/reach.h"

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
		log_info("process %lld on this node is reached by other means: %s",
			 (long long)desc->mc.pid, why);
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

	if (!near_has(desc, t->node, t->self.pid_ns))
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
static int local_move(struct peer *base, enum xfer_op op, struct slice *s)
{
	const struct local_peer *p = container_of(base, struct local_peer, base);
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

static void local_submit(struct peer *base, struct xfer *const *x, unsigned nr)
{
	near_submit(base, x, nr, local_move);
}

static bool local_progress(struct peer *base, struct xfer *x, uint64_t deadline_ns)
{
	return near_progress(base, x, deadline_ns, local_move);
}

/* Every look copies. */
static int local_wants(struct peer *base, const struct xfer *x, short *events)
{
	return -1;
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
	.cancel = near_cancel,
	.backlog = near_backlog,
};
