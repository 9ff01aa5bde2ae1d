/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner's side of copying through /dev/mooncake: parts of registered ranges become descriptors
 * when a neighbour asks, and are taken back before the range is unregistered.
 */
#include "transport/module.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"

#define BORROWERS_MAX 256
#define PART_BYTES    (64 * MiB) /* pinned at a time: neither all of a large range, nor so little */
#define PARTS_MAX     64	 /* that it takes many descriptors */
#define PART_ALIGN    (2 * MiB)

struct loan {
	struct list node;
	uint64_t addr, len;
	int fd;
};

struct lender {
	struct loop *loop;
	struct reach_table *reach;
	struct listener *listener;
	int fd;
	dev_t device;
	pthread_mutex_t lock; /* guards loans */
	struct list loans;
	/* the loop's */
	struct list borrowers;
	unsigned nr_borrowers;
};

struct borrower {
	struct lender *lender;
	struct list node;
	struct loop_fd fd;
};

socklen_t loan_socket(const struct process_id *who, int reach_fd, struct sockaddr_un *out)
{
	int n;

	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1,
		     "mooncake-%016llx-%d-%llu-%d", (unsigned long long)who->pid_ns, (int)who->pid,
		     (unsigned long long)who->start_time, reach_fd);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

/* ---- loans ----------------------------------------------------------------------------------- */

static struct loan *find(const struct lender *l, uint64_t addr)
{
	struct loan *k;

	list_for_each_entry(k, &l->loans, node) {
		if (addr >= k->addr && addr - k->addr < k->len)
			return k;
	}
	return NULL;
}

/* The part of the range [@start, @start + @len) that has @addr: whole pages, as other things lie on the rest of an odd one. */
static int part_of(uint64_t start, uint64_t len, uint64_t addr, uint64_t *part, uint64_t *part_len)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t first = align_up(start, page), end = (start + len) & ~(page - 1);
	uint64_t step = MAX((uint64_t)PART_BYTES, align_up(len / PARTS_MAX, PART_ALIGN));

	if (addr < first || addr >= end)
		return -EOPNOTSUPP;
	*part = first + (addr - first) / step * step;
	*part_len = MIN(step, end - *part);
	return 0;
}

/* With the range held, so that it stays registered until the loan is in the list. */
static int lend_held(struct lender *l, uint64_t start, uint64_t len, uint64_t addr, struct loan *out)
{
	struct loan *k = malloc(sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	ret = part_of(start, len, addr, &k->addr, &k->len);
	if (!ret)
		ret = share_memory(k->addr, k->len, &k->fd);
	if (ret) {
		free(k);
		return ret;
	}
	*out = *k;
	pthread_mutex_lock(&l->lock);
	list_append(&l->loans, &k->node);
	pthread_mutex_unlock(&l->lock);
	return 0;
}

/* On the loop. @out->fd stays the lender's; it is not closed before the range's hold is over. */
static int lend(struct lender *l, uint64_t addr, int sock)
{
	struct loan_reply r = { .magic = LOAN_MAGIC, .asked = addr, .status = -EFAULT };
	struct loan *known, loan = { .fd = -1 };
	uint64_t start, len;
	ssize_t n;

	if (reach_hold(l->reach, addr, &start, &len)) {
		pthread_mutex_lock(&l->lock);
		known = find(l, addr);
		if (known)
			loan = *known;
		pthread_mutex_unlock(&l->lock);
		r.status = known ? 0 : lend_held(l, start, len, addr, &loan);
		r.addr = loan.addr;
		r.len = loan.len;
		n = net_packet_send(sock, &r, sizeof(r), r.status ? -1 : loan.fd);
		reach_put(l->reach, addr);
	} else {
		n = net_packet_send(sock, &r, sizeof(r), -1);
	}
	if (r.status && r.status != -EFAULT)
		log_info("memory at %#llx is not shared through the module: %s",
			 (unsigned long long)addr, strerror((int)-r.status));
	return n == sizeof(r) ? 0 : -EPIPE;
}

/* A range is being unregistered, nobody holds it any more. Any thread. */
static void range_leaves(void *arg, uint64_t addr, uint64_t len)
{
	struct lender *l = arg;
	struct loan *k, *tmp;
	struct list gone;

	list_init(&gone);
	pthread_mutex_lock(&l->lock);
	list_for_each_entry_safe(k, tmp, &l->loans, node) {
		if (k->addr < addr || k->addr - addr >= len)
			continue;
		list_del(&k->node);
		list_append(&gone, &k->node);
	}
	pthread_mutex_unlock(&l->lock);
	list_for_each_entry_safe(k, tmp, &gone, node) {
		share_end(k->fd);
		free(k);
	}
}

/* ---- borrowers ------------------------------------------------------------------------------- */

static void borrower_free(struct borrower *b)
{
	loop_fd_del(b->lender->loop, &b->fd);
	close(b->fd.fd);
	list_del(&b->node);
	b->lender->nr_borrowers--;
	free(b);
}

static bool is_device(const struct lender *l, int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == l->device;
}

static void borrower_ready(struct loop_fd *f, uint32_t ready)
{
	struct borrower *b = container_of(f, struct borrower, fd);
	struct loan_ask ask;
	ssize_t n;
	bool may;
	int fd;

	n = net_packet_recv(f->fd, &ask, sizeof(ask), &fd);
	may = is_device(b->lender, fd);
	if (fd >= 0)
		close(fd);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n != sizeof(ask) || ask.magic != LOAN_MAGIC || !may || lend(b->lender, ask.addr, f->fd))
		borrower_free(b);
}

