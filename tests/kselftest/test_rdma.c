// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMA devices that come, go, change their name and lose their link, as EVENTS, netlink and udev hear of it. The device is
 * rdma_rxe's on dummy0; needs root, mooncake_rdma.ko and rdma_rxe.ko loaded.
 */

#include "cq.h"
#include "nl.h"

#include <net/if.h>
#include <rdma/rdma_netlink.h>
#include <sys/ioctl.h>

#define NLDEV(cmd) RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_##cmd)

struct watch {
	struct cq q;
	struct nl nl;
	int uevents;
	int ctx;
};

static long rdma_do(uint16_t type, const char *name, const char *netdev, uint32_t index)
{
	struct { struct nlmsghdr h; char body[256]; } m = { .h = { .nlmsg_len = NLMSG_LENGTH(0), .nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK } };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA), err;
	struct nl_msg *nm = (struct nl_msg *)&m;
	char buf[4096] __attribute__((aligned(8)));

	if (index != ~0u)
		nl_put(nm, RDMA_NLDEV_ATTR_DEV_INDEX, &index, 4);
	if (name)
		nl_put(nm, RDMA_NLDEV_ATTR_DEV_NAME, name, strlen(name) + 1);
	if (netdev) {
		nl_put(nm, RDMA_NLDEV_ATTR_LINK_TYPE, "rxe", 4);
		nl_put(nm, RDMA_NLDEV_ATTR_NDEV_NAME, netdev, strlen(netdev) + 1);
	}
	if (send(fd, &m, m.h.nlmsg_len, 0) < 0 || recv(fd, buf, sizeof(buf), 0) < (ssize_t)NLMSG_LENGTH(4)) {
		close(fd);
		return -errno;
	}
	close(fd);
	memcpy(&err, NLMSG_DATA((struct nlmsghdr *)buf), sizeof(err));
	return err;
}

