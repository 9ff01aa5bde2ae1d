// SPDX-License-Identifier: GPL-2.0-only
/* The netlink family: what each command answers, to whom, malformed requests, groups, dumps while everything changes. */

#include "nl.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define LEN (64 * 1024)

static const char name[] = "nl.region";

static struct mc_ioc_cq_create new_queue(int ctx)
{
	struct mc_ioc_cq_create a = { .size = sizeof(a), .flags = MC_CQ_POST_FD, .entries = 8, .eventfd = -1,
		.fd_flags = O_RDWR | O_CLOEXEC };

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &a)), 0);
	return a;
}

struct seen { uint64_t id; int times, total; struct { struct nlmsghdr h; char body[2048]; } msg; };

static void look(void *arg, const struct nlmsghdr *h)
{
	struct seen *s = arg;

	s->total++;
	if (s->id && nl_num(h, MC_NL_A_ID) != s->id)
		return;
	s->times++;
	if (h->nlmsg_len <= sizeof(s->msg))
		memcpy(&s->msg, h, h->nlmsg_len);
}

TEST(get_info)
{
	struct mc_ioc_query q = { .size = sizeof(q) };
	struct nl nl = nl_open();
	struct seen s = { 0 };

	ASSERT_EQ(SYS(ioctl(ctx_open(), MC_IOC_QUERY, &q)), 0);
	ASSERT_EQ(nl_call(&nl, MC_NL_CMD_GET_INFO, 0, look, &s), 0);
	EXPECT_EQ(s.times, 1);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_ABI_MAJOR), MC_ABI_MAJOR);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_ABI_MINOR), MC_ABI_MINOR);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_FEATURES), q.features[0]);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_FEATURES_HIGH), q.features[1]);
	EXPECT_EQ(memcmp(nl_text(&s.msg.h, MC_NL_A_INSTANCE), q.instance, 16), 0);
	EXPECT_NE(nl.events, -1);
	EXPECT_NE(nl.rdma, -1);
}

TEST(region_get)
{
	struct nl nl = nl_open();
	struct seen s = { 0 };
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK | MC_REGION_POPULATE);

	s.id = info(r).id;
	ASSERT_EQ(nl_call(&nl, MC_NL_CMD_REGION_GET, s.id, look, &s), 0);
	EXPECT_EQ(s.times, 1);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_LENGTH), LEN);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_RESIDENT), LEN);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_PINNED), 0);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_NR_FDS), 1);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_UID), 0);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_PID), getpid());
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_STATE), 0);
	EXPECT_EQ(nl_attr(&s.msg.h, MC_NL_A_NAME) == NULL, 1);
	ASSERT_EQ(publish(r, name, 0640), 0);
	s.times = s.total = 0;
	ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_REGION_GET, look, &s), 0);
	EXPECT_EQ(s.times, 1);
	EXPECT_EQ(strcmp(nl_text(&s.msg.h, MC_NL_A_NAME), name), 0);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_MODE), 0640);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_STATE), MC_STATE_PUBLISHED);
	EXPECT_EQ(nl_attr(&s.msg.h, MC_NL_A_RESIDENT) == NULL, 1);
	EXPECT_EQ(unpublish(ctx, name, 0), 0);
}

TEST(revoke_and_rm)
{
	struct nl nl = nl_open();
	struct seen s = { 0 };
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct mc_ioc_region_open o;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	*p = 1;
	s.id = info(r).id;
	ASSERT_EQ(publish(r, name, 0600), 0);
	/* Also while somebody has the lease. */
	ASSERT_GE(open_name(ctx, name, 7, &o), 0);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_RM, s.id, NULL, NULL), 0);
	EXPECT_EQ(open_name(ctx, name, MC_ACCESS_R, &o), -ENOENT);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_RM, s.id, NULL, NULL), -ENOENT);
	EXPECT_EQ(*p, 1);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_REVOKE, s.id, look, &s), 0);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_PINNED), 0);
	EXPECT_EQ(touch(p, false), SIGBUS);
	EXPECT_EQ(info(r).state, MC_STATE_REVOKED | MC_STATE_WRITER);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_REVOKE, s.id, look, &s), 0);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_REVOKE, s.id + 1000, NULL, NULL), -ENOENT);
}

