/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same node, and the kernel lets us neither map the peer's memory nor look into it (another
 * user, a ptrace limit, a sandbox): the peer shares what it registered through /dev/mooncake, which
 * copies for whoever has a descriptor of it. As with RDMA, what is reached are the pages that were
 * there when it was asked for.
 */
#include "transport/module.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"
#include "transport/near.h"

#define MODULE_COST_NS_PER_MIB 250000 /* about 4 GiB/s */

struct module {
	struct transport base;
	struct process_id self;
	uint8_t node[16];
	struct lender *lender; /* NULL: serves nobody */
};

struct loan {
	uint64_t addr, len;
	int fd;
};

struct module_peer {
	struct peer base;
	int sock, pidfd;       /* one hangs up when the peer closes, one is readable when it ended */
	pthread_rwlock_t lock; /* readers copy, a writer changes what follows */
	struct loan *loan;
	unsigned nr, max;
	uint64_t asked;	 /* what the peer is to answer; 0: nothing */
	uint64_t denied; /* what it last refused, */
	int why;	 /* and how */
};

/* ---- loans ----------------------------------------------------------------------------------- */

static struct loan *find(const struct module_peer *p, uint64_t addr)
{
	for (unsigned i = 0; i < p->nr; i++) {
		if (addr >= p->loan[i].addr && addr - p->loan[i].addr < p->loan[i].len)
			return &p->loan[i];
	}
	return NULL;
}

static void forget(struct module_peer *p, struct loan *k)
{
	close(k->fd);
	*k = p->loan[--p->nr];
}

static int remember(struct module_peer *p, const struct loan *k)
{
	struct loan *more;

	if (!k->len || find(p, k->addr))
		return -EBADMSG;
	if (p->nr == p->max) {
		more = reallocarray(p->loan, p->max + 16, sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->loan = more;
		p->max += 16;
	}
	p->loan[p->nr++] = *k;
	return 0;
}

/* Takes the answer, if there is one. */
static int collect(struct module_peer *p)
{
	struct loan_reply r;
	struct loan k;
	ssize_t n = net_packet_recv(p->sock, &r, sizeof(r), &k.fd);
	int ret = 0;

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0)
		return -ESRCH;
	if (n != sizeof(r) || r.magic != LOAN_MAGIC || r.asked != p->asked || (!r.status && k.fd < 0))
		ret = -EBADMSG;
	p->asked = 0;
	k.addr = r.addr;
	k.len = r.len;
	if (!ret && r.status) {
		p->denied = r.asked;
		p->why = r.status == -EFAULT ? -EFAULT : -EOPNOTSUPP;
	} else if (!ret) {
		ret = remember(p, &k);
		if (!ret)
			return 0;
	}
	if (k.fd >= 0)
		close(k.fd);
	return ret;
}

/* 0: the loan for @addr is there; -EAGAIN: not yet; -EFAULT, -EOPNOTSUPP: will not be; -ESRCH. */
static int borrow(struct module_peer *p, uint64_t addr)
{
	const struct loan_ask ask = { LOAN_MAGIC, addr };
	int ret = 0;

	/* Nobody's, and what follows takes it for no address. */
	if (!addr)
		return -EFAULT;
	pthread_rwlock_wrlock(&p->lock);
	if (p->asked)
		ret = collect(p);
	if (ret || find(p, addr))
		goto out;
	if (p->denied == addr) {
		p->denied = 0;
		ret = p->why;
		goto out;
	}
	ret = -EAGAIN;
	if (!p->asked) {
		ssize_t n = net_packet_send(p->sock, &ask, sizeof(ask), share_device());

		if (n == sizeof(ask))
			p->asked = addr;
		else if (n != -EAGAIN)
			ret = -ESRCH;
	}
out:
	pthread_rwlock_unlock(&p->lock);
	return ret;
}

static void give_back(struct module_peer *p, uint64_t addr)
{
	struct loan *k;

	pthread_rwlock_wrlock(&p->lock);
	k = find(p, addr);
	if (k)
		forget(p, k);
	pthread_rwlock_unlock(&p->lock);
}

/* The peer ended: its pages are free when nobody holds them any more. */
static int give_back_all(struct module_peer *p)
{
	pthread_rwlock_wrlock(&p->lock);
	while (p->nr)
		forget(p, p->loan);
	pthread_rwlock_unlock(&p->lock);
	return -ECONNRESET;
}

/* ---- copying --------------------------------------------------------------------------------- */

static bool ended(const struct module_peer *p)
{
	struct pollfd pfd[] = { { .fd = p->pidfd, .events = POLLIN }, { .fd = p->sock } };

	return poll(pfd, ARRAY_SIZE(pfd), 0) > 0;
}

/* Copies from v[0] on what lies in one loan, and cuts it off; *@addr is where it failed. */
static int copy_some(const struct module_peer *p, bool write, struct process_vec **v, unsigned *nr,
		     uint64_t *addr)
{
	struct process_vec in[SLICE_VECS];
	const struct loan *k = find(p, (*v)->remote);
	unsigned n = 0;

	*addr = (*v)->remote;
	if (!k)
		return -EAGAIN;
	for (; *nr && (*v)->remote >= k->addr && (*v)->remote - k->addr < k->len; n++) {
		uint64_t off = (*v)->remote - k->addr;

		in[n] = (struct process_vec){ (*v)->local, off, MIN((*v)->len, k->len - off) };
		if (in[n].len == (*v)->len) {
			(*v)++;
			(*nr)--;
			continue;
		}
		(*v)->local = (char *)(*v)->local + in[n].len;
		(*v)->remote += in[n].len;
		(*v)->len -= in[n].len;
	}
	return share_copy(k->fd, write, in, n);
}

