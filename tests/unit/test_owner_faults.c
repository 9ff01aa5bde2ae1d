// SPDX-License-Identifier: Apache-2.0
/* The owner when clients die, stop, leave without a word or come a thousand times; and how long telling a master takes. */
#include <dirent.h>
#include <grp.h>
#include <linux/filter.h>
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>

#include "owner_rig.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW_BUILD 1
#else
#define SLOW_BUILD 0
#endif

/* ---- a client in a process of its own ---- */

struct child {
	pid_t pid;
	int to, from; /* pipes */
};

/* What the child does once it knows where the owner is; it says so with one byte and then waits for its end. */
static int child_work(const char *addr, bool commit_one)
{
	struct tc c;
	int ret = tc_open(&c, addr);

	if (!ret && commit_one)
		ret = tc_put(&c, "committed", "bytes", 5, 0);
	if (!ret)
		ret = tc_grant(&c, 1 * MiB);
	if (!ret && commit_one) {
		uint8_t full[FULL_KEY_MAX];
		struct key key = full_key("unfinished", full);
		struct publish_item it;
		struct extents x;

		ret = tc_fill(&c, &key, "half", 4, 0, &x, &it);
	}
	return ret;
}

/* Forked before the test has any thread. */
static int child_start(struct child *ch, bool commit_one)
{
	char addr[NET_ADDR_TEXT];
	int to[2], from[2];
	char ok;

	if (pipe(to) || pipe(from))
		return -errno;
	ch->pid = fork();
	if (ch->pid < 0)
		return -errno;
	if (!ch->pid) {
		close(to[1]);
		close(from[0]);
		if (read(to[0], addr, sizeof(addr)) != sizeof(addr))
			_exit(1);
		ok = child_work(addr, commit_one) ? 'n' : 'y';
		if (write(from[1], &ok, 1) != 1 || read(to[0], addr, 1))
			_exit(1);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	ch->to = to[1];
	ch->from = from[0];
	return 0;
}

static bool child_go(struct child *ch, const char *path)
{
	char addr[NET_ADDR_TEXT] = { 0 }, ok = 0;

	snprintf(addr, sizeof(addr), "%s", path);
	return write(ch->to, addr, sizeof(addr)) == sizeof(addr) && read(ch->from, &ok, 1) == 1 && ok == 'y';
}

static void child_end(struct child *ch)
{
	kill(ch->pid, SIGKILL);
	waitpid(ch->pid, NULL, 0);
	close(ch->to);
	close(ch->from);
}

TEST(killed_in_the_middle_of_a_put)
{
	struct child ch;
	struct found f;
	struct pool_stat st;
	struct rig r;

	ASSERT_EQ(child_start(&ch, true), 0);
	ASSERT_EQ(rig_open(&r, 8 * MiB), 0);
	EXPECT_TRUE(child_go(&ch, owner_unix_path(r.ow)));
	owner_stat(r.ow, &st);
	EXPECT_GT(st.granted, 500 * KiB);
	child_end(&ch);
	EXPECT_TRUE(rig_granted(&r, 0));
	EXPECT_EQ(view_check(&r.c.v, "committed", "bytes", 5), 0);
	EXPECT_EQ(view_find(&r.c.v, "unfinished", &f), -ENOENT);
	rig_close(&r);
}

TEST(stopped_client_keeps_its_space)
{
	struct child ch;
	struct pool_stat st;
	char data[4096] = { 0 }, name[32];
	struct rig r;

	ASSERT_EQ(child_start(&ch, false), 0);
	ASSERT_EQ(rig_open(&r, 2 * MiB), 0);
	EXPECT_TRUE(child_go(&ch, owner_unix_path(r.ow)));
	kill(ch.pid, SIGSTOP);
	for (int i = 0; i < 600; i++) { /* more than the pool holds: eviction must not reach what is granted */
		snprintf(name, sizeof(name), "n%d", i);
		ASSERT_EQ(tc_put(&r.c, name, data, sizeof(data), 0), 0);
	}
	EXPECT_EQ(tc_return(&r.c), 0);
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.granted, 1 * MiB);
	kill(ch.pid, SIGKILL); /* a stopped process dies too */
	EXPECT_TRUE(rig_granted(&r, 0));
	child_end(&ch);
	rig_close(&r);
}