TEST(ctx_and_cq_get)
{
	struct nl nl = nl_open();
	int ctx = ctx_open();
	struct mc_ioc_cq_create q = new_queue(ctx), other = new_queue(ctx);
	struct mc_ioc_events e = { .size = sizeof(e), .cq_fd = q.out_fd, .mask = MC_EVENT_REGION };
	struct seen s = { 0 };

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_EVENTS, &e)), 0);
	ASSERT_EQ(publish(q.out_fd, name, 0222), 0);
	ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_CTX_GET, look, &s), 0);
	EXPECT_EQ(s.total, 1);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_ID), fdinfo_number(ctx, "mc-id"));
	EXPECT_EQ(fdinfo_number(ctx, "mc-events"), MC_EVENT_REGION);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_EVENT_MASK), MC_EVENT_REGION);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_PID), getpid());
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_UID), 0);
	s.total = 0;
	ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_CQ_GET, look, &s), 0);
	EXPECT_EQ(s.total, 2);
	/* The last one seen has no name. */
	EXPECT_EQ(nl_attr(&s.msg.h, MC_NL_A_NAME) == NULL, 1);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_ENTRIES), other.out_entries);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_LENGTH), other.out_ring_size);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_POSTERS), 1);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_READY), 0);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_OVERFLOW), MC_CQ_DROP_COUNT);
	s.id = nl_num(&s.msg.h, MC_NL_A_ID) - 1;
	ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_CQ_GET, look, &s), 0);
	EXPECT_EQ(strcmp(nl_text(&s.msg.h, MC_NL_A_NAME), name), 0);
	EXPECT_EQ(nl_num(&s.msg.h, MC_NL_A_MODE), 0222);
}

struct sums { uint64_t bytes, regions, queues, ctxs, quota, user_bytes, charges; int users; };

static void add_sums(void *arg, const struct nlmsghdr *h)
{
	struct sums *s = arg;

	if (nl_attr(h, MC_NL_A_UID)) {
		s->users++;
		s->user_bytes = nl_num(h, MC_NL_A_BYTES_ALLOCATED);
		s->charges = nl_num(h, MC_NL_A_CHARGES);
		return;
	}
	s->bytes = nl_num(h, MC_NL_A_BYTES_ALLOCATED);
	s->regions = nl_num(h, MC_NL_A_REGIONS);
	s->queues = nl_num(h, MC_NL_A_QUEUES);
	s->ctxs = nl_num(h, MC_NL_A_CONTEXTS);
	s->quota = nl_num(h, MC_NL_A_QUOTA);
}

TEST(stats_get)
{
	struct nl nl = nl_open();
	struct sums s = { 0 };
	int ctx = ctx_open();
	struct mc_ioc_cq_create q = new_queue(ctx);

	region(ctx, LEN, 0);
	region(ctx, LEN, 0);
	ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_STATS_GET, add_sums, &s), 0);
	EXPECT_EQ(s.regions, 2);
	EXPECT_EQ(s.queues, 1);
	EXPECT_EQ(s.ctxs, 1);
	EXPECT_EQ(s.bytes, 2 * LEN + q.out_ring_size);
	EXPECT_EQ(s.users, 1);
	EXPECT_EQ(s.user_bytes, s.bytes);
	EXPECT_EQ(s.charges, 3);
	EXPECT_EQ(s.quota, sysfs_number("quota_default"));
}

