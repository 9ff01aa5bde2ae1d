// SPDX-License-Identifier: Apache-2.0
/* What daemons share, each in a child as if it were one: settings, signals, and talk with a service manager that is the test. */
#include "../../daemon/svc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mctest.h"

struct settings {
	char *config_path, *log_level, *name;
	int64_t number;
};

static const struct conf_item items[] = {
	{ .name = "config_path", .type = CONF_STRING, .offset = offsetof(struct settings, config_path), .deflt = "" },
	{ .name = "log_level", .type = CONF_STRING, .offset = offsetof(struct settings, log_level), .deflt = "error" },
	{ .name = "name", .type = CONF_STRING, .offset = offsetof(struct settings, name), .deflt = "nobody", .env = "MC_TEST_NAME" },
	{ .name = "number", .type = CONF_INT, .offset = offsetof(struct settings, number), .deflt = "1" },
};

/* The child's exit status, or 128 + signal; its stdout and stderr go to @out when not NULL. */
static int in_child(int (*fn)(void *arg), void *arg, char *out, size_t size)
{
	int p[2], status = -1;
	size_t at = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(p))
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		close(p[0]);
		close(p[1]);
		n = fn(arg);
		fflush(stdout);
		_exit((int)n);
	}
	close(p[1]);
	while (out && at + 1 < size && (n = read(p[0], out + at, size - 1 - at)) > 0)
		at += (size_t)n;
	if (out)
		out[at] = 0;
	waitpid(pid, &status, 0);
	close(p[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- settings ---- */

struct run {
	const char *argv[6];
	const char *name; /* expected */
	int64_t number;
	int ret;
};

static int open_once(void *arg)
{
	struct run *run = arg;
	struct settings set;
	struct svc s;
	int argc = 0, ret, ok;

	while (run->argv[argc])
		argc++;
	ret = svc_open(&s, "test", items, ARRAY_SIZE(items), &set, argc, (char **)(uintptr_t)run->argv);
	if (ret)
		return ret == run->ret ? 0 : 1;
	ok = !run->ret && !strcmp(set.name, run->name) && set.number == run->number;
	svc_close(&s);
	return ok ? 0 : 2;
}

TEST(flags_win_over_environment_over_file)
{
	char path[] = "/tmp/mc-svc-XXXXXX", out[4096];
	int fd = mkstemp(path);
	struct run all = { { "test", "--config_path", path, "--number=3" }, "file", 3, 0 };
	struct run env = { { "test", "--config_path", path }, "env", 2, 0 };
	struct run plain = { { "test" }, "nobody", 1, 0 };
	struct run unknown = { { "test", "--nam=x" }, NULL, 0, -EINVAL };
	struct run word = { { "test", "go" }, NULL, 0, -EINVAL };
	struct run level = { { "test", "--log_level=loud" }, NULL, 0, -EINVAL };
	struct run nofile = { { "test", "--config_path=/nonexistent" }, NULL, 0, -EINVAL };
	struct run help = { { "test", "--help" }, NULL, 0, 1 };
	struct run version = { { "test", "--version" }, NULL, 0, 1 };

	EXPECT_TRUE(dprintf(fd, "name = file\nnumber = 2\n") > 0);
	close(fd);
	unsetenv("MC_TEST_NAME");
	EXPECT_EQ(in_child(open_once, &all, NULL, 0), 0);
	EXPECT_EQ(in_child(open_once, &plain, NULL, 0), 0);
	setenv("MC_TEST_NAME", "env", 1);
	EXPECT_EQ(in_child(open_once, &env, NULL, 0), 0);
	unsetenv("MC_TEST_NAME");
	EXPECT_EQ(in_child(open_once, &unknown, out, sizeof(out)), 0);
	EXPECT_TRUE(strstr(out, "did you mean name"));
	EXPECT_EQ(in_child(open_once, &word, NULL, 0), 0);
	EXPECT_EQ(in_child(open_once, &level, out, sizeof(out)), 0);
	EXPECT_TRUE(strstr(out, "loud"));
	EXPECT_EQ(in_child(open_once, &nofile, NULL, 0), 0);
	EXPECT_EQ(in_child(open_once, &help, out, sizeof(out)), 0);
	EXPECT_TRUE(strstr(out, "--number"));
	EXPECT_EQ(in_child(open_once, &version, out, sizeof(out)), 0);
	EXPECT_TRUE(strstr(out, "test " MC_VERSION));
	unlink(path);
}

/* ---- signals and the manager ---- */

static struct svc served;

static void on_stop(void *arg)
{
	svc_stopping(&served, "ending");
	if (*(int *)arg == 1)
		loop_stop(served.loop);
	else
		raise(SIGINT); /* somebody is impatient */
}

static int serve(void *arg)
{
	const char *argv[] = { "test", NULL };
	struct settings set;
	int fd = open("/dev/null", O_RDONLY);

	if (svc_open(&served, "test", items, ARRAY_SIZE(items), &set, 1, (char **)(uintptr_t)argv))
		return 9;
	served.stop = on_stop;
	served.arg = arg;
	svc_ready(&served, "up");
	if (getenv("NOTIFY_SOCKET") && svc_keep_fd("thing", fd))
		return 8;
	if (!getenv("NOTIFY_SOCKET") && svc_keep_fd("thing", fd) != -ENOTCONN)
		return 7;
	if (svc_listen_fd("thing") != -ENOENT || svc_kept_fd("thing", &fd) != -ENOENT)
		return 6;
	raise(SIGTERM);
	loop_run(served.loop);
	svc_close(&served);
	return 0;
}

TEST(a_signal_stops_and_a_second_one_ends)
{
	int once = 1, twice = 2;

	unsetenv("NOTIFY_SOCKET");
	EXPECT_EQ(in_child(serve, &once, NULL, 0), 0);
	EXPECT_EQ(in_child(serve, &twice, NULL, 0), 1);
}

static bool hears(int fd, const char *what, bool with_fd)
{
	char text[512] = "";
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof(ctl) };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct cmsghdr *c;
	int got = -1;

	if (poll(&p, 1, 5000) <= 0 || recvmsg(fd, &m, 0) <= 0)
		return false;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		memcpy(&got, CMSG_DATA(c), sizeof(got));
		close(got);
	}
	return strstr(text, what) && (got >= 0) == with_fd;
}