TEST(space_outlives_the_stream_of_a_living_process)
{
	struct pool_stat st;
	struct tc a, b;
	struct rig r;
	uint64_t end = soon();
	struct buf json = BUF_INIT;

	ASSERT_EQ(rig_open(&r, 8 * MiB), 0);
	ASSERT_EQ(tc_open(&a, owner_unix_path(r.ow)), 0);
	ASSERT_EQ(tc_open(&b, owner_unix_path(r.ow)), 0);
	ASSERT_EQ(tc_grant(&a, 1 * MiB), 0);
	ASSERT_EQ(tc_grant(&b, 1 * MiB), 0);
	tc_close(&a); /* no RETURN: a thread of this process may still be writing there */
	do {
		buf_reset(&json);
		owner_status_json(r.ow, &json);
		buf_put(&json, "", 1);
	} while (!strstr((char *)json.data, "\"left_with_space\":1") && !deadline_passed(end));
	EXPECT_TRUE(strstr((char *)json.data, "\"left_with_space\":1"));
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.granted, 2 * MiB);
	EXPECT_EQ(tc_return(&b), 0); /* the other attachment of the process is another matter */
	tc_close(&b);
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.granted, 1 * MiB);
	buf_fini(&json);
	tc_close(&r.c);
	EXPECT_EQ(owner_close(r.ow, deadline_after_ms(50)), -EBUSY);
	fake_close(&r.master);
}

TEST(close_waits_for_what_is_granted)
{
	struct rig r;
	char byte;

	ASSERT_EQ(rig_open(&r, 8 * MiB), 0);
	ASSERT_EQ(tc_grant(&r.c, 1 * MiB), 0);
	EXPECT_EQ(tc_return(&r.c), 0);
	EXPECT_EQ(owner_close(r.ow, soon()), 0);
	EXPECT_TRUE(view_dead(&r.c.v));
	EXPECT_EQ(read(mux_fd(r.c.m), &byte, 1), 0);
	tc_close(&r.c);
	fake_close(&r.master);
}

TEST(silent_master_is_given_up_in_time)
{
	uint64_t began, took;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	ASSERT_EQ(tc_grant(&r.c, 64 * KiB), 0);
	r.master.hold = true;
	began = clock_now_ns();
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), -ENOTCONN);
	took = clock_now_ns() - began;
	EXPECT_GE(took, OWNER_PUBLISH_NS);
	EXPECT_LT(took, OWNER_PUBLISH_NS + 2 * NSEC_PER_SEC);
	EXPECT_TRUE(fake_wait(&r.master, joins, 2)); /* another connection may find it awake */
	rig_close(&r);
}

/* ---- who may come in ---- */

/* A stranger's HELLO: the status, as a byte over @to. */
static void stranger(int from, int to, gid_t group)
{
	char addr[NET_ADDR_TEXT];
	struct tc c;
	int ret;

	if (setgroups(1, &group) || setgid(65534) || setuid(65534) || read(from, addr, sizeof(addr)) != sizeof(addr))
		_exit(1);
	ret = tc_connect(&c, addr);
	if (!ret)
		ret = tc_hello(&c);
	ret = -ret;
	if (write(to, &ret, sizeof(ret)) != sizeof(ret))
		_exit(1);
	_exit(0);
}