TEST(malformed)
{
	const uint8_t no_attr[] = { MC_NL_CMD_GET_INFO, MC_NL_CMD_CTX_GET, MC_NL_CMD_CQ_GET, MC_NL_CMD_RDMA_DEV_GET,
		MC_NL_CMD_STATS_GET, MC_NL_CMD_REGION_GET };
	const uint8_t with_id[] = { MC_NL_CMD_REGION_GET, MC_NL_CMD_REGION_REVOKE, MC_NL_CMD_REGION_RM };
	struct nl nl = nl_open();
	int r = region(ctx_open(), LEN, MC_REGION_PERSIST_OK);
	uint64_t id = info(r).id;
	struct nl_msg m;
	size_t i;

	ASSERT_EQ(publish(r, name, 0600), 0);
	/* Attributes where none belongs. */
	for (i = 0; i < ARRAY_SIZE(no_attr); i++) {
		m = nl_msg(nl.family, no_attr[i], i ? NLM_F_DUMP : 0);
		nl_put(&m, MC_NL_A_ID, &id, 8);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, no_attr[i], i ? NLM_F_DUMP : 0);
		nl_put(&m, MC_NL_A_NAME, "x", 2);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(with_id); i++) {
		EXPECT_EQ(nl_call(&nl, with_id[i], 0, NULL, NULL), -EINVAL);
		EXPECT_EQ(nl_call(&nl, with_id[i], ~0ull, NULL, NULL), -ENOENT);
		EXPECT_EQ(nl_call(&nl, with_id[i], id + 100, NULL, NULL), -ENOENT);
		/* Too short, too long, cut off, another type, an unknown one, rubbish behind it, nested. */
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID, &id, 4);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID, (char[12]){ 0 }, 12);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID, &id, 8)->nla_len = 40;
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID, &id, 8)->nla_len = 3;
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID, &id, 8);
		nl_put(&m, MC_NL_A_MAX + 7, &id, 8);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_UNSPEC, &id, 8);
		nl_put(&m, MC_NL_A_ID, &id, 8);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID, &id, 8);
		m.h.nlmsg_len += 2;
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		m = nl_msg(nl.family, with_id[i], 0);
		nl_put(&m, MC_NL_A_ID | NLA_F_NESTED, &id, 8);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
		/* The reserved half of the header. */
		m = nl_msg(nl.family, with_id[i], 0);
		m.g.reserved = 1;
		nl_put(&m, MC_NL_A_ID, &id, 8);
		EXPECT_EQ(nl_talk(&nl, &m, NULL, NULL), -EINVAL);
	}
	/* Nothing of all that did anything. */
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED);
	EXPECT_EQ(unpublish(ctx_open(), name, 0), 0);
}

TEST(unknown_commands)
{
	const uint8_t none[] = { 0, MC_NL_CMD_GRANT_GET, MC_NL_CMD_POOL_SET, MC_NL_CMD_EVENT, MC_NL_CMD_MAX + 1, 255 };
	const uint8_t only_dump[] = { MC_NL_CMD_CTX_GET, MC_NL_CMD_CQ_GET, MC_NL_CMD_RDMA_DEV_GET, MC_NL_CMD_STATS_GET };
	const uint8_t only_do[] = { MC_NL_CMD_GET_INFO, MC_NL_CMD_REGION_REVOKE, MC_NL_CMD_REGION_RM };
	struct nl nl = nl_open();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(none); i++) {
		EXPECT_EQ(nl_call(&nl, none[i], 0, NULL, NULL), -EOPNOTSUPP);
		EXPECT_EQ(nl_dump(&nl, none[i], NULL, NULL), -EOPNOTSUPP);
	}
	for (i = 0; i < ARRAY_SIZE(only_dump); i++)
		EXPECT_EQ(nl_call(&nl, only_dump[i], 0, NULL, NULL), -EOPNOTSUPP);
	for (i = 0; i < ARRAY_SIZE(only_do); i++)
		EXPECT_EQ(nl_dump(&nl, only_do[i], NULL, NULL), -EOPNOTSUPP);
}

struct theirs { uint64_t id, own; };