TEST(the_service_manager_is_told)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), once = 1;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char name[64];

	snprintf(name, sizeof(name), "@mc-svc-%d", getpid());
	memcpy(un.sun_path + 1, name + 1, strlen(name) - 1);
	ASSERT_EQ(bind(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	EXPECT_EQ(in_child(serve, &once, NULL, 0), 0);
	unsetenv("NOTIFY_SOCKET");
	EXPECT_TRUE(hears(fd, "READY=1", false));
	EXPECT_TRUE(hears(fd, "WATCHDOG=1", false));
	EXPECT_TRUE(hears(fd, "FDSTORE=1\nFDNAME=thing", true));
	EXPECT_TRUE(hears(fd, "STOPPING=1", false));
	close(fd);
}

/* @arg: how far stderr is from the stream that JOURNAL_STREAM names. */
static int complain(void *arg)
{
	struct run run = { .argv = { "test", "--no_such_flag" }, .ret = -EINVAL };
	char text[64];
	struct stat st;

	if (fstat(2, &st))
		return 1;
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + *(unsigned *)arg);
	setenv("JOURNAL_STREAM", text, 1);
	return open_once(&run);
}

TEST(levels_for_the_journal_and_only_for_it)
{
	unsigned here = 0, elsewhere = 1;
	char out[512];

	EXPECT_EQ(in_child(complain, &here, out, sizeof(out)), 0);
	EXPECT_EQ(strncmp(out, "<3>", 3), 0);
	EXPECT_EQ(in_child(complain, &elsewhere, out, sizeof(out)), 0);
	EXPECT_EQ(strncmp(out, "test: error: ", 13), 0);
}

TEST(metrics_text)
{
	struct buf b = BUF_INIT;

	metric_head(&b, "a_total", "counter", "things");
	metric_u64(&b, "a_total", NULL, 5);
	metric_u64(&b, "a_total", "x=\"y\"", UINT64_MAX);
	buf_put_u8(&b, 0);
	EXPECT_STREQ((char *)b.data, "# HELP a_total things\n# TYPE a_total counter\na_total 5\n"
				     "a_total{x=\"y\"} 18446744073709551615\n");
	buf_fini(&b);
}
