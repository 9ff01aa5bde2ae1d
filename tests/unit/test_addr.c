// SPDX-License-Identifier: Apache-2.0
/* Addresses and sockets. */
#include "net/net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "mctest.h"
#include "unit/net_server.h"

/* ---- text ---- */

static void split(const char *text, int ret, const char *host, int port)
{
	char got[64] = "";
	uint16_t p = 0;

	EXPECT_EQ(net_split_host_port(text, got, sizeof(got), &p), ret);
	if (ret)
		return;
	EXPECT_STREQ(got, host);
	EXPECT_EQ(p, port);
}

TEST(halves)
{
	split("host:80", 0, "host", 80);
	split("host", 0, "host", 0);
	split("10.0.0.1:65535", 0, "10.0.0.1", 65535);
	split("[::1]:1", 0, "::1", 1);
	split("[::1]", 0, "::1", 0);
	split("::1", 0, "::1", 0);
	split("fe80::1:2", 0, "fe80::1:2", 0);
	split("", -EINVAL, NULL, 0);
	split(":80", -EINVAL, NULL, 0);
	split("host:", -EINVAL, NULL, 0);
	split("host:65536", -EINVAL, NULL, 0);
	split("host:-1", -EINVAL, NULL, 0);
	split("host: 1", -EINVAL, NULL, 0);
	split("host:80x", -EINVAL, NULL, 0);
	split("[::1", -EINVAL, NULL, 0);
	split("[]:1", -EINVAL, NULL, 0);
	split("[::1]x", -EINVAL, NULL, 0);
	split("[::1]80", -EINVAL, NULL, 0);
	split("0123456789012345678901234567890123456789012345678901234567890123", -EINVAL, NULL, 0);
}

static void round_trip(const char *text, uint16_t port, const char *want)
{
	char got[NET_ADDR_TEXT];
	struct net_addr a;

	ASSERT_EQ(net_addr_parse(text, port, &a), 0);
	net_addr_format(&a, got, sizeof(got));
	EXPECT_STREQ(got, want);
}

TEST(parse_and_format)
{
	round_trip("127.0.0.1:80", 0, "127.0.0.1:80");
	round_trip("127.0.0.1", 99, "127.0.0.1:99");
	round_trip("[::1]:5", 0, "[::1]:5");
	round_trip("::1", 7, "[::1]:7");
	round_trip("[::ffff:10.0.0.1]:5", 0, "[::ffff:10.0.0.1]:5");
	round_trip("localhost:5", 0, "127.0.0.1:5");
	round_trip("unix:/run/x.sock", 0, "unix:/run/x.sock");
	round_trip("unix:@name", 0, "unix:@name");
}