static void stranger(void *arg)
{
	struct nl nl = nl_open();
	struct theirs *t = arg;
	struct seen s = { 0 };
	struct sums sums = { 0 };
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct mc_ioc_cq_create q = new_queue(ctx);

	/* Of others nothing, not even that it is there; of one's own everything. */
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_GET, t->id, NULL, NULL), -ENOENT);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_GET, info(r).id, look, &s), 0);
	EXPECT_EQ(s.times, 1);
	s.total = 0;
	EXPECT_EQ(nl_dump(&nl, MC_NL_CMD_REGION_GET, look, &s), 0);
	EXPECT_EQ(s.total, 1);
	s.total = 0;
	EXPECT_EQ(nl_dump(&nl, MC_NL_CMD_CQ_GET, look, &s), 0);
	EXPECT_EQ(s.total, 1);
	s.total = 0;
	EXPECT_EQ(nl_dump(&nl, MC_NL_CMD_CTX_GET, look, &s), 0);
	EXPECT_EQ(s.total, 1);
	EXPECT_EQ(nl_dump(&nl, MC_NL_CMD_STATS_GET, add_sums, &sums), 0);
	EXPECT_EQ(sums.users, 1);
	EXPECT_EQ(sums.user_bytes, LEN + q.out_ring_size);
	EXPECT_EQ(nl_dump(&nl, MC_NL_CMD_RDMA_DEV_GET, NULL, NULL), 0);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_GET_INFO, 0, NULL, NULL), 0);
	/* Administrators' commands, also for what is one's own: there are calls for that. */
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_REVOKE, t->id, NULL, NULL), -EPERM);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_RM, t->id, NULL, NULL), -EPERM);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_REVOKE, ~0ull, NULL, NULL), -EPERM);
	EXPECT_EQ(nl_call(&nl, MC_NL_CMD_REGION_REVOKE, info(r).id, NULL, NULL), -EPERM);
	EXPECT_EQ(nl_join(&nl, nl.events), -EPERM);
	EXPECT_EQ(nl_join(&nl, nl.rdma), 0);
}

TEST(visibility)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct theirs t = { .id = info(r).id };

	new_queue(ctx);
	ASSERT_EQ(publish(r, name, 0666), 0);
	EXPECT_EQ(in_child(1001, stranger, &t), 0);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED);
	EXPECT_EQ(unpublish(ctx, name, 0), 0);
}

static int passed[2];