static int ask_stranger(gid_t member_of, gid_t let_in)
{
	struct owner_opts o = { .pool_opts = { .bytes = 2 * MiB }, .group = let_in };
	int to[2], from[2], ret = -1;
	char addr[NET_ADDR_TEXT] = { 0 };
	struct rig r;
	pid_t pid;

	if (pipe(to) || pipe(from))
		return -1;
	pid = fork();
	if (!pid)
		stranger(to[0], from[1], member_of);
	close(from[1]);
	if (!rig_open_opts(&r, &o, true)) {
		snprintf(addr, sizeof(addr), "%s", owner_unix_path(r.ow));
		if (write(to[1], addr, sizeof(addr)) != sizeof(addr) || read(from[0], &ret, sizeof(ret)) != sizeof(ret))
			ret = -1;
		rig_close(&r);
	}
	waitpid(pid, NULL, 0);
	close(to[0]);
	close(to[1]);
	close(from[0]);
	return ret;
}

TEST(strangers_stay_outside)
{
	if (geteuid())
		SKIP("only root can be two users");
	EXPECT_EQ(ask_stranger(4242, 0), EPERM);
	EXPECT_EQ(ask_stranger(4242, 4243), EPERM);
	EXPECT_EQ(ask_stranger(4242, 4242), 0);
}

/* ---- the next owner ---- */

/* A crash is what a test cannot do to itself: the first owner's memory is adopted while that owner still thinks it has it. */
TEST(next_owner_leaves_alone_what_is_granted)
{
	struct owner_opts o = { .pool_opts = { .bytes = 4 * MiB } };
	uint64_t kept, lost;
	struct pool_stat st;
	struct child ch;
	struct owner *next;
	struct pool *p;
	struct pool_view const *v;
	struct tc c;
	char name[16], data[4096] = { 0 };
	int ret = 0, fd;
	struct rig r;

	ASSERT_EQ(child_start(&ch, true), 0);
	ASSERT_EQ(owner_ledger_create(&fd), 0);
	o.ledger_fd = fd;
	ASSERT_EQ(rig_open_opts(&r, &o, true), 0);
	ASSERT_EQ(tc_grant(&r.c, 1 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "mine", "bytes", 5, 0), 0);
	EXPECT_TRUE(child_go(&ch, owner_unix_path(r.ow)));
	kill(ch.pid, SIGSTOP);
	v = owner_view(r.ow);
	ASSERT_EQ(pool_adopt(dup(v->dir_region.fd), (int[]){ dup(v->region[0].fd) }, 1, NULL, &p, &kept, &lost), 0);
	EXPECT_EQ(kept, 2u);

	o.pool = p;
	o.master = r.master.addr;
	o.unix_path = "unix:@mc-test-next-owner";
	ASSERT_EQ(owner_open(&o, &next), 0);
	EXPECT_EQ(owner_joined(next, soon()), 0);
	owner_stat(next, &st);
	EXPECT_GE(st.granted, 2 * MiB - 64 * KiB); /* this process's and the child's, but for what they committed */
	EXPECT_LT(st.granted, 2 * MiB + 128 * KiB);
	ASSERT_EQ(tc_open(&c, o.unix_path), 0);
	for (int i = 0; i < 2000 && !ret; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		ret = tc_put(&c, name, data, sizeof(data), 0);
	}
	EXPECT_EQ(ret, 0);
	for (size_t i = 0; i < r.c.runs[0].count; i++) { /* nobody wrote there */
		const struct extent_hdr *h = (void *)((char *)v->region[0].base + r.c.runs[0].r[i].off);

		EXPECT_TRUE(h->gen == 0);
	}
	EXPECT_EQ(tc_return(&c), 0);
	tc_close(&c);
	child_end(&ch);
	owner_stat(next, &st);
	for (uint64_t end = soon(); st.granted > 1 * MiB && !deadline_passed(end);)
		owner_stat(next, &st);
	EXPECT_LE(st.granted, 1 * MiB);
	EXPECT_EQ(owner_close(next, deadline_after_ms(50)), -EBUSY); /* this process lives */
	rig_close(&r);
	close(fd);
}