static int copy_all(struct module_peer *p, bool write, const struct slice *s, uint64_t *addr)
{
	struct process_vec rest[SLICE_VECS], *v = rest;
	unsigned nr = s->nr;
	int ret;

	memcpy(rest, s->v, nr * sizeof(*rest));
	pthread_rwlock_rdlock(&p->lock);
	/* Pages outlive their process while we hold them; a transfer does not. */
	ret = write && ended(p) ? -ESRCH : 0;
	while (nr && !ret)
		ret = copy_some(p, write, &v, &nr, addr);
	if (!ret && !write && ended(p))
		ret = -ESRCH;
	pthread_rwlock_unlock(&p->lock);
	return ret;
}

static int module_move(struct peer *base, enum xfer_op op, struct slice *s)
{
	struct module_peer *p = container_of(base, struct module_peer, base);
	uint64_t addr = 0;
	int ret = copy_all(p, op == XFER_WRITE, s, &addr);

	if (ret == -EKEYREVOKED) {
		give_back(p, addr);
		ret = -EAGAIN;
	}
	if (ret == -EAGAIN) {
		ret = borrow(p, addr);
		ret = ret ? ret : -EAGAIN;
	}
	/* Those two: not what we said to each other; the peer lent less than it said. */
	return ret == -ESRCH || ret == -EBADMSG || ret == -EINVAL ? give_back_all(p) : ret;
}

static void module_submit(struct peer *base, struct xfer *const *x, unsigned nr)
{
	near_submit(base, x, nr, module_move);
}

static bool module_progress(struct peer *base, struct xfer *x, uint64_t deadline_ns)
{
	bool done = near_progress(base, x, deadline_ns, module_move);

	if (done)
		x->elsewhere = x->status == -EOPNOTSUPP;
	return done;
}

/* Every look copies, but for a loan that has been asked for. */
static int module_wants(struct peer *base, const struct xfer *x, short *events)
{
	struct module_peer *p = container_of(base, struct module_peer, base);
	bool asked;

	pthread_rwlock_rdlock(&p->lock);
	asked = p->asked;
	pthread_rwlock_unlock(&p->lock);
	*events = POLLIN;
	return asked ? p->sock : -1;
}

/* ---- peers ----------------------------------------------------------------------------------- */

/* Nobody else can be found under that name: the kernel says who listens. */
static int dial(const struct process_id *who, int reach_fd, int *out)
{
	struct net_cred cred;
	struct sockaddr_un a;
	socklen_t len = loan_socket(who, reach_fd, &a);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, len) || net_peer_cred(fd, &cred) || cred.pid != who->pid ||
	    !process_alive(who)) {
		close(fd);
		return -EOPNOTSUPP;
	}
	*out = fd;
	return 0;
}

static int peer_new(const struct process_id *who, int reach_fd, struct module_peer **out)
{
	struct module_peer *p = calloc(1, sizeof(*p));
	pthread_rwlockattr_t attr;

	if (!p)
		return -ENOMEM;
	if (process_pidfd(who->pid, &p->pidfd))
		goto err_free;
	if (dial(who, reach_fd, &p->sock))
		goto err_pidfd;
	pthread_rwlockattr_init(&attr);
	/* Copies overlap without end under load; a loan to come must not wait for all of them. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&p->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	*out = p;
	return 0;

err_pidfd:
	close(p->pidfd);
err_free:
	free(p);
	return -EOPNOTSUPP;
}

static int module_connect(struct transport *base, const struct segment_desc *desc, struct peer **out,
			  uint64_t *cost)
{
	struct module *t = container_of(base, struct module, base);
	struct module_peer *p;
	int ret;

	if (share_device() < 0 || !near_has(desc, t->node, t->self.pid_ns))
		return -EOPNOTSUPP;
	ret = peer_new(&(struct process_id){ .pid = (pid_t)desc->mc.pid,
					     .start_time = desc->mc.start_time,
					     .pid_ns = desc->mc.pid_ns },
		       desc->mc.reach_fd, &p);
	if (ret)
		return ret;
	p->base.transport = base;
	*cost = MODULE_COST_NS_PER_MIB;
	*out = &p->base;
	return 0;
}

static void module_disconnect(struct peer *base)
{
	struct module_peer *p = container_of(base, struct module_peer, base);

	while (p->nr)
		forget(p, p->loan);
	free(p->loan);
	close(p->sock);
	close(p->pidfd);
	pthread_rwlock_destroy(&p->lock);
	free(p);
}

/* ---- open and close -------------------------------------------------------------------------- */

/* Without the module nobody is reached this way, and nothing else is different. */
static int module_open(const struct transport_env *env, struct transport **out)
{
	struct module *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->base.ops = &transport_module;
	node_id(t->node);
	ret = process_self(&t->self);
	if (!ret && env->loop && share_device() >= 0) {
		ret = lender_open(env->loop, env->reach, &t->lender);
		if (ret && ret != -ENOMEM) {
			log_info("memory is not shared through the module: %s", strerror(-ret));
			ret = 0;
		}
	}
	if (ret) {
		free(t);
		return ret;
	}
	*out = &t->base;
	return 0;
}

static void module_close(struct transport *base)
{
	struct module *t = container_of(base, struct module, base);

	lender_close(t->lender);
	free(t);
}

static void module_describe(struct transport *base, struct segment_desc *desc)
{
}

const struct transport_ops transport_module = {
	.name = "module",
	.open = module_open,
	.close = module_close,
	.describe = module_describe,
	.connect = module_connect,
	.disconnect = module_disconnect,
	.submit = module_submit,
	.progress = module_progress,
	.wants = module_wants,
	.cancel = near_cancel,
	.backlog = near_backlog,
};
