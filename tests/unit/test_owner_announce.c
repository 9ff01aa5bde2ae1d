// SPDX-License-Identifier: Apache-2.0
/* Announced puts, as owner and master see them: told as pending, looked at, confirmed; slow, dead and competing writers. */
#include <signal.h>
#include <sys/wait.h>

#include "owner_rig.h"

#define LEN (300 * KiB)

static uint8_t data[LEN];

/* @patience_ns: for as long as a test takes, unless it is about what happens then. */
static int open_rig_for(struct rig *r, uint64_t patience_ns)
{
	struct owner_opts o = { .pool_opts = { .name = "test", .bytes = 8 * MiB }, .announce_ns = patience_ns };
	int ret = rig_open_opts(r, &o, true);

	memset(data, 'd', sizeof(data));
	return ret ? ret : tc_grant(&r->c, 2 * MiB);
}

static int open_rig(struct rig *r)
{
	return open_rig_for(r, RIG_NS);
}

static uint64_t now(struct fake *f, const uint64_t *what)
{
	uint64_t v;

	pthread_mutex_lock(&f->lock);
	v = *what;
	pthread_mutex_unlock(&f->lock);
	return v;
}

/* The clock of the owner moves it on. */
static bool until(struct fake *f, const uint64_t *what, uint64_t at_least)
{
	uint64_t end = soon();

	do {
		if (now(f, what) >= at_least)
			return true;
		usleep(500);
	} while (!deadline_passed(end));
	return false;
}

static void answer(struct fake *f, unsigned again, int verdict)
{
	pthread_mutex_lock(&f->lock);
	f->again = again;
	f->verdict = verdict;
	pthread_mutex_unlock(&f->lock);
}

static uint32_t last_flags(struct fake *f)
{
	uint32_t flags;

	pthread_mutex_lock(&f->lock);
	flags = f->last_flags;
	pthread_mutex_unlock(&f->lock);
	return flags;
}

TEST(pending_then_stored)
{
	struct extents x;
	struct found f;
	struct rig r;

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_EQ(tc_announce(&r.c, "k", LEN, &x), 0);
	EXPECT_EQ(last_flags(&r.master), OBJ_CRC | OBJ_PENDING);
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	EXPECT_EQ(now(&r.master, &r.master.stored), 0);
	ASSERT_EQ(tc_reveal(&r.c, &x, data), 0);
	EXPECT_EQ(view_check(&r.c.v, "k", data, LEN), 0);
	EXPECT_TRUE(until(&r.master, &r.master.stored, 1)); /* nobody said anything */
	EXPECT_EQ(now(&r.master, &r.master.stored_gen), x.gen);
	EXPECT_EQ(now(&r.master, &r.master.withdrawn), 0);
	EXPECT_EQ(tc_put(&r.c, "k", data, LEN, 0), -EEXIST);
	rig_close(&r);
}

/* The next message of anybody has the owner look, before anything is evicted. */
TEST(a_pool_full_of_announcements)
{
	char name[32];
	struct extents x;
	struct rig r;
	int ret;

	ASSERT_EQ(open_rig(&r), 0);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ret = tc_announce(&r.c, name, LEN, &x);
		if (ret == -ENOSPC) {
			ASSERT_EQ(tc_grant(&r.c, 2 * LEN), 0);
			ret = tc_announce(&r.c, name, LEN, &x);
		}
		ASSERT_EQ(ret, 0);
		ASSERT_EQ(tc_reveal(&r.c, &x, data), 0);
		EXPECT_EQ(view_check(&r.c.v, name, data, LEN), 0);
	}
	EXPECT_TRUE(until(&r.master, &r.master.stored, 200));
	rig_close(&r);
}

