// SPDX-License-Identifier: Apache-2.0
/* Accepting on a loop. */
#include "net/net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "mctest.h"
#include "unit/net_server.h"

struct door {
	struct loop *loop;
	struct listener *li;
	struct net_addr at;
	int fd; /* listening, before it is handed over */
	atomic_int came;
	bool close_on_first;
};

static void came(void *arg, int fd)
{
	struct door *d = arg;

	if (!(fcntl(fd, F_GETFL) & O_NONBLOCK) || fcntl(fd, F_GETFD) != FD_CLOEXEC)
		abort();
	close(fd);
	if (d->close_on_first) {
		listener_close(d->li);
		d->li = NULL;
	}
	atomic_fetch_add(&d->came, 1);
}

static int door_add(void *arg)
{
	struct door *d = arg;

	return listener_open(d->loop, d->fd, came, d, &d->li);
}

static int door_del(void *arg)
{
	listener_close(((struct door *)arg)->li);
	return 0;
}

static void door_open(struct door *d)
{
	if (net_addr_parse("127.0.0.1:0", 0, &d->at) || net_listen(&d->at, 64, &d->fd))
		abort();
	d->at.len = sizeof(d->at.ss);
	getsockname(d->fd, (struct sockaddr *)&d->at.ss, &d->at.len);
	if (loop_open(&d->loop) || loop_start(d->loop, "test-door") || loop_call(d->loop, door_add, d))
		abort();
}

static void door_close(struct door *d)
{
	loop_call(d->loop, door_del, d);
	loop_close(d->loop);
}

TEST(everyone_is_let_in)
{
	struct door d = { 0 };
	int fd[40];

	door_open(&d);
	for (int i = 0; i < 40; i++)
		ASSERT_EQ(net_connect(&d.at, deadline_after_ms(5000), &fd[i]), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&d.came) == 40));
	for (int i = 0; i < 40; i++)
		close(fd[i]);
	door_close(&d);
}

TEST(closing_from_within)
{
	struct door d = { .close_on_first = true };
	int fd;

	door_open(&d);
	ASSERT_EQ(net_connect(&d.at, deadline_after_ms(5000), &fd), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&d.came) == 1));
	close(fd);
	EXPECT_EQ(net_connect(&d.at, deadline_after_ms(5000), &fd), -ECONNREFUSED);
	door_close(&d);
}

TEST(no_files_left)
{
	struct rlimit old, low;
	struct door d = { 0 };
	int fd;

	door_open(&d);
	mc_log_set(log_count, NULL, MC_LOG_WARN);
	log_lines = 0;
	ASSERT_EQ(net_connect(&d.at, deadline_after_ms(5000), &fd), 0);
	ASSERT_TRUE(EVENTUALLY(atomic_load(&d.came) == 1));
	close(fd);
	getrlimit(RLIMIT_NOFILE, &old);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	low = old;
	low.rlim_cur = (rlim_t)fd + 1;
	setrlimit(RLIMIT_NOFILE, &low);
	ASSERT_EQ(connect(fd, (struct sockaddr *)&d.at.ss, d.at.len), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&log_lines) == 1));
	EXPECT_TRUE(strstr(log_last, "open files"));
	EXPECT_EQ(atomic_load(&d.came), 1);
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&d.came) == 2)); /* it waited */
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	close(fd);
	door_close(&d);
}

/* A socket as where bbr is the rule; -1: there is none. */
static int paced(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3))
		return fd;
	close(fd);
	return -1;
}

static bool is_paced(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	return !getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) && !strcmp(name, "bbr");
}

TEST(nothing_is_paced_within_the_machine)
{
	struct net_addr here, elsewhere;
	int l, fd = paced();

	if (fd < 0)
		SKIP("this kernel has no bbr");
	ASSERT_EQ(net_addr_parse("192.0.2.1:1", 0, &elsewhere), 0);
	net_unpace(fd, &elsewhere);
	EXPECT_TRUE(is_paced(fd));
	net_tune(fd);
	EXPECT_TRUE(is_paced(fd));
	ASSERT_EQ(net_addr_parse("127.0.0.1:0", 0, &here), 0);
	ASSERT_EQ(net_listen(&here, 1, &l), 0);
	EXPECT_TRUE(!is_paced(l));
	here.len = sizeof(here.ss);
	getsockname(l, (struct sockaddr *)&here.ss, &here.len);
	ASSERT_EQ(connect(fd, (struct sockaddr *)&here.ss, here.len), 0);
	EXPECT_TRUE(is_paced(fd));
	net_tune(fd); /* found out late */
	EXPECT_TRUE(!is_paced(fd));
	close(fd);
	fd = paced();
	net_unpace(fd, &here);
	EXPECT_TRUE(!is_paced(fd));
	close(fd);
	ASSERT_EQ(net_connect(&here, deadline_after_ms(5000), &fd), 0);
	EXPECT_TRUE(!is_paced(fd));
	close(fd);
	close(l);
}