/* ---- nothing is left behind ---- */

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned nr = 0;

	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr;
}

static void attach_cycles(struct rig *r, int nr)
{
	for (int i = 0; i < nr; i++) {
		struct tc c;
		char name[16];

		snprintf(name, sizeof(name), "c%d", i % 10);
		ASSERT_EQ(tc_open(&c, owner_unix_path(r->ow)), 0);
		if (i % 3 == 0) {
			ASSERT_EQ(tc_grant(&c, 64 * KiB), 0);
			tc_put(&c, name, "x", 1, 0);
			ASSERT_EQ(tc_return(&c), 0);
		}
		tc_close(&c);
	}
}

static bool alone_again(struct rig *r)
{
	struct buf b = BUF_INIT;
	uint64_t end = soon();
	bool ok;

	do {
		buf_reset(&b);
		owner_status_json(r->ow, &b);
		buf_put(&b, "", 1);
		ok = strstr((char *)b.data, "\"clients\":{\"all\":1,");
	} while (!ok && !deadline_passed(end));
	buf_fini(&b);
	return ok;
}

TEST(a_thousand_attachments_leave_nothing)
{
	struct pool_stat before, after;
	unsigned fds;
	size_t bytes;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 8 * MiB), 0);
	attach_cycles(&r, 50);
	EXPECT_TRUE(alone_again(&r));
	fds = count_fds();
	owner_stat(r.ow, &before);
	bytes = mallinfo2().uordblks;
	attach_cycles(&r, 1000);
	EXPECT_TRUE(alone_again(&r));
	EXPECT_EQ(count_fds(), fds);
	owner_stat(r.ow, &after);
	EXPECT_EQ(after.granted, before.granted);
	EXPECT_EQ(after.used, before.used);
	if (!SLOW_BUILD)
		EXPECT_LT(mallinfo2().uordblks, bytes + 64 * KiB);
	rig_close(&r);
}

/* ---- refilling ---- */

static int fill_pool(struct pool *p, unsigned nr)
{
	char name[32];
	uint8_t full[FULL_KEY_MAX];

	for (unsigned i = 0; i < nr; i++) {
		struct publish_item it;
		struct staged *s;
		struct extents x;
		struct iovec src = { name, 8 };
		int ret;

		snprintf(name, sizeof(name), "key-%019u", i); /* 23 bytes, 24 with the tenant's length */
		it.key = full_key(name, full);
		ret = pool_alloc(p, 8, it.key.len, &x);
		if (ret)
			return ret;
		x.put_id = i + 1;
		extents_fill(pool_view(p), &x, &it.key, 0, &src, 1);
		it = (struct publish_item){ .key = it.key, .put_id = i + 1, .size = 8, .loc = extents_loc(&x) };
		ret = pool_stage_own(p, &x, &it, &s);
		if (ret)
			return ret;
		pool_publish(p, s);
	}
	return 0;
}

TEST(a_million_objects_are_told_in_time)
{
	const unsigned nr = SLOW_BUILD ? 20000 : 1000000;
	struct owner_opts o = { 0 };
	struct pool_opts po = { .bytes = nr * 128ull + 1 * MiB, .entries = nr };
	uint64_t began, ms;
	struct rig r;

	ASSERT_EQ(pool_create(&po, &o.pool), 0);
	ASSERT_EQ(fill_pool(o.pool, nr), 0);
	began = clock_now_ns();
	ASSERT_EQ(rig_open_opts(&r, &o, true), 0);
	ms = (clock_now_ns() - began) / NSEC_PER_MSEC;
	printf("# %u objects told in %llu ms\n", nr, (unsigned long long)ms);
	EXPECT_EQ(r.master.items, nr);
	if (!SLOW_BUILD)
		EXPECT_LT(ms, 2000u);
	rig_close(&r);
}