TEST(refused_ones_are_the_clients_again)
{
	struct extents x;
	struct found f;
	struct rig r;

	ASSERT_EQ(open_rig(&r), 0);
	r.master.verdict = -EEXIST;
	EXPECT_EQ(tc_announce(&r.c, "k", LEN, &x), -EEXIST);
	extents_return(r.c.runs, &x);
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	EXPECT_EQ(tc_return(&r.c), 0);
	EXPECT_TRUE(rig_granted(&r, 0));
	rig_close(&r);
}

/* A writer that does not come to an end loses the place, keeps the space, and may put in the ordinary way. */
TEST(who_takes_too_long_is_revoked)
{
	struct extents x;
	struct rig r;

	ASSERT_EQ(open_rig_for(&r, 0), 0);
	ASSERT_EQ(tc_announce(&r.c, "k", LEN, &x), 0);
	EXPECT_TRUE(until(&r.master, &r.master.withdrawn, 1));
	EXPECT_EQ(now(&r.master, &r.master.withdrawn_gen), x.gen);
	EXPECT_EQ(tc_reveal(&r.c, &x, data), -ESTALE);
	extents_return(r.c.runs, &x);
	EXPECT_EQ(tc_put(&r.c, "k", data, LEN, 0), 0);
	EXPECT_EQ(view_check(&r.c.v, "k", data, LEN), 0);
	EXPECT_EQ(now(&r.master, &r.master.stored), 0);
	EXPECT_EQ(tc_return(&r.c), 0);
	EXPECT_TRUE(rig_granted(&r, 0));
	rig_close(&r);
}

TEST(removed_before_it_is_written)
{
	uint8_t full[FULL_KEY_MAX];
	struct extents x;
	struct found f;
	struct rig r;
	struct key k;

	ASSERT_EQ(open_rig(&r), 0);
	k = full_key("k", full);
	ASSERT_EQ(tc_announce(&r.c, "k", LEN, &x), 0);
	EXPECT_EQ(fake_drop(&r.master, &k, x.gen, true), 0);
	EXPECT_EQ(tc_reveal(&r.c, &x, data), -ENOENT);
	extents_return(r.c.runs, &x);
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	EXPECT_EQ(tc_return(&r.c), 0);
	EXPECT_TRUE(rig_granted(&r, 0));
	rig_close(&r);
}

struct asking {
	struct rig *r;
	struct extents x;
	int ret;
};

static void *announce_other(void *arg)
{
	struct asking *a = arg;

	a->ret = tc_announce(&a->r->c, "k", LEN, &a->x);
	return NULL;
}

TEST(removed_before_the_verdict)
{
	uint8_t full[FULL_KEY_MAX];
	struct asking a;
	pthread_t t;
	struct rig r;
	struct key k;

	ASSERT_EQ(open_rig(&r), 0);
	a.r = &r;
	k = full_key("k", full);
	r.master.hold = true;
	ASSERT_EQ(pthread_create(&t, NULL, announce_other, &a), 0);
	ASSERT_TRUE(fake_wait(&r.master, publishes, 1));
	EXPECT_EQ(fake_drop(&r.master, &k, r.master.gens[0], true), 0);
	fake_release(&r.master);
	pthread_join(t, NULL);
	ASSERT_EQ(a.ret, 0);
	EXPECT_EQ(tc_reveal(&r.c, &a.x, data), -ENOENT);
	extents_return(r.c.runs, &a.x);
	EXPECT_EQ(tc_return(&r.c), 0);
	EXPECT_TRUE(rig_granted(&r, 0));
	rig_close(&r);
}

static int fill_pool(struct rig *r)
{
	char name[32];
	struct pool_stat st;
	int ret = 0;

	do {
		for (unsigned i = 0; i < 16 && !ret; i++) {
			snprintf(name, sizeof(name), "full%u", (unsigned)r->master.items);
			ret = tc_put(&r->c, name, data, 16000, 0);
		}
		if (ret == -ENOSPC)
			ret = tc_grant(&r->c, 256 * KiB);
		owner_stat(r->ow, &st);
	} while (!ret && !st.evicted);
	return ret;
}