static void read_passed(void *arg)
{
	char buf[8192];
	struct seen *s = arg;
	ssize_t n = recv(passed[0], buf, sizeof(buf), MSG_DONTWAIT);
	struct nlmsghdr *h;

	/* The dump goes on in this process; what comes is the sender's all the same. */
	while (n > 0) {
		for (h = (struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				_exit(s->total != 40);
			s->total++;
		}
		n = recv(passed[0], buf, sizeof(buf), 0);
	}
	_exit(3);
}

static void start_dump(void *arg)
{
	struct nl nl = *(struct nl *)arg;
	struct nl_msg m = nl_msg(nl.family, MC_NL_CMD_REGION_GET, NLM_F_DUMP);
	int i, ctx = ctx_open();
	struct seen s = { 0 };

	for (i = 0; i < 40; i++)
		region(ctx, 4096, 0);
	m.h.nlmsg_seq = 1;
	ASSERT_EQ(send(nl.fd, &m, m.h.nlmsg_len, 0), m.h.nlmsg_len);
	/* Read by another user, who has regions of his own. */
	passed[0] = nl.fd;
	EXPECT_EQ(in_child(0, read_passed, &s), 0);
}

/* A socket opened by root and used by 1001 shows what is 1001's. */
TEST(dump_is_the_senders)
{
	struct nl nl = nl_open();
	int ctx = ctx_open();

	region(ctx, LEN, 0);
	EXPECT_EQ(in_child(1001, start_dump, &nl), 0);
}

static const struct nlmsghdr *expect_event(struct nl *nl, char *buf, size_t size, uint32_t what)
{
	const struct nlmsghdr *h = nl_event(nl, buf, size);

	if (!h) {
		FAIL("no event %u: %s", what, strerror(errno));
		exit(1);
	}
	EXPECT_EQ(((const struct genlmsghdr *)NLMSG_DATA(h))->cmd, MC_NL_CMD_EVENT);
	EXPECT_EQ(nl_num(h, MC_NL_A_EVENT), what);
	return h;
}

static void over_quota(void *arg)
{
	struct mc_ioc_region_create a = CREATE(.length = 1ull << 40);

	(void)arg;
	EXPECT_EQ(SYS(ioctl(ctx_open(), MC_IOC_REGION_CREATE, &a)), -EDQUOT);
}

TEST(events)
{
	char buf[8192] __attribute__((aligned(8)));
	struct nl nl = nl_open();
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct mc_ioc_region_open o;
	const struct nlmsghdr *h;
	uint64_t id = info(r).id;

	ASSERT_EQ(nl_join(&nl, nl.events), 0);
	ASSERT_EQ(publish(r, name, 0600), 0);
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_PUBLISHED);
	EXPECT_EQ(nl_num(h, MC_NL_A_ID), id);
	EXPECT_EQ(strcmp(nl_text(h, MC_NL_A_NAME), name), 0);
	EXPECT_EQ(nl_num(h, MC_NL_A_UID), 0);
	close(open_name(ctx, name, 7, &o));
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_LEASE_DIRTY);
	EXPECT_EQ(nl_num(h, MC_NL_A_EPOCH), 1);
	EXPECT_EQ(unpublish(ctx, name, 0), 0);
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_UNPUBLISHED);
	EXPECT_EQ(strcmp(nl_text(h, MC_NL_A_NAME), name), 0);
	ASSERT_EQ(revoke_region(r), 0);
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_REVOKED);
	EXPECT_EQ(nl_num(h, MC_NL_A_ID), id);
	id = new_queue(ctx).out_fd;
	ASSERT_EQ(publish(id, name, 0200), 0);
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_QUEUE_PUBLISHED);
	EXPECT_EQ(strcmp(nl_text(h, MC_NL_A_NAME), name), 0);
	close(id);
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_QUEUE_UNPUBLISHED);
	EXPECT_EQ(strcmp(nl_text(h, MC_NL_A_NAME), name), 0);
	EXPECT_EQ(in_child(1001, over_quota, NULL), 0);
	h = expect_event(&nl, buf, sizeof(buf), MC_EV_QUOTA);
	EXPECT_EQ(nl_num(h, MC_NL_A_UID), 1001);
	EXPECT_EQ(nl_num(h, MC_NL_A_LENGTH), 1ull << 40);
	EXPECT_EQ(nl_num(h, MC_NL_A_QUOTA), sysfs_number("quota_default"));
}

/* Somebody who only asks for refusals does not drown the listeners. */
TEST(quota_events_are_few)
{
	char buf[8192] __attribute__((aligned(8)));
	struct timeval now = { .tv_usec = 1000 };
	struct nl nl = nl_open();
	int i, n = 0;

	ASSERT_EQ(nl_join(&nl, nl.events), 0);
	for (i = 0; i < 60; i++)
		EXPECT_EQ(in_child(1001, over_quota, NULL), 0);
	setsockopt(nl.fd, SOL_SOCKET, SO_RCVTIMEO, &now, sizeof(now));
	while (nl_event(&nl, buf, sizeof(buf)))
		n++;
	EXPECT_GE(n, 1);
	printf("# %d events\n", n);
}

static volatile int stop;

static void *churn(void *arg)
{
	int ctx = ctx_open(), fds[8], i, n = (int)(intptr_t)arg;
	struct mc_ioc_cq_create q;
	char text[32];

	while (!stop) {
		for (i = 0; i < 8; i++) {
			fds[i] = region(ctx, 4096, MC_REGION_PERSIST_OK);
			snprintf(text, sizeof(text), "churn.%d.%d", n, i);
			publish(fds[i], text, 0600);
		}
		q = new_queue(ctx);
		close(q.out_post_fd);
		for (i = 0; i < 8; i++) {
			snprintf(text, sizeof(text), "churn.%d.%d", n, i);
			unpublish(ctx, text, 0);
			close(fds[i]);
		}
		close(q.out_fd);
		close(ctx);
		ctx = ctx_open();
	}
	close(ctx);
	return NULL;
}

