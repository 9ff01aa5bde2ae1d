/* SPDX-License-Identifier: GPL-2.0-only */
/* Generic netlink by hand, so that messages can be malformed on purpose. */
#ifndef MC_NL_H
#define MC_NL_H

#include "harness.h"

#include <linux/genetlink.h>
#include <linux/mooncake_netlink.h>
#include <linux/netlink.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

struct nl {
	int fd;
	uint32_t seq;
	uint16_t family;
	int events, rdma;		/* group numbers */
};

struct nl_msg {
	struct nlmsghdr h;
	struct genlmsghdr g;
	char body[240];
};

static inline struct nlattr *nl_put(struct nl_msg *m, uint16_t type, const void *data, uint16_t len)
{
	struct nlattr *a = (struct nlattr *)((char *)m + NLMSG_ALIGN(m->h.nlmsg_len));

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy((char *)a + NLA_HDRLEN, data, len);
	m->h.nlmsg_len = NLMSG_ALIGN(m->h.nlmsg_len) + NLA_ALIGN(a->nla_len);
	return a;
}

static inline struct nl_msg nl_msg(uint16_t family, uint8_t cmd, uint16_t flags)
{
	return (struct nl_msg){ .h = { .nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN), .nlmsg_type = family,
		.nlmsg_flags = NLM_F_REQUEST | flags }, .g = { .cmd = cmd, .version = 1 } };
}

static inline const struct nlattr *nl_attr(const struct nlmsghdr *h, int type)
{
	const char *p = (const char *)h + NLMSG_LENGTH(GENL_HDRLEN), *end = (const char *)h + h->nlmsg_len;
	const struct nlattr *a;

	for (; p + NLA_HDRLEN <= end; p += NLA_ALIGN(a->nla_len)) {
		a = (const struct nlattr *)p;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
	}
	return NULL;
}

/* ~0 when it is not there. */
static inline uint64_t nl_num(const struct nlmsghdr *h, int type)
{
	const struct nlattr *a = nl_attr(h, type);
	uint64_t n64;
	uint32_t n32;

	if (!a)
		return ~0ull;
	memcpy(&n32, a + 1, 4);
	if (a->nla_len < NLA_HDRLEN + 8)
		return n32;
	memcpy(&n64, a + 1, 8);
	return n64;
}

static inline const char *nl_text(const struct nlmsghdr *h, int type)
{
	const struct nlattr *a = nl_attr(h, type);

	return a ? (const char *)(a + 1) : "";
}

typedef void nl_each(void *arg, const struct nlmsghdr *h);

/* Sends @m and calls @fn for what comes back; 0 or the kernel's negative errno. */
static inline long nl_talk(struct nl *nl, struct nl_msg *m, nl_each *fn, void *arg)
{
	char buf[32768] __attribute__((aligned(8)));
	struct nlmsghdr *h;
	ssize_t n;
	int err;

	m->h.nlmsg_flags |= m->h.nlmsg_flags & NLM_F_DUMP ? 0 : NLM_F_ACK;
	m->h.nlmsg_seq = ++nl->seq;
	if (send(nl->fd, m, m->h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		n = recv(nl->fd, buf, sizeof(buf), 0);
		if (n < 0)
			return -errno;
		for (h = (struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_seq != nl->seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
				memcpy(&err, NLMSG_DATA(h), sizeof(err));
				return err;
			}
			if (fn)
				fn(arg, h);
		}
	}
}

static inline void nl_found(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *groups = nl_attr(h, CTRL_ATTR_MCAST_GROUPS), *g, *a;
	struct nl *nl = arg;
	const char *p, *q;
	const char *name;
	uint32_t id;

	nl->family = nl_num(h, CTRL_ATTR_FAMILY_ID);
	if (!groups)
		return;
	for (p = (const char *)(groups + 1); p < (const char *)groups + groups->nla_len; p += NLA_ALIGN(g->nla_len)) {
		g = (const struct nlattr *)p;
		name = "";
		id = 0;
		for (q = p + NLA_HDRLEN; q < p + g->nla_len; q += NLA_ALIGN(a->nla_len)) {
			a = (const struct nlattr *)q;
			if (a->nla_type == CTRL_ATTR_MCAST_GRP_NAME)
				name = (const char *)(a + 1);
			else
				memcpy(&id, a + 1, 4);
		}
		if (!strcmp(name, MC_NL_GROUP_EVENTS))
			nl->events = id;
		else if (!strcmp(name, MC_NL_GROUP_RDMA))
			nl->rdma = id;
	}
}

static inline struct nl nl_open(void)
{
	struct timeval limit = { .tv_sec = 5 };
	struct nl nl = { .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC), .events = -1, .rdma = -1 };
	struct nl_msg m = nl_msg(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);

	ASSERT_GE(nl.fd, 0);
	setsockopt(nl.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	nl_put(&m, CTRL_ATTR_FAMILY_NAME, MC_NL_FAMILY, sizeof(MC_NL_FAMILY));
	ASSERT_EQ(nl_talk(&nl, &m, nl_found, &nl), 0);
	ASSERT_NE(nl.family, 0);
	return nl;
}

static inline long nl_join(struct nl *nl, int group)
{
	return SYS(setsockopt(nl->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)));
}

/* The next event, into @buf; NULL when none comes. */
static inline const struct nlmsghdr *nl_event(struct nl *nl, char *buf, size_t size)
{
	ssize_t n = recv(nl->fd, buf, size, 0);

	return n >= (ssize_t)NLMSG_LENGTH(GENL_HDRLEN) ? (const struct nlmsghdr *)buf : NULL;
}

/* A command with an id, or with none when @id is 0. */
static inline long nl_call(struct nl *nl, uint8_t cmd, uint64_t id, nl_each *fn, void *arg)
{
	struct nl_msg m = nl_msg(nl->family, cmd, 0);

	if (id)
		nl_put(&m, MC_NL_A_ID, &id, sizeof(id));
	return nl_talk(nl, &m, fn, arg);
}

static inline long nl_dump(struct nl *nl, uint8_t cmd, nl_each *fn, void *arg)
{
	struct nl_msg m = nl_msg(nl->family, cmd, NLM_F_DUMP);

	return nl_talk(nl, &m, fn, arg);
}

#endif /* MC_NL_H */