/* Space is asked for right behind an announcement: its verdict does not wait for what has to be evicted for that. */
TEST(nothing_is_evicted_before_the_verdict)
{
	const struct msg_grant m = { .bytes = MiB };
	struct mux_req grant = { .type = MSG_GRANT };
	struct buf b = BUF_INIT, none = BUF_INIT;
	struct pool_stat before, st;
	struct asking a;
	pthread_t t;
	struct rig r;

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_EQ(fill_pool(&r), 0);
	ASSERT_EQ(tc_grant(&r.c, MiB), 0);
	a.r = &r;
	r.master.hold = true;
	ASSERT_EQ(pthread_create(&t, NULL, announce_other, &a), 0);
	ASSERT_TRUE(fake_wait(&r.master, nr_held, 1));
	owner_stat(r.ow, &before);
	msg_grant_encode(&m, &b);
	grant.body = b.data;
	grant.body_len = b.len;
	ASSERT_EQ(mux_submit(r.c.m, &grant, false), 0);
	EXPECT_EQ(tc_call(&r.c, MSG_STATUS, &none, NULL), 0); /* the owner has seen both */
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.evicted, before.evicted);
	EXPECT_TRUE(!mux_poll(r.c.m, &grant));
	fake_release(&r.master);
	pthread_join(t, NULL);
	EXPECT_EQ(a.ret, 0);
	EXPECT_EQ(mux_wait(r.c.m, &grant, soon()), 0);
	owner_stat(r.ow, &st);
	EXPECT_GE(st.evicted, before.evicted + 32);
	EXPECT_GE(st.granted, MiB);
	buf_fini(&grant.reply);
	buf_fini(&b);
	EXPECT_EQ(tc_reveal(&r.c, &a.x, data), 0);
	rig_close(&r);
}

/* Who asked and went before that gets nothing. */
TEST(who_waits_for_space_and_goes_gets_none)
{
	const struct msg_grant m = { .bytes = MiB };
	struct mux_req grant = { .type = MSG_GRANT };
	struct buf b = BUF_INIT;
	struct asking a;
	struct rig r, second = { 0 };
	pthread_t t;

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_EQ(tc_open(&second.c, owner_unix_path(r.ow)), 0);
	ASSERT_EQ(tc_grant(&second.c, MiB), 0);
	a.r = &second;
	r.master.hold = true;
	ASSERT_EQ(pthread_create(&t, NULL, announce_other, &a), 0);
	ASSERT_TRUE(fake_wait(&r.master, nr_held, 1));
	msg_grant_encode(&m, &b);
	grant.body = b.data;
	grant.body_len = b.len;
	ASSERT_EQ(mux_submit(second.c.m, &grant, false), 0);
	shutdown(mux_fd(second.c.m), SHUT_RDWR);
	pthread_join(t, NULL);
	EXPECT_LT(a.ret, 0);
	fake_release(&r.master);
	EXPECT_EQ(tc_put(&r.c, "other", data, 100, 0), 0); /* the owner is in order */
	mux_cancel(second.c.m, &grant);
	buf_fini(&b);
	tc_close(&second.c);
	rig_close(&r);
}

/* The master knows of another put that is pending: it is asked until that is over. */
TEST(asked_again_until_it_is_decided)
{
	int32_t status[2] = { 1, 1 };
	struct publish_item it[2];
	uint8_t full[2][FULL_KEY_MAX];
	struct extents x[2];
	struct rig r;

	ASSERT_EQ(open_rig(&r), 0);
	r.master.again = 3;
	EXPECT_EQ(tc_put(&r.c, "a", data, 100, 0), 0);
	EXPECT_EQ(r.master.publishes, 4);
	r.master.again = 2;
	r.master.verdict = -EEXIST;
	EXPECT_EQ(tc_put(&r.c, "b", data, 100, 0), -EEXIST);
	r.master.verdict = 0;
	/* One of two is decided at once: it is there already. */
	r.master.again = 1;
	for (unsigned i = 0; i < 2; i++) {
		struct key k = full_key(i ? "a" : "c", full[i]);

		ASSERT_EQ(tc_fill(&r.c, &k, data, 100, 0, &x[i], &it[i]), 0);
	}
	EXPECT_EQ(tc_commit(&r.c, it, 2, status), 0);
	EXPECT_EQ(status[0], 0);
	EXPECT_EQ(status[1], -EEXIST);
	rig_close(&r);
}

