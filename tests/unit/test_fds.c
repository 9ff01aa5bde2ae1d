// SPDX-License-Identifier: Apache-2.0
/* Packets with a descriptor, and from those who send others. Frames with descriptors: test_conn, test_conn_abuse, test_mux. */
#include "net/net.h"

#include "mctest.h"
#include "unit/net_server.h"

static bool pair(int s[2])
{
	return !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s);
}

TEST(a_packet_with_a_descriptor_or_none)
{
	char got[8];
	int s[2], fd;

	ASSERT_TRUE(pair(s));
	EXPECT_EQ(net_packet_recv(s[1], got, sizeof(got), &fd), -EAGAIN);
	EXPECT_EQ(fd, -1);
	EXPECT_EQ(net_packet_send(s[0], "abc", 3, s[0]), 3);
	EXPECT_EQ(net_packet_send(s[0], "de", 2, -1), 2);
	EXPECT_EQ(net_packet_recv(s[1], got, sizeof(got), &fd), 3);
	EXPECT_TRUE(!memcmp(got, "abc", 3));
	EXPECT_TRUE(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	/* It is the other end. */
	EXPECT_EQ(net_packet_send(fd, "x", 1, -1), 1);
	close(fd);
	EXPECT_EQ(net_packet_recv(s[1], got, sizeof(got), &fd), 2);
	EXPECT_EQ(fd, -1);
	EXPECT_EQ(net_packet_recv(s[1], got, sizeof(got), &fd), 1);
	EXPECT_EQ(net_packet_send(s[0], "x", 1, 12345), -EBADF);
	close(s[0]);
	EXPECT_EQ(net_packet_recv(s[1], got, sizeof(got), &fd), 0);
	EXPECT_EQ(net_packet_send(s[1], "x", 1, -1), -EPIPE);
	close(s[1]);
}

/* Each is open here when the packet has come, also those that there is no room to name. */
TEST(more_descriptors_than_one_are_closed)
{
	static const int nr[] = { 2, 3, NET_FDS_MAX, NET_FDS_MAX + 1, NET_FDS_MAX + 12 };
	int s[2], fd, before;
	char got[8];

	ASSERT_TRUE(pair(s));
	before = count_fds();
	for (size_t i = 0; i < ARRAY_SIZE(nr); i++) {
		send_fds(s[0], "abc", 3, nr[i]);
		EXPECT_EQ(net_packet_recv(s[1], got, sizeof(got), &fd), -EBADMSG);
		EXPECT_EQ(fd, -1);
		EXPECT_EQ(count_fds(), before);
	}
	close(s[0]);
	close(s[1]);
}
