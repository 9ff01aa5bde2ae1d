// SPDX-License-Identifier: Apache-2.0
/* Sockets: listening, connecting by a deadline, who is at the other end. */
#include "net/net.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "net/net_private.h"

static void set_port(struct net_addr *a, uint16_t port)
{
	if (a->ss.ss_family == AF_INET)
		((struct sockaddr_in *)&a->ss)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&a->ss)->sin6_port = htons(port);
}

static int socket_for(const struct net_addr *a)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static void set_int(int fd, int level, int opt, int v)
{
	/* Tuning only: a socket that refuses works, just less well. */
	if (setsockopt(fd, level, opt, &v, sizeof(v)))
		log_debug("setsockopt %d/%d: %s", level, opt, strerror(errno));
}

void net_keepalive(int fd, int idle_s, int each_s)
{
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, each_s);
}

/* What is sent to an own address comes from it. */
bool net_fd_is_near(int fd)
{
	struct net_addr mine = { .len = sizeof(mine.ss) }, theirs = { .len = sizeof(theirs.ss) };

	if (getsockname(fd, (struct sockaddr *)&mine.ss, &mine.len) || getpeername(fd, (struct sockaddr *)&theirs.ss, &theirs.len))
		return false;
	if (net_addr_is_unix(&mine))
		return false;
	set_port(&mine, 0);
	set_port(&theirs, 0);
	return mine.len == theirs.len && !memcmp(&mine.ss, &theirs.ss, mine.len);
}

/*
 * Within the machine there is no network whose rate would have to be found and kept. bbr does so all the same: a timer for every
 * few segments is a quarter of the sender's processor time, and what starts after a pause is held back.
 */
static void stop_pacing(int fd)
{
	static const char *const plain[] = { "cubic", "reno" };
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) || strncmp(name, "bbr", 3))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
		if (!setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, plain[i], (socklen_t)strlen(plain[i])))
			return;
}

void net_unpace(int fd, const struct net_addr *a)
{
	if (net_addr_is_loopback(a))
		stop_pacing(fd);
}

void net_tune(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain == AF_UNIX)
		return;
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	net_keepalive(fd, NET_KEEPALIVE_S, NET_KEEPALIVE_EACH_S);
	if (net_fd_is_near(fd))
		stop_pacing(fd);
}

/* ---- listening ---- */

/* A socket file that nobody accepts on is what a killed process leaves. */
static bool unix_path_is_stale(const struct net_addr *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;
	struct stat st;
	bool stale;
	int fd;

	if (!un->sun_path[0] || lstat(un->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket_for(a);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)&a->ss, a->len) && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(int fd, const struct net_addr *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;
	int ret;

	/* On Linux the file gets the socket's mode at bind(), so there is no moment in which others may connect. */
	if (un->sun_path[0] && fchmod(fd, 0660))
		return -errno;
	ret = bind(fd, (const struct sockaddr *)&a->ss, a->len) ? -errno : 0;
	if (ret == -EADDRINUSE && unix_path_is_stale(a)) {
		unlink(un->sun_path);
		ret = bind(fd, (const struct sockaddr *)&a->ss, a->len) ? -errno : 0;
	}
	if (!ret && un->sun_path[0] && chmod(un->sun_path, 0660))
		ret = -errno;
	return ret;
}

static int bind_inet(int fd, const struct net_addr *a)
{
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (a->ss.ss_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	return bind(fd, (const struct sockaddr *)&a->ss, a->len) ? -errno : 0;
}

static int listen_quiet(const struct net_addr *a, int backlog, int *out)
{
	int fd = socket_for(a), ret;

	if (fd < 0)
		return fd;
	ret = net_addr_is_unix(a) ? bind_unix(fd, a) : bind_inet(fd, a);
	if (!ret)
		net_unpace(fd, a); /* who is accepted takes after it */
	if (!ret && listen(fd, backlog))
		ret = -errno;
	if (ret) {
		close(fd);
		return ret;
	}
	*out = fd;
	return 0;
}

int net_listen(const struct net_addr *a, int backlog, int *fd)
{
	char text[NET_ADDR_TEXT];
	int ret = listen_quiet(a, backlog, fd);

	if (ret) {
		net_addr_format(a, text, sizeof(text));
		log_err("cannot listen on %s: %s%s", text, strerror(-ret),
			ret == -EADDRINUSE ? "; stop the other process or choose another address" : "");
	}
	return ret;
}

int net_listen_range(const char *host, uint16_t min_port, uint16_t max_port, int *fd, uint16_t *port)
{
	struct net_addr a;
	uint32_t count, first, i;
	int ret;

	if (!min_port || min_port > max_port)
		return -EINVAL;
	ret = net_addr_parse(host, min_port, &a);
	if (ret)
		return ret;
	if (net_addr_is_unix(&a))
		return -EINVAL;
	count = (uint32_t)max_port - min_port + 1;
	random_bytes(&first, sizeof(first));
	for (i = 0; i < count; i++) {
		uint16_t p = (uint16_t)(min_port + (first % count + i) % count);

		set_port(&a, p);
		ret = listen_quiet(&a, SOMAXCONN, fd);
		if (!ret) {
			*port = p;
			return 0;
		}
		if (ret != -EADDRINUSE && ret != -EACCES)
			break;
	}
	log_err("no port in %u to %u on %s to listen on: %s", min_port, max_port, host, strerror(-ret));
	return ret;
}

/* ---- connecting ---- */

static int wait_connected(int fd, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0, ret;

	do
		ret = poll(&p, 1, deadline_left_ms(deadline_ns));
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	if (!ret)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return -errno;
	return -err;
}

/*
 * A Unix socket whose backlog is full says EAGAIN and has nothing to poll for; a blocking connect() waits in the kernel,
 * bounded by the send timeout.
 */
static int connect_unix_busy(int fd, const struct net_addr *a, uint64_t deadline_ns)
{
	struct timeval tv;
	int flags = fcntl(fd, F_GETFL), ret, ms;

	for (;;) {
		ms = MIN((unsigned)deadline_left_ms(deadline_ns), 1000u);
		if (!ms)
			return -ETIMEDOUT;
		tv = (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK))
			return -errno;
		ret = connect(fd, (const struct sockaddr *)&a->ss, a->len) ? -errno : 0;
		if (ret != -EAGAIN && ret != -EINTR)
			break;
	}
	tv = (struct timeval){ 0 };
	if (!ret && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) || fcntl(fd, F_SETFL, flags)))
		ret = -errno;
	return ret;
}