static void link_up(bool up)
{
	struct ifreq r = { .ifr_name = "dummy0" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	ASSERT_EQ(SYS(ioctl(fd, SIOCGIFFLAGS, &r)), 0);
	r.ifr_flags = up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP;
	ASSERT_EQ(SYS(ioctl(fd, SIOCSIFFLAGS, &r)), 0);
	close(fd);
}

static void need_rxe(void)
{
	if (access("/sys/module/mooncake_rdma", F_OK) || access("/sys/module/rdma_rxe", F_OK))
		skip("mooncake_rdma or rdma_rxe is not loaded");
	if (access("/sys/class/net/dummy0", F_OK))
		skip("no dummy0");
	link_up(true);
}

static struct watch watch_open(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct timeval limit = { .tv_sec = 5 };
	struct watch w = { .q = cq_make(create_arg(0, 1024, MC_CQ_DROP_COUNT)), .nl = nl_open(), .ctx = ctx_open() };
	struct mc_ioc_events a = { .size = sizeof(a), .cq_fd = w.q.fd, .mask = MC_EVENT_RDMA_DEV, .user_data = 9 };
	int size = 1 << 20;

	ASSERT_EQ(SYS(ioctl(w.ctx, MC_IOC_EVENTS, &a)), 0);
	ASSERT_EQ(nl_join(&w.nl, w.nl.rdma), 0);
	w.uevents = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	setsockopt(w.uevents, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(w.uevents, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(w.nl.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	ASSERT_EQ(SYS(bind(w.uevents, (void *)&kernel, sizeof(kernel))), 0);
	return w;
}

/* "KEY=value" of a uevent of ours; NULL when it is somebody else's. */
static const char *uevent_var(const char *buf, ssize_t n, const char *key)
{
	const char *p;

	for (p = buf; p < buf + n; p += strlen(p) + 1)
		if (!strncmp(p, key, strlen(key)))
			return p + strlen(key);
	return NULL;
}

static const char *what_text(int what)
{
	return what == MC_EV_RDMA_ADD ? "rdma_add" : what == MC_EV_RDMA_REMOVE ? "rdma_remove" :
	       what == MC_EV_RDMA_RENAME ? "rdma_rename" : what == MC_EV_RDMA_PORT_UP ? "rdma_port_up" : "rdma_port_down";
}

static void expect_uevent(struct watch *w, int what, const char *name, uint32_t port)
{
	char buf[4096], number[16];
	const char *event, *at;
	ssize_t n;

	do {
		n = recv(w->uevents, buf, sizeof(buf) - 1, 0);
		if (n < 0) {
			FAIL("no uevent %s", what_text(what));
			exit(1);
		}
		buf[n] = 0;
		event = uevent_var(buf, n, "MC_EVENT=");
	} while (!event);
	EXPECT_EQ(strcmp(event, what_text(what)), 0);
	EXPECT_EQ(strncmp(buf, "change@", 7), 0);
	EXPECT_EQ(strcmp(uevent_var(buf, n, "MC_DEV="), name), 0);
	EXPECT_EQ(strcmp(uevent_var(buf, n, "MC_NODE="), "-1"), 0);
	EXPECT_EQ(strcmp(uevent_var(buf, n, "DEVNAME="), "mooncake"), 0);
	at = uevent_var(buf, n, "MC_PORT=");
	snprintf(number, sizeof(number), "%u", port);
	EXPECT_EQ(strcmp(at ? at : "0", number), 0);
}

/* All three ways tell the same; address changes in between do not count. The device's index. */
static uint32_t expect_rdma(struct watch *w, int what, const char *name, uint32_t port)
{
	char buf[8192] __attribute__((aligned(8)));
	const struct nlmsghdr *h;
	struct mc_cqe e;

	do {
		if (wait_cq(w->q.fd, 1, now_ns() + 5000000000ull, 0) < 1) {
			FAIL("no entry %s", what_text(what));
			exit(1);
		}
		ASSERT_EQ(take(&w->q, &e), 1);
	} while (e.res == MC_EV_RDMA_PORT_CHANGE);
	EXPECT_EQ(e.type, MC_CQE_RDMA_DEV);
	EXPECT_EQ(e.res, what);
	EXPECT_EQ(e.user_data, 9);
	EXPECT_EQ(e.data >> 32, port);
	do {
		h = nl_event(&w->nl, buf, sizeof(buf));
		if (!h) {
			FAIL("no message %s", what_text(what));
			exit(1);
		}
	} while (nl_num(h, MC_NL_A_EVENT) == MC_EV_RDMA_PORT_CHANGE);
	EXPECT_EQ(nl_num(h, MC_NL_A_EVENT), what);
	EXPECT_EQ(strcmp(nl_text(h, MC_NL_A_RDMA_NAME), name), 0);
	EXPECT_EQ(nl_num(h, MC_NL_A_RDMA_INDEX), (uint32_t)e.data);
	EXPECT_EQ(nl_num(h, MC_NL_A_RDMA_PORT), port ? port : ~0ull);
	expect_uevent(w, what, name, port);
	return (uint32_t)e.data;
}

struct devs { int n; uint32_t index; uint64_t up, ports; char name[64]; };

static void note_dev(void *arg, const struct nlmsghdr *h)
{
	struct devs *d = arg;

	d->n++;
	d->index = nl_num(h, MC_NL_A_RDMA_INDEX);
	d->up = nl_num(h, MC_NL_A_RDMA_PORTS_UP);
	d->ports = nl_num(h, MC_NL_A_RDMA_PORTS);
	snprintf(d->name, sizeof(d->name), "%s", nl_text(h, MC_NL_A_RDMA_NAME));
}

static struct devs devs(void)
{
	struct nl nl = nl_open();
	struct devs d = { 0 };

	ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_RDMA_DEV_GET, note_dev, &d), 0);
	close(nl.fd);
	return d;
}

TEST(rdma_life)
{
	struct watch w;
	struct devs d;
	uint32_t index;

	need_rxe();
	w = watch_open();
	ASSERT_EQ(rdma_do(NLDEV(NEWLINK), "mc0", "dummy0", ~0u), 0);
	index = expect_rdma(&w, MC_EV_RDMA_ADD, "mc0", 0);
	d = devs();
	EXPECT_EQ(d.n, 1);
	EXPECT_EQ(d.index, index);
	EXPECT_EQ(d.ports, 1);
	EXPECT_EQ(strcmp(d.name, "mc0"), 0);
	ASSERT_EQ(rdma_do(NLDEV(SET), "mc-renamed", NULL, index), 0);
	EXPECT_EQ(expect_rdma(&w, MC_EV_RDMA_RENAME, "mc-renamed", 0), index);
	link_up(false);
	EXPECT_EQ(expect_rdma(&w, MC_EV_RDMA_PORT_DOWN, "mc-renamed", 1), index);
	EXPECT_EQ(devs().up, 0);
	link_up(true);
	EXPECT_EQ(expect_rdma(&w, MC_EV_RDMA_PORT_UP, "mc-renamed", 1), index);
	EXPECT_EQ(devs().up, 1);
	ASSERT_EQ(rdma_do(NLDEV(DELLINK), NULL, NULL, index), 0);
	EXPECT_EQ(expect_rdma(&w, MC_EV_RDMA_REMOVE, "mc-renamed", 0), index);
	EXPECT_EQ(devs().n, 0);
}

static void as_nobody(void *arg)
{
	struct watch w = watch_open();

	EXPECT_EQ(write(*(int *)arg, "", 1), 1);
	expect_rdma(&w, MC_EV_RDMA_ADD, "mc0", 0);
	EXPECT_EQ(devs().n, 1);
	EXPECT_EQ(write(*(int *)arg, "", 1), 1);
}

/* Not secret: every user of /dev/mooncake hears of it. */
TEST(rdma_for_everybody)
{
	int ready[2], status;
	char c;
	pid_t pid;

	need_rxe();
	ASSERT_EQ(pipe(ready), 0);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(in_child(1001, as_nobody, &ready[1]));
	close(ready[1]);
	ASSERT_EQ(read(ready[0], &c, 1), 1);
	ASSERT_EQ(rdma_do(NLDEV(NEWLINK), "mc0", "dummy0", ~0u), 0);
	EXPECT_EQ(read(ready[0], &c, 1), 1);
	EXPECT_EQ(rdma_do(NLDEV(DELLINK), NULL, NULL, devs().index), 0);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

/* Devices come and go in a loop, with subscribers that come and go as well. */
TEST(rdma_loop)
{
	uint64_t end = now_ns() + 12000000000ull;
	struct watch w;
	uint32_t index;
	int i;

	need_rxe();
	w = watch_open();
	for (i = 0; i < 200 && now_ns() < end; i++) {
		ASSERT_EQ(rdma_do(NLDEV(NEWLINK), "mc0", "dummy0", ~0u), 0);
		index = expect_rdma(&w, MC_EV_RDMA_ADD, "mc0", 0);
		if (i % 4 == 3) {
			close(w.ctx);
			close(w.nl.fd);
			close(w.uevents);
			w = watch_open();
		}
		ASSERT_EQ(rdma_do(NLDEV(DELLINK), NULL, NULL, index), 0);
		EXPECT_EQ(expect_rdma(&w, MC_EV_RDMA_REMOVE, "mc0", 0), index);
	}
	EXPECT_GE(i, 3);
	EXPECT_EQ(w.q.ring->dropped, 0);
	printf("# %d times\n", i);
}

/* Unloading in every order that is allowed, with a device and subscribers there. */
TEST(unload_order)
{
	struct watch w;

	need_rxe();
	if (access("./mooncake_rdma.ko", F_OK))
		skip("no ./mooncake_rdma.ko to load again");
	w = watch_open();
	ASSERT_EQ(rdma_do(NLDEV(NEWLINK), "mc0", "dummy0", ~0u), 0);
	expect_rdma(&w, MC_EV_RDMA_ADD, "mc0", 0);
	EXPECT_NE(system("rmmod mooncake 2>/dev/null"), 0);
	/* The watcher goes: what it watched counts as gone. */
	ASSERT_EQ(system("rmmod mooncake_rdma"), 0);
	expect_rdma(&w, MC_EV_RDMA_REMOVE, "mc0", 0);
	EXPECT_EQ(devs().n, 0);
	ASSERT_EQ(system("insmod ./mooncake_rdma.ko"), 0);
	expect_rdma(&w, MC_EV_RDMA_ADD, "mc0", 0);
	/* The driver goes. */
	ASSERT_EQ(system("rmmod rdma_rxe"), 0);
	expect_rdma(&w, MC_EV_RDMA_REMOVE, "mc0", 0);
	EXPECT_EQ(devs().n, 0);
	ASSERT_EQ(system("modprobe rdma_rxe"), 0);
}