struct order { uint64_t last; int bad, keep; uint64_t ids[64]; };

static void in_order(void *arg, const struct nlmsghdr *h)
{
	uint64_t id = nl_num(h, MC_NL_A_ID);
	struct order *o = arg;
	int i;

	o->bad += id <= o->last;
	o->last = id;
	for (i = 0; i < 64; i++)
		o->keep += o->ids[i] == id;
}

/* Dumps while everything comes and goes: each object once, in order, and none of those that stay left out. */
TEST(dump_under_churn)
{
	struct nl nl = nl_open();
	struct order all = { 0 }, o;
	int ctx = ctx_open(), i, dumps = 0;
	pthread_t t[2];
	time_t end = time(NULL) + 4;

	for (i = 0; i < 64; i++)
		all.ids[i] = info(region(ctx, 4096, 0)).id;
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, churn, (void *)(intptr_t)i);
	while (time(NULL) < end) {
		o = all;
		ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_REGION_GET, in_order, &o), 0);
		EXPECT_EQ(o.bad, 0);
		EXPECT_EQ(o.keep, 64);
		o = all;
		ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_CQ_GET, in_order, &o), 0);
		EXPECT_EQ(o.bad, 0);
		o = all;
		ASSERT_EQ(nl_dump(&nl, MC_NL_CMD_CTX_GET, in_order, &o), 0);
		EXPECT_EQ(o.bad, 0);
		dumps++;
	}
	stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	EXPECT_GE(dumps, 1);
	printf("# %d times three dumps\n", dumps);
}

/* A dump that is started and never read holds nothing that matters. */
TEST(dump_abandoned)
{
	struct nl nl = nl_open();
	struct nl_msg m = nl_msg(nl.family, MC_NL_CMD_REGION_GET, NLM_F_DUMP);
	int ctx = ctx_open(), i;

	for (i = 0; i < 200; i++)
		region(ctx, 4096, 0);
	ASSERT_EQ(send(nl.fd, &m, m.h.nlmsg_len, 0), m.h.nlmsg_len);
	close(nl.fd);
}

TEST(quota_default_is_writable)
{
	long before = sysfs_number("quota_default");
	int fd = open("/sys/class/misc/mooncake/quota_default", O_WRONLY);
	struct mc_ioc_query q = { .size = sizeof(q) };

	ASSERT_GE(fd, 0);
	EXPECT_EQ(SYS(write(fd, "1048576\n", 8)), 8);
	EXPECT_EQ(sysfs_number("quota_default"), 1048576);
	EXPECT_EQ(SYS(write(fd, "nonsense", 8)), -EINVAL);
	EXPECT_EQ(SYS(write(fd, "-1", 2)), -EINVAL);
	EXPECT_EQ(SYS(write(fd, "99999999999999999999", 20)), -ERANGE);
	EXPECT_EQ(sysfs_number("quota_default"), 1048576);
	EXPECT_EQ(SYS(write(fd, "0", 1)), 1);
	EXPECT_EQ(sysfs_number("quota_default"), before);
	EXPECT_EQ(SYS(ioctl(ctx_open(), MC_IOC_QUERY, &q)), 0);
}

TEST(bytes_pinned)
{
	char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mc_ioc_region_pin a = { .size = sizeof(a), .addr = UPTR(p), .length = LEN, .fd_flags = O_RDWR };

	EXPECT_EQ(sysfs_number("bytes_pinned"), 0);
	ASSERT_EQ(SYS(ioctl(ctx_open(), MC_IOC_REGION_PIN, &a)), 0);
	EXPECT_EQ(sysfs_number("bytes_pinned"), LEN);
	close(a.out_fd);
	EXPECT_EQ(sysfs_number("bytes_pinned"), 0);
}