int net_connect(const struct net_addr *a, uint64_t deadline_ns, int *out)
{
	int fd = socket_for(a), ret = 0;

	if (fd < 0)
		return fd;
	net_unpace(fd, a);
	if (connect(fd, (const struct sockaddr *)&a->ss, a->len))
		ret = -errno;
	if (ret == -EINPROGRESS || ret == -EINTR)
		ret = wait_connected(fd, MIN(deadline_ns, deadline_after_ns(NET_CONNECT_NS)));
	else if (ret == -EAGAIN && net_addr_is_unix(a))
		ret = connect_unix_busy(fd, a, deadline_ns);
	if (ret) {
		close(fd);
		return ret;
	}
	net_tune(fd);
	*out = fd;
	return 0;
}

int net_source_addr(const struct net_addr *peer, struct net_addr *out)
{
	struct net_addr to = *peer;
	struct net_addr got = { .len = sizeof(got.ss) };
	int fd, ret = 0;

	if (net_addr_is_unix(peer))
		return -EOPNOTSUPP;
	if (!net_addr_port(&to))
		set_port(&to, 9); /* connect() refuses port 0; a datagram socket sends nothing */
	fd = socket(peer->ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to.ss, to.len) ||
	    getsockname(fd, (struct sockaddr *)&got.ss, &got.len))
		ret = -errno;
	close(fd);
	if (ret)
		return ret;
	set_port(&got, 0);
	*out = got;
	return 0;
}

/* ---- the other end ---- */

int net_peer_cred(int fd, struct net_cred *out)
{
	struct ucred u;
	socklen_t len = sizeof(u);
	int domain;
	socklen_t dlen = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &dlen))
		return -errno;
	if (domain != AF_UNIX)
		return -EOPNOTSUPP;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len))
		return -errno;
	*out = (struct net_cred){ .pid = u.pid, .uid = u.uid, .gid = u.gid };
	return 0;
}

bool net_fd_is_unix(int fd)
{
	socklen_t len = sizeof(int);
	int domain = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX;
}

void net_peer_text(int fd, char *text, size_t size)
{
	struct net_addr a = { .len = sizeof(a.ss) };
	struct net_cred cred;

	if (!net_peer_cred(fd, &cred))
		snprintf(text, size, "process %d (uid %u)", cred.pid, cred.uid);
	else if (!getpeername(fd, (struct sockaddr *)&a.ss, &a.len))
		net_addr_format(&a, text, size);
	else
		snprintf(text, size, "a peer that is gone");
}