static void accepted(void *arg, int fd)
{
	struct lender *l = arg;
	struct borrower *b = l->nr_borrowers < BORROWERS_MAX ? calloc(1, sizeof(*b)) : NULL;

	if (!b || loop_fd_add(l->loop, &b->fd, fd, EPOLLIN, borrower_ready)) {
		free(b);
		close(fd);
		return;
	}
	b->lender = l;
	list_append(&l->borrowers, &b->node);
	l->nr_borrowers++;
}

/* ---- open and close -------------------------------------------------------------------------- */

static int listen_here(struct lender *l)
{
	struct process_id self;
	struct sockaddr_un a;
	socklen_t len;
	int ret = process_self(&self);

	if (ret)
		return ret;
	len = loan_socket(&self, reach_fd(l->reach), &a);
	l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&a, len) || listen(l->fd, 64))
		return -errno;
	return 0;
}

static int start(void *arg)
{
	struct lender *l = arg;

	return listener_open(l->loop, l->fd, accepted, l, &l->listener);
}

static int stop(void *arg)
{
	struct lender *l = arg;
	struct borrower *b, *tmp;

	listener_close(l->listener);
	list_for_each_entry_safe(b, tmp, &l->borrowers, node)
		borrower_free(b);
	return 0;
}

int lender_open(struct loop *loop, struct reach_table *reach, struct lender **out)
{
	struct stat st;
	struct lender *l;
	int ret;

	if (share_device() < 0 || fstat(share_device(), &st))
		return -EOPNOTSUPP;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct lender){ .loop = loop, .reach = reach, .fd = -1, .device = st.st_rdev };
	pthread_mutex_init(&l->lock, NULL);
	list_init(&l->loans);
	list_init(&l->borrowers);
	ret = listen_here(l);
	if (!ret)
		ret = loop_call(loop, start, l);
	if (ret) {
		if (l->fd >= 0)
			close(l->fd);
		pthread_mutex_destroy(&l->lock);
		free(l);
		return ret;
	}
	reach_on_leave(reach, range_leaves, l);
	*out = l;
	return 0;
}

void lender_close(struct lender *l)
{
	if (!l)
		return;
	loop_call(l->loop, stop, l);
	reach_on_leave(l->reach, NULL, NULL);
	range_leaves(l, 0, UINT64_MAX);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