/* A client that is served while a refill goes on. */
TEST(commits_go_on_during_a_refill)
{
	const unsigned nr = SLOW_BUILD ? 20000 : 300000;
	struct owner_opts o = { 0 };
	struct pool_opts po = { .bytes = nr * 128ull + 4 * MiB, .entries = nr + 1000 };
	uint64_t began, worst = 0;
	char name[32];
	struct rig r;

	ASSERT_EQ(pool_create(&po, &o.pool), 0);
	ASSERT_EQ(fill_pool(o.pool, nr), 0);
	ASSERT_EQ(rig_open_opts(&r, &o, true), 0);
	ASSERT_EQ(tc_grant(&r.c, 1 * MiB), 0);
	fake_kill(&r.master);
	ASSERT_EQ(fake_listen(&r.master), 0);
	EXPECT_TRUE(fake_wait(&r.master, joins, 2));
	for (int i = 0; i < 100; i++) {
		int ret;

		snprintf(name, sizeof(name), "meanwhile-%d", i);
		began = clock_now_ns();
		ret = tc_put(&r.c, name, name, strlen(name), 0);
		if (ret == -ENOTCONN) /* the master counts a JOIN before the owner has its answer */
			continue;
		EXPECT_EQ(ret, 0);
		worst = MAX(worst, clock_now_ns() - began);
	}
	printf("# slowest commit %llu us\n", (unsigned long long)(worst / NSEC_PER_USEC));
	EXPECT_LT(worst, NSEC_PER_SEC);
	EXPECT_EQ(owner_joined(r.ow, soon()), 0);
	rig_close(&r);
}

/* ---- a master that is cut off ---------------------------------------------------------------------------------------- */

struct listening {
	struct fake *f;
	int fd;
};

static int listen_there(void *arg)
{
	struct listening *l = arg;

	return listener_open(l->f->loop, l->fd, fake_accepted, l->f, &l->f->li);
}

struct cable {
	struct fake *f;
	struct conn *conn; /* the stream that was cut: the fake's is the next one by then */
};

/* From now on nothing arrives on this stream, as when a cable is cut. */
static int cut(void *arg)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog nothing = { 1, &none };
	struct cable *c = arg;

	c->conn = c->f->conn;
	return setsockopt(conn_fd(c->conn), SOL_SOCKET, SO_ATTACH_FILTER, &nothing, sizeof(nothing));
}

/* It does not hear that the owner left, either. */
static int close_stream(void *arg)
{
	conn_close(((struct cable *)arg)->conn);
	return 0;
}

/* Keep-alive alone would take 19 s. */
TEST(a_master_that_is_cut_off_is_left)
{
	struct owner_opts o = { .pool_opts = { .name = "test", .bytes = MiB } };
	struct listening l;
	struct cable cable;
	uint64_t start;
	uint16_t port;
	struct rig r;

	r = (struct rig){ 0 };
	ASSERT_EQ(fake_open(&r.master), 0);
	l.f = &r.master;
	ASSERT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &l.fd, &port), 0);
	snprintf(r.master.addr, sizeof(r.master.addr), "127.0.0.1:%u", port);
	ASSERT_EQ(loop_call(r.master.loop, listen_there, &l), 0);
	o.master = r.master.addr;
	ASSERT_EQ(owner_open(&o, &r.ow), 0);
	ASSERT_EQ(owner_joined(r.ow, soon()), 0);
	ASSERT_EQ(tc_open(&r.c, owner_unix_path(r.ow)), 0);
	cable.f = &r.master;
	ASSERT_EQ(loop_call(r.master.loop, cut, &cable), 0);
	start = clock_now_ns();
	EXPECT_TRUE(fake_wait(&r.master, joins, 2));
	EXPECT_LT((clock_now_ns() - start) / NSEC_PER_MSEC, 8000);
	EXPECT_EQ(owner_joined(r.ow, soon()), 0);
	ASSERT_EQ(tc_grant(&r.c, 64 * KiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	loop_call(r.master.loop, close_stream, &cable);
	rig_close(&r);
}
