/* SPDX-License-Identifier: Apache-2.0 */
/* mooncake-node as a process, and this test in the part of the service manager that keeps its descriptors. */
#ifndef NODE_RIG_H
#define NODE_RIG_H

#include <sys/un.h>

#include "integration/master_rig.h"
#include "unit/owner_client.h"

struct node_proc {
	pid_t pid;
	FILE *err;
	pthread_t reader;
	char unix_path[NET_ADDR_TEXT], addr[NET_ADDR_TEXT], http[NET_ADDR_TEXT];
	char said[65536]; /* its log; stable after node_stop() */
	size_t len;
};

/* What the service manager remembers of a service. */
struct fd_store {
	int sock;
	char path[108];
	unsigned nr;
	int fd[20];
	char name[20][64];
	bool ready, stopping;
};

static inline int store_open(struct fd_store *st)
{
	static unsigned nr;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int len;

	memset(st, 0, sizeof(*st));
	st->sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	len = snprintf(st->path, sizeof(st->path), "@mc-test-notify-%d-%u", getpid(), nr++);
	memcpy(a.sun_path + 1, st->path + 1, (size_t)len - 1);
	return bind(st->sock, (void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len));
}

static inline void store_forget(struct fd_store *st, const char *name)
{
	for (unsigned i = 0; i < st->nr;) {
		if (strcmp(st->name[i], name)) {
			i++;
			continue;
		}
		close(st->fd[i]);
		st->nr--;
		st->fd[i] = st->fd[st->nr];
		memcpy(st->name[i], st->name[st->nr], sizeof(st->name[i]));
	}
}

static inline void store_message(struct fd_store *st, char *text, int fd)
{
	char *save = NULL, *name = NULL;
	bool keep = false, forget = false;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		keep |= !strcmp(line, "FDSTORE=1");
		forget |= !strcmp(line, "FDSTOREREMOVE=1");
		st->ready |= !strcmp(line, "READY=1");
		st->stopping |= !strcmp(line, "STOPPING=1");
		if (!strncmp(line, "FDNAME=", 7))
			name = line + 7;
	}
	if (forget && name)
		store_forget(st, name);
	if (keep && name && fd >= 0 && st->nr < 20) {
		snprintf(st->name[st->nr], sizeof(st->name[0]), "%s", name);
		st->fd[st->nr++] = fd;
	} else if (fd >= 0) {
		close(fd);
	}
}

/* All that the service has said so far; a few messages wait in the socket, more than that would stop it. */
static inline void store_read(struct fd_store *st)
{
	char text[4096], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { text, sizeof(text) - 1 };

	for (;;) {
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(st->sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct cmsghdr *c;
		int fd = -1;

		if (n < 0)
			return;
		text[n] = 0;
		for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
				memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		store_message(st, text, fd);
	}
}

static inline void store_close(struct fd_store *st)
{
	store_read(st);
	for (unsigned i = 0; i < st->nr; i++)
		close(st->fd[i]);
	close(st->sock);
}

/* In the child: descriptors 3, 4 … and what says which they are. */
static inline void store_hand_over(const struct fd_store *st)
{
	char names[2048] = "", text[32];
	int high[20];

	setenv("NOTIFY_SOCKET", st->path, 1);
	for (unsigned i = 0; i < st->nr; i++)
		high[i] = fcntl(st->fd[i], F_DUPFD, 100);
	for (unsigned i = 0; i < st->nr; i++) {
		dup2(high[i], 3 + (int)i);
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? ":" : "", st->name[i]);
		close(high[i]);
	}
	snprintf(text, sizeof(text), "%d", getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%u", st->nr);
	setenv("LISTEN_FDS", text, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}

static inline void node_note(struct node_proc *n, const char *line)
{
	size_t len = strlen(line);

	if (n->len + len < sizeof(n->said)) {
		memcpy(n->said + n->len, line, len + 1);
		n->len += len;
	}
}

static inline void *node_reader(void *arg)
{
	struct node_proc *n = arg;
	char line[1024];

	while (fgets(line, sizeof(line), n->err))
		node_note(n, line);
	return NULL;
}

static inline int node_wait(struct node_proc *n)
{
	int status = -1;

	waitpid(n->pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Return: 0 when it serves; its exit status when it ended before. @st NULL: no service manager. */
static inline int node_exec(struct node_proc *n, struct fd_store *st, const char *const argv[])
{
	char path[PATH_MAX], line[1024], *at;
	int p[2], ret;

	memset(n, 0, sizeof(*n));
	rig_program(argv[0], path, sizeof(path));
	if (pipe2(p, O_CLOEXEC))
		return -1;
	n->pid = fork();
	if (!n->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing stays behind */
		dup2(p[1], 2);
		if (st)
			store_hand_over(st);
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(p[1]);
	n->err = fdopen(p[0], "r");
	while (fgets(line, sizeof(line), n->err)) {
		node_note(n, line);
		at = strstr(line, "http://");
		if (at)
			sscanf(at, "%127[^/]//%127[^/]", n->addr, n->http);
		at = strstr(line, "serving ");
		if (!at)
			continue;
		n->addr[0] = 0;
		sscanf(at, "serving %127s and %127s", n->unix_path, n->addr);
		pthread_create(&n->reader, NULL, node_reader, n);
		return 0;
	}
	ret = node_wait(n);
	fclose(n->err);
	return ret;
}

/* @master: its address, or a rig. */
static inline int node_start(struct node_proc *n, struct fd_store *st, uint16_t master_port, const char *extra)
{
	static unsigned nr;
	char master[64], unix_path[64];
	const char *argv[] = { "mooncake-node", "--port=0", "--huge_pages=false", "--global_segment_size=8mb", master, unix_path,
			       extra, NULL };
	int ret;

	snprintf(master, sizeof(master), "--master_server_address=127.0.0.1:%u", master_port);
	snprintf(unix_path, sizeof(unix_path), "--unix_path=unix:@mc-test-node-%d-%u", getpid(), nr++);
	ret = node_exec(n, st, argv);
	if (ret)
		MCTEST_FAIL("the node did not start: %d\n%s", ret, n->said);
	return ret;
}

static inline int node_stop(struct node_proc *n, int sig)
{
	int ret;

	kill(n->pid, sig);
	ret = node_wait(n);
	pthread_join(n->reader, NULL);
	fclose(n->err);
	return ret;
}

/* What most tests begin and end with: a master and a node, and a client of each. */
struct one_node {
	struct rig r;
	struct client m;
	struct node_proc n;
	struct tc c;
};

static inline int one_node_open(struct one_node *w)
{
	int ret = rig_master(&w->r, NULL, NULL, NULL);

	if (!ret)
		ret = node_start(&w->n, NULL, w->r.port, NULL);
	if (!ret)
		ret = client_open(&w->m, &w->r, false);
	if (!ret)
		ret = tc_open(&w->c, w->n.unix_path);
	if (ret)
		MCTEST_FAIL("no master with a node: %d", ret);
	return ret;
}

static inline void one_node_close(struct one_node *w)
{
	EXPECT_EQ(tc_return(&w->c), 0);
	tc_close(&w->c);
	client_close(&w->m);
	EXPECT_EQ(node_stop(&w->n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&w->r, SIGTERM), 0);
}

#endif