/* Two clients of one pool put the same key: the master is the judge, the first one's last store the verdict. */
TEST(two_writers)
{
	struct extents x;
	struct asking b;
	struct rig r, second;
	pthread_t t;

	ASSERT_EQ(open_rig(&r), 0);
	second = (struct rig){ 0 };
	ASSERT_EQ(tc_open(&second.c, owner_unix_path(r.ow)), 0);
	ASSERT_EQ(tc_grant(&second.c, 1 * MiB), 0);
	ASSERT_EQ(tc_announce(&r.c, "k", LEN, &x), 0);
	answer(&r.master, 1000, 0);
	b.r = &second;
	ASSERT_EQ(pthread_create(&t, NULL, announce_other, &b), 0);
	ASSERT_TRUE(fake_wait(&r.master, publishes, 3));
	ASSERT_EQ(tc_reveal(&r.c, &x, data), 0);
	EXPECT_TRUE(until(&r.master, &r.master.stored, 1));
	answer(&r.master, 0, -EEXIST);
	pthread_join(t, NULL);
	EXPECT_EQ(b.ret, -EEXIST);
	EXPECT_EQ(view_check(&r.c.v, "k", data, LEN), 0);
	tc_close(&second.c);
	rig_close(&r);
}

TEST(blank_master_hears_what_is_pending)
{
	struct extents x;
	struct rig r;

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_EQ(tc_announce(&r.c, "k", LEN, &x), 0);
	fake_kill(&r.master);
	/* It knows of another pending put of the key at first: nothing is dropped for that. */
	r.master.again = 2;
	ASSERT_EQ(fake_listen(&r.master), 0);
	ASSERT_TRUE(fake_wait(&r.master, synced, 2));
	EXPECT_EQ(now(&r.master, &r.master.items), 4);
	EXPECT_EQ(last_flags(&r.master), OBJ_CRC | OBJ_PENDING);
	EXPECT_EQ(tc_reveal(&r.c, &x, data), 0);
	EXPECT_TRUE(until(&r.master, &r.master.stored, 1));
	fake_kill(&r.master);
	ASSERT_EQ(fake_listen(&r.master), 0);
	ASSERT_TRUE(fake_wait(&r.master, synced, 3));
	EXPECT_EQ(last_flags(&r.master), OBJ_CRC);
	EXPECT_EQ(view_check(&r.c.v, "k", data, LEN), 0);
	rig_close(&r);
}

TEST(clients_may_not_say_pending)
{
	uint8_t full[FULL_KEY_MAX];
	struct key k = full_key("k", full);
	struct publish_item it;
	int32_t status = 1;
	struct extents x;
	struct rig r;

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_EQ(tc_fill(&r.c, &k, data, 100, 0, &x, &it), 0);
	it.flags = OBJ_PENDING;
	EXPECT_EQ(tc_commit(&r.c, &it, 1, &status), -EINVAL);
	EXPECT_EQ(tc_ask(&r.c, MSG_ANNOUNCE, &it, 1, &status), -EINVAL);
	it.flags = OBJ_REPLACE;
	EXPECT_EQ(tc_ask(&r.c, MSG_ANNOUNCE, &it, 1, &status), 0);
	EXPECT_EQ(status, -EINVAL);
	it.flags = 0; /* announced when it is written already */
	EXPECT_EQ(tc_ask(&r.c, MSG_ANNOUNCE, &it, 1, &status), 0);
	EXPECT_EQ(status, -EBADMSG);
	EXPECT_EQ(tc_commit(&r.c, &it, 1, &status), 0);
	EXPECT_EQ(status, 0);
	rig_close(&r);
}