TEST(malformed_addresses_say_why)
{
	static const char *const bad[] = { "", ":1", "a:b", "host:99999", "unix:", "unix:@", "[::1",
					   "no-such-host.invalid:1" };
	char path[200] = "unix:/";
	struct net_addr a;

	mc_log_set(log_count, NULL, MC_LOG_WARN);
	log_lines = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(net_addr_parse(bad[i], 1, &a), -EINVAL);
	memset(path + 6, 'x', 110);
	EXPECT_EQ(net_addr_parse(path, 1, &a), -EINVAL);
	EXPECT_EQ(atomic_load(&log_lines), (int)ARRAY_SIZE(bad) + 1);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(kinds)
{
	struct net_addr a;

	ASSERT_EQ(net_addr_parse("127.3.2.1:80", 0, &a), 0);
	EXPECT_TRUE(net_addr_is_loopback(&a) && !net_addr_is_unix(&a));
	EXPECT_EQ(net_addr_port(&a), 80);
	ASSERT_EQ(net_addr_parse("[::1]:81", 0, &a), 0);
	EXPECT_TRUE(net_addr_is_loopback(&a));
	EXPECT_EQ(net_addr_port(&a), 81);
	ASSERT_EQ(net_addr_parse("[::ffff:127.0.0.1]:81", 0, &a), 0);
	EXPECT_TRUE(net_addr_is_loopback(&a));
	ASSERT_EQ(net_addr_parse("0.0.0.0:80", 0, &a), 0);
	EXPECT_TRUE(!net_addr_is_loopback(&a));
	ASSERT_EQ(net_addr_parse("[::]:80", 0, &a), 0);
	EXPECT_TRUE(!net_addr_is_loopback(&a));
	ASSERT_EQ(net_addr_parse("unix:@x", 0, &a), 0);
	EXPECT_TRUE(net_addr_is_unix(&a) && !net_addr_is_loopback(&a));
	EXPECT_EQ(net_addr_port(&a), 0);
}

/* ---- sockets ---- */

/* Listens on @text, connects to what came of it, and hands out both ends. */
static int join(const char *text, int fd[2], struct net_addr *at)
{
	int l, ret;

	ret = net_addr_parse(text, 0, at);
	if (!ret)
		ret = net_listen(at, 4, &l);
	if (ret)
		return ret;
	at->len = sizeof(at->ss);
	getsockname(l, (struct sockaddr *)&at->ss, &at->len);
	ret = net_connect(at, deadline_after_ms(5000), &fd[0]);
	if (!ret) {
		fcntl(l, F_SETFL, 0);
		fd[1] = accept(l, NULL, NULL);
	}
	close(l);
	return ret;
}

static int get(int fd, int level, int opt)
{
	int v = -1;
	socklen_t len = sizeof(v);

	getsockopt(fd, level, opt, &v, &len);
	return v;
}

TEST(connected_sockets_are_tuned)
{
	struct net_addr a;
	int fd[2];

	ASSERT_EQ(join("127.0.0.1:0", fd, &a), 0);
	EXPECT_TRUE(fcntl(fd[0], F_GETFL) & O_NONBLOCK);
	EXPECT_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(get(fd[0], IPPROTO_TCP, TCP_NODELAY), 1);
	EXPECT_EQ(get(fd[0], SOL_SOCKET, SO_KEEPALIVE), 1);
	EXPECT_EQ(get(fd[0], IPPROTO_TCP, TCP_KEEPIDLE), 10);
	EXPECT_EQ(get(fd[0], IPPROTO_TCP, TCP_KEEPINTVL), 3);
	EXPECT_EQ(get(fd[0], IPPROTO_TCP, TCP_KEEPCNT), 3);
	close(fd[0]);
	close(fd[1]);
}

TEST(the_wildcard_is_dual_stack)
{
	struct net_addr a, v4;
	char text[32];
	int fd[2], c;

	if (join("[::]:0", fd, &a))
		SKIP("no IPv6 here");
	close(fd[0]);
	close(fd[1]);
	ASSERT_EQ(net_addr_parse("[::]:0", 0, &a), 0);
	ASSERT_EQ(net_listen(&a, 4, &fd[0]), 0);
	a.len = sizeof(a.ss);
	getsockname(fd[0], (struct sockaddr *)&a.ss, &a.len);
	snprintf(text, sizeof(text), "127.0.0.1:%u", net_addr_port(&a));
	ASSERT_EQ(net_addr_parse(text, 0, &v4), 0);
	EXPECT_EQ(net_connect(&v4, deadline_after_ms(5000), &c), 0);
	close(c);
	close(fd[0]);
}

TEST(every_address)
{
	static const char *const any[] = { "*", "0.0.0.0", "0", "::", "0::0", "::ffff:0.0.0.0" };
	static const char *const one[] = { "127.0.0.1", "::1", "10.0.0.0", "localhost", "no.such.host.example", "", "0.0.0.0.example" };
	char host[NET_ADDR_TEXT];

	for (unsigned i = 0; i < ARRAY_SIZE(any); i++)
		EXPECT_TRUE(net_host_is_any(any[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(one); i++)
		EXPECT_TRUE(!net_host_is_any(one[i]));
	if (!net_own_host(NULL, host, sizeof(host))) {
		struct net_addr a;

		EXPECT_TRUE(!net_host_is_any(host));
		ASSERT_EQ(net_addr_parse(host, 1, &a), 0);
		EXPECT_TRUE(!net_addr_is_loopback(&a));
	}
}

TEST(credentials)
{
	struct net_cred cred;
	struct net_addr a;
	int fd[2];

	ASSERT_EQ(join("127.0.0.1:0", fd, &a), 0);
	EXPECT_EQ(net_peer_cred(fd[0], &cred), -EOPNOTSUPP);
	close(fd[0]);
	close(fd[1]);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	ASSERT_EQ(net_peer_cred(fd[0], &cred), 0);
	EXPECT_EQ(cred.pid, getpid());
	EXPECT_EQ(cred.uid, getuid());
	EXPECT_EQ(cred.gid, getgid());
	close(fd[0]);
	close(fd[1]);
}

TEST(refused_and_silent)
{
	uint64_t start = clock_now_ns();
	struct net_addr a;
	int fd[2], ret;

	ASSERT_EQ(join("127.0.0.1:0", fd, &a), 0); /* nobody listens there any more */
	close(fd[0]);
	close(fd[1]);
	EXPECT_EQ(net_connect(&a, deadline_after_ms(1000), &ret), -ECONNREFUSED);
	/* A listener whose backlog is full answers nothing. */
	ASSERT_EQ(net_addr_parse("127.0.0.1:0", 0, &a), 0);
	ASSERT_EQ(net_listen(&a, 0, &fd[0]), 0);
	a.len = sizeof(a.ss);
	getsockname(fd[0], (struct sockaddr *)&a.ss, &a.len);
	ASSERT_EQ(net_connect(&a, deadline_after_ms(1000), &fd[1]), 0);
	start = clock_now_ns();
	EXPECT_EQ(net_connect(&a, start + 50 * NSEC_PER_MSEC, &ret), -ETIMEDOUT);
	EXPECT_GE(clock_now_ns() - start, 50 * NSEC_PER_MSEC);
	close(fd[0]);
	close(fd[1]);
}

TEST(busy_unix_listener_is_waited_for_until_the_deadline)
{
	struct net_addr a;
	int l, fd[8], nr = 0, ret, flags;
	char text[64];
	uint64_t start;

	snprintf(text, sizeof(text), "unix:@mc-test-busy-%d", getpid());
	ASSERT_EQ(net_addr_parse(text, 0, &a), 0);
	ASSERT_EQ(net_listen(&a, 0, &l), 0);
	start = clock_now_ns();
	do
		ret = net_connect(&a, start + 60 * NSEC_PER_MSEC, &fd[nr]);
	while (!ret && ++nr < 8);
	EXPECT_EQ(ret, -ETIMEDOUT);
	EXPECT_GE(clock_now_ns() - start, 59 * NSEC_PER_MSEC);
	flags = fcntl(fd[0], F_GETFL);
	EXPECT_TRUE(flags & O_NONBLOCK);
	while (nr)
		close(fd[--nr]);
	close(l);
}

TEST(unix_paths)
{
	char dir[] = "/tmp/mc-test-XXXXXX", text[64];
	struct sockaddr_un *un;
	struct net_addr a;
	struct stat st;
	int l, again, fd;

	ASSERT_TRUE(mkdtemp(dir));
	snprintf(text, sizeof(text), "unix:%s/s", dir);
	ASSERT_EQ(net_addr_parse(text, 0, &a), 0);
	un = (struct sockaddr_un *)&a.ss;
	ASSERT_EQ(net_listen(&a, 4, &l), 0);
	ASSERT_EQ(stat(un->sun_path, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0660u);
	mc_log_set(log_count, NULL, MC_LOG_WARN);
	log_lines = 0;
	EXPECT_EQ(net_listen(&a, 4, &again), -EADDRINUSE); /* alive */
	EXPECT_EQ(atomic_load(&log_lines), 1);
	close(l);
	EXPECT_EQ(net_connect(&a, deadline_after_ms(100), &fd), -ECONNREFUSED);
	EXPECT_EQ(net_listen(&a, 4, &l), 0); /* stale: replaced */
	EXPECT_EQ(net_connect(&a, deadline_after_ms(100), &fd), 0);
	close(fd);
	close(l);
	unlink(un->sun_path);
	/* A plain file in its place is somebody's and stays. */
	close(open(un->sun_path, O_CREAT | O_WRONLY, 0600));
	EXPECT_EQ(net_listen(&a, 4, &l), -EADDRINUSE);
	EXPECT_EQ(stat(un->sun_path, &st), 0);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	unlink(un->sun_path);
	rmdir(dir);
}

TEST(a_port_out_of_a_range)
{
	uint16_t port[3];
	int fd[3], ret;

	mc_log_set(log_count, NULL, MC_LOG_WARN);
	ASSERT_EQ(net_listen_range("127.0.0.1", 20000, 60000, &fd[0], &port[0]), 0);
	EXPECT_TRUE(port[0] >= 20000 && port[0] <= 60000);
	EXPECT_EQ(net_listen_range("127.0.0.1", port[0], port[0], &fd[1], &port[1]), -EADDRINUSE);
	ret = net_listen_range("127.0.0.1", (uint16_t)(port[0] - 50), (uint16_t)(port[0] + 50), &fd[1], &port[1]);
	ASSERT_EQ(ret, 0);
	EXPECT_NE(port[0], port[1]);
	EXPECT_EQ(net_listen_range("127.0.0.1", 0, 10, &fd[2], &port[2]), -EINVAL);
	EXPECT_EQ(net_listen_range("127.0.0.1", 20, 10, &fd[2], &port[2]), -EINVAL);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	close(fd[0]);
	close(fd[1]);
}

TEST(source_address)
{
	struct net_addr peer, own;
	char text[NET_ADDR_TEXT];

	ASSERT_EQ(net_addr_parse("127.0.0.1:80", 0, &peer), 0);
	ASSERT_EQ(net_source_addr(&peer, &own), 0);
	net_addr_format(&own, text, sizeof(text));
	EXPECT_STREQ(text, "127.0.0.1:0");
	ASSERT_EQ(net_addr_parse("unix:@x", 0, &peer), 0);
	EXPECT_EQ(net_source_addr(&peer, &own), -EOPNOTSUPP);
}
