/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis client against a server that says what the test wants: hosts that are silent, replies that are none. */
#include "mctest.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "meta/meta.h"
#include "net/net.h"

/* One connection after the other; every command gets @reply, none when it is NULL. */
struct fake {
	int listener;
	uint16_t port;
	pthread_t thread;
	const char *reply;
	atomic_uint asked;
	char said[4096]; /* all of it; for when @asked says so */
};

static void *fake_main(void *arg)
{
	struct fake *f = arg;
	size_t len = 0;
	int fd;

	while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
		ssize_t n;

		while ((n = recv(fd, f->said + len, sizeof(f->said) - 1 - len, 0)) > 0) {
			len += (size_t)n;
			atomic_fetch_add(&f->asked, 1);
			if (f->reply && send(fd, f->reply, strlen(f->reply), MSG_NOSIGNAL) < 0)
				break;
		}
		close(fd);
	}
	return NULL;
}

static void fake_start(struct fake *f, const char *reply)
{
	*f = (struct fake){ .reply = reply };
	EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &f->listener, &f->port), 0);
	fcntl(f->listener, F_SETFL, 0);
	EXPECT_EQ(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

static void fake_stop(struct fake *f)
{
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->listener);
}

/* @b 0: only one host */
static struct meta *open_at(const char *scheme, unsigned a, unsigned b)
{
	struct meta *m = NULL;
	char conn[128];

	snprintf(conn, sizeof(conn), b ? "%s://127.0.0.1:%u;127.0.0.1:%u" : "%s://127.0.0.1:%u", scheme, a, b);
	EXPECT_EQ(meta_open(conn, &m), 0);
	return m;
}

static int ask(struct meta *m, uint64_t ms)
{
	struct rpc_meta rpc;

	return meta_get_rpc(m, "a", deadline_after_ms(ms), &rpc);
}

#ifdef MC_WITH_REDIS
static int answer_of(const char *reply)
{
	struct fake f;
	struct meta *m;
	int ret;

	fake_start(&f, reply);
	m = open_at("redis", f.port, 0);
	ret = ask(m, 700);
	meta_close(m, deadline_after_ms(1000));
	fake_stop(&f);
	return ret;
}

TEST(replies)
{
	EXPECT_EQ(answer_of("$-1\r\n"), -ENOENT);
	EXPECT_EQ(answer_of("$40\r\n{\"ip_or_host_name\":\"10.1.2.3\",\"rpc_port\":5}\r\n"), -EBADMSG); /* 43 bytes */
	EXPECT_EQ(answer_of("$44\r\n{\"ip_or_host_name\":\"10.1.2.3\",\"rpc_port\":5}\n\r\n"), 0);
	EXPECT_EQ(answer_of(":3\r\n"), -EBADMSG);
	EXPECT_EQ(answer_of("+OK\r\n"), -EBADMSG);
	EXPECT_EQ(answer_of("-ERR no\r\n"), -EIO);
	EXPECT_EQ(answer_of("-NOAUTH Authentication required.\r\n"), -EACCES);
	EXPECT_EQ(answer_of("*1000000000\r\n"), -EBADMSG);
	EXPECT_EQ(answer_of("HTTP/1.1 400 Bad Request\r\n\r\n"), -EBADMSG);
	EXPECT_EQ(answer_of("$-1\r\n*1\r\n:1\r\n"), -EBADMSG); /* more than one answer */
	EXPECT_EQ(answer_of("$x\r\n"), -EBADMSG);
	EXPECT_EQ(answer_of("$4294967295\r\nabc"), -ETIMEDOUT);
}

/* The connection is one thread's at a time; the others wait for it no longer than they may. */
static void *ask_long(void *arg)
{
	EXPECT_EQ(ask(arg, 1500), -ETIMEDOUT);
	return NULL;
}

TEST(a_wait_for_the_connection_ends)
{
	struct fake f;
	struct meta *m;
	pthread_t thread;
	uint64_t began;

	fake_start(&f, NULL);
	m = open_at("redis", f.port, 0);
	EXPECT_EQ(pthread_create(&thread, NULL, ask_long, m), 0);
	while (!f.asked)
		sched_yield();
	began = clock_now_ns();
	EXPECT_EQ(ask(m, 100), -ETIMEDOUT);
	EXPECT_LE(clock_now_ns() - began, 600 * NSEC_PER_MSEC);
	pthread_join(thread, NULL);
	meta_close(m, deadline_after_ms(1000));
	fake_stop(&f);
}

TEST(a_silent_host_leaves_time_for_the_next)
{
	struct fake silent, good;
	struct meta *m;
	uint64_t began;

	setenv("MC_REDIS_PASSWORD", "secret", 1); /* so that something has to be answered before a host is taken */
	fake_start(&silent, NULL);
	fake_start(&good, "$-1\r\n");
	m = open_at("redis", silent.port, good.port);
	unsetenv("MC_REDIS_PASSWORD");
	began = clock_now_ns();
	EXPECT_EQ(ask(m, 1000), -ENOENT);
	EXPECT_LE(clock_now_ns() - began, 800 * NSEC_PER_MSEC);
	EXPECT_TRUE(strstr(good.said, "AUTH\r\n$6\r\nsecret\r\n"));
	meta_close(m, deadline_after_ms(1000));
	fake_stop(&silent);
	fake_stop(&good);
}

/* What the environment said when it was opened counts; its memory is the program's. */
TEST(settings_are_copied)
{
	static char user[] = "MC_REDIS_USERNAME=somebody", password[] = "MC_REDIS_PASSWORD=secret";
	struct fake f;
	struct meta *m;

	fake_start(&f, "$-1\r\n");
	EXPECT_EQ(putenv(user) | putenv(password), 0);
	m = open_at("redis", f.port, 0);
	memset(strchr(user, '=') + 1, 'x', 4);
	memset(strchr(password, '=') + 1, 'x', 4);
	EXPECT_EQ(ask(m, 2000), -ENOENT);
	EXPECT_TRUE(strstr(f.said, "$8\r\nsomebody\r\n$6\r\nsecret\r\n"));
	unsetenv("MC_REDIS_USERNAME");
	unsetenv("MC_REDIS_PASSWORD");
	meta_close(m, deadline_after_ms(1000));
	fake_stop(&f);
}
#endif

TEST(a_server_that_is_not_there)
{
	struct meta *m = NULL;

	if (meta_open("redis://127.0.0.1:1", &m) == -EPROTONOSUPPORT)
		SKIP("a build without Redis");
	EXPECT_EQ(ask(m, 1000), -ECONNREFUSED);
	meta_close(m, deadline_after_ms(1000));
	m = open_at("rediss", 1, 0);
	EXPECT_EQ(ask(m, 1000), -ECONNREFUSED);
	meta_close(m, deadline_after_ms(1000));
}