/* ---- a writer in a process of its own ---- */

enum work { HALF, WHOLE };

static pid_t start_writer(enum work work, int *to, int *from)
{
	char addr[NET_ADDR_TEXT], ok;
	int a[2], b[2];
	struct extents x;
	struct tc c;
	pid_t pid;

	if (pipe(a) || pipe(b))
		return -1;
	pid = fork();
	*to = a[1];
	*from = b[0];
	if (pid) {
		close(a[0]);
		close(b[1]);
		return pid;
	}
	close(a[1]);
	close(b[0]);
	memset(data, 'd', sizeof(data));
	if (read(a[0], addr, sizeof(addr)) != sizeof(addr))
		_exit(1);
	ok = !tc_open(&c, addr) && !tc_grant(&c, 1 * MiB) && !tc_announce(&c, "k", LEN, &x) &&
	     (work == HALF || !tc_reveal(&c, &x, data));
	if (work == WHOLE)
		raise(SIGKILL); /* before anybody can look, most of the time */
	if (write(b[1], &ok, 1) != 1 || read(a[0], addr, 1))
		_exit(1);
	_exit(0);
}

static bool go(const struct rig *r, int to, int from, bool answer)
{
	char addr[NET_ADDR_TEXT] = { 0 }, ok = 1;

	snprintf(addr, sizeof(addr), "%s", owner_unix_path(r->ow));
	if (write(to, addr, sizeof(addr)) != sizeof(addr))
		return false;
	return !answer || (read(from, &ok, 1) == 1 && ok);
}

TEST(killed_in_the_middle)
{
	int to, from;
	struct found f;
	struct rig r;
	pid_t pid = start_writer(HALF, &to, &from);

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_TRUE(go(&r, to, from, true));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_TRUE(until(&r.master, &r.master.withdrawn, 1));
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	EXPECT_EQ(tc_return(&r.c), 0);
	EXPECT_TRUE(rig_granted(&r, 0));
	EXPECT_EQ(tc_grant(&r.c, 1 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", data, LEN, 0), 0);
	close(to);
	close(from);
	rig_close(&r);
}

TEST(killed_after_the_last_store)
{
	int to, from;
	struct rig r;
	pid_t pid = start_writer(WHOLE, &to, &from);

	ASSERT_EQ(open_rig(&r), 0);
	ASSERT_TRUE(go(&r, to, from, false));
	waitpid(pid, NULL, 0);
	EXPECT_TRUE(until(&r.master, &r.master.stored, 1));
	EXPECT_EQ(view_check(&r.c.v, "k", data, LEN), 0);
	EXPECT_EQ(now(&r.master, &r.master.withdrawn), 0);
	close(to);
	close(from);
	rig_close(&r);
}

TEST(stopped_in_the_middle)
{
	int to, from;
	struct pool_stat st;
	struct rig r;
	pid_t pid = start_writer(HALF, &to, &from);

	ASSERT_EQ(open_rig_for(&r, 0), 0);
	ASSERT_TRUE(go(&r, to, from, true));
	kill(pid, SIGSTOP);
	EXPECT_TRUE(until(&r.master, &r.master.withdrawn, 1));
	EXPECT_EQ(tc_put(&r.c, "k", data, LEN, 0), 0);
	EXPECT_EQ(tc_return(&r.c), 0);
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.granted, 1 * MiB); /* it may go on writing there */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_TRUE(rig_granted(&r, 0));
	EXPECT_EQ(view_check(&r.c.v, "k", data, LEN), 0);
	close(to);
	close(from);
	rig_close(&r);
}
