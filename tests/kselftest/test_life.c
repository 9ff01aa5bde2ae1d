// SPDX-License-Identifier: GPL-2.0-only
/* Who keeps what alive: dup, fork, exec, passed descriptors, exits in the middle, unloading. */

#include "harness.h"

#include <pthread.h>
#include <time.h>
#include <sys/syscall.h>

#define LEN (2 * MIB)

TEST(dup_is_one_file)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), d = dup(r);

	EXPECT_EQ(info(r).nr_fds, 1);
	close(r);
	EXPECT_EQ(info(d).length, LEN);
	close(d);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static void send_fd(int sock, int fd)
{
	char c = 0, buf[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	ASSERT_EQ(SYS(sendmsg(sock, &m, 0)), 1);
}

static int receive_fd(int sock)
{
	char c, buf[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf) };
	int fd;

	ASSERT_EQ(SYS(recvmsg(sock, &m, 0)), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void maker(void *arg)
{
	int r = region(ctx_open(), LEN, 0);

	strcpy(map(r, LEN, PROT_READ | PROT_WRITE), "from the dead");
	send_fd(*(int *)arg, r);
}

/* The maker is gone before the receiver looks. */
TEST(passed_fd)
{
	int s[2], r;

	ASSERT_EQ(SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s)), 0);
	ASSERT_EQ(in_child(1001, maker, &s[1]), 0);
	EXPECT_EQ(sysfs_number("regions"), 1);
	r = receive_fd(s[0]);
	EXPECT_EQ(strcmp(map(r, LEN, PROT_READ), "from the dead"), 0);
	EXPECT_EQ(info(r).uid, 1001);
	EXPECT_EQ(info(r).owner_pid, 0);
}

/* In flight in a socket nobody reads any more: freed with the socket. */
TEST(fd_lost_in_socket)
{
	int s[2], i;

	ASSERT_EQ(SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s)), 0);
	ASSERT_EQ(in_child(0, maker, &s[1]), 0);
	close(s[0]);
	close(s[1]);
	for (i = 0; i < 100 && sysfs_number("regions"); i++)
		usleep(10000);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static void exec_child(void *arg)
{
	(void)arg;
	execl("/bin/true", "true", NULL);
}

TEST(exec_drops)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);

	map(r, LEN, PROT_READ);
	EXPECT_EQ(in_child(0, exec_child, NULL), 0);
	EXPECT_EQ(info(r).nr_vmas, 1);
}

static void die_holding(void *arg)
{
	int ctx = ctx_open(), r = region(ctx, 16 * MIB, MC_REGION_POPULATE), i;

	for (i = 0; i < 20; i++)
		*(char *)map(r, LEN, PROT_READ | PROT_WRITE) = 1;
	if (arg)
		kill(getpid(), SIGKILL);
	abort();
}

TEST(killed_holding)
{
	EXPECT_EQ(in_child(0, die_holding, (void *)1), 128 + SIGKILL);
	EXPECT_EQ(sysfs_number("regions"), 0);
	EXPECT_EQ(in_child(0, die_holding, NULL), 128 + SIGABRT);
	EXPECT_EQ(sysfs_number("regions"), 0);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}

/* Killed while the call allocates. */
TEST(killed_in_create)
{
	struct mc_ioc_region_create a = CREATE(.length = 256 * MIB, .backing = MC_BACKING_SHMEM,
					       .flags = MC_REGION_POPULATE);
	int i, status, ctx = ctx_open();
	pid_t pid;

	for (i = 0; i < 6; i++) {
		pid = fork();
		if (!pid)
			_exit(ioctl(ctx, MC_IOC_REGION_CREATE, &a) != 0);
		while (sysfs_number("regions") == 0 && waitpid(pid, &status, WNOHANG) == 0)
			usleep(i * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		EXPECT_EQ(sysfs_number("regions"), 0);
	}
}

/* Busy while anything lives, whatever it is. */
TEST(unload_busy)
{
	int ctx = ctx_open(), r;

	EXPECT_EQ(SYS(syscall(SYS_delete_module, "mooncake", O_NONBLOCK)), -EAGAIN);
	r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	close(ctx);
	EXPECT_EQ(SYS(syscall(SYS_delete_module, "mooncake", O_NONBLOCK)), -EAGAIN);
	ASSERT_EQ(publish(r, "keeps-it", 0600), 0);
	close(r);
	EXPECT_EQ(SYS(syscall(SYS_delete_module, "mooncake", O_NONBLOCK)), -EAGAIN);
	EXPECT_EQ(unpublish(ctx_open(), "keeps-it", 0), 0);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static void no_group(void *arg)
{
	(void)arg;
	ASSERT_EQ(setgroups(0, NULL), 0);
	ASSERT_EQ(setresgid(1003, 1003, 1003), 0);
	ASSERT_EQ(setresuid(1003, 1003, 1003), 0);
	EXPECT_EQ(SYS(open(DEV, O_RDWR)), -EACCES);
}

TEST(device_node)
{
	struct stat st;

	ASSERT_EQ(SYS(stat(DEV, &st)), 0);
	EXPECT_EQ(st.st_mode & 0777, 0660);
	EXPECT_EQ(in_child(0, no_group, NULL), 0);
}

static void *churn(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)&seed;
	const time_t end = time(NULL) + 15;
	struct mc_ioc_region_open o;
	int ctx = ctx_open(), i, r;
	char *p, nm[16];

	(void)arg;
	/* On a machine that has other things to do, fewer rounds. */
	for (i = 0; i < 60 && time(NULL) < end; i++) {
		snprintf(nm, sizeof(nm), "churn-%d", rand_r(&seed) % 4);
		r = region(ctx, LEN, MC_REGION_PERSIST_OK);
		p = map(r, LEN, PROT_READ | PROT_WRITE);
		p[rand_r(&seed) % LEN] = 1;
		publish(r, nm, 0600);
		close(r);
		r = open_name(ctx, nm, MC_ACCESS_R | MC_ACCESS_W | (i & 1 ? MC_ACCESS_EXCL_WRITER : 0), &o);
		if (r >= 0) {
			if (rand_r(&seed) % 2)
				mark(r, MC_MARK_PUNCH, 0, LEN);
			if (rand_r(&seed) % 4 == 0)
				revoke_region(r);
			close(r);
		}
		if (rand_r(&seed) % 2)
			unpublish(ctx, nm, MC_UNPUBLISH_FORCE);
		munmap(p, LEN);
	}
	close(ctx);
	return NULL;
}

/* Names, leases, holes and revocations of the same few regions from many threads. */
TEST(churn_threads)
{
	int ctx = ctx_open(), i;
	pthread_t t[6];
	char nm[16];

	for (i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, churn, NULL);
	for (i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i < 4; i++) {
		snprintf(nm, sizeof(nm), "churn-%d", i);
		unpublish(ctx, nm, MC_UNPUBLISH_FORCE);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}
