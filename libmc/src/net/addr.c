// SPDX-License-Identifier: Apache-2.0
/* Addresses as text and back. */
#include "net/net.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/log.h"

static int parse_port(const char *text, uint16_t *port)
{
	unsigned v = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*text - '0');
		if (v > UINT16_MAX)
			return -EINVAL;
	}
	*port = (uint16_t)v;
	return 0;
}

int net_split_host_port(const char *text, char *host, size_t size, uint16_t *port)
{
	const char *start = text, *end, *rest;
	uint16_t p = 0;
	size_t len;

	if (*text == '[') {
		start = text + 1;
		end = strchr(start, ']');
		if (!end)
			return -EINVAL;
		rest = end + 1;
	} else {
		end = strchr(text, ':');
		/* A second colon without brackets: an IPv6 address alone. */
		if (!end || strchr(end + 1, ':'))
			end = text + strlen(text);
		rest = end;
	}
	len = (size_t)(end - start);
	if (!len || len >= size)
		return -EINVAL;
	if (*rest && (*rest != ':' || parse_port(rest + 1, &p)))
		return -EINVAL;
	memcpy(host, start, len);
	host[len] = 0;
	*port = p;
	return 0;
}

/* @path after "unix:"; a leading @ stands for the zero byte of the abstract namespace. */
static int parse_unix(const char *path, struct net_addr *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->ss;
	size_t len = strlen(path);
	bool abstract = *path == '@';

	if (len < 1 + (size_t)abstract || len >= sizeof(un->sun_path)) {
		log_err("address \"unix:%s\": the path must have 1 to %zu bytes", path, sizeof(un->sun_path) - 1);
		return -EINVAL;
	}
	memset(out, 0, sizeof(*out));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len);
	if (abstract)
		un->sun_path[0] = 0;
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
	return 0;
}

/*
 * The resolver's first choice, except that "localhost" means 127.0.0.1 where it has both: that is where everybody listens
 * who says loopback, and a socket on ::1 alone would not be found there.
 */
static const struct addrinfo *choose(const struct addrinfo *list)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)list->ai_addr;
	const struct addrinfo *ai;

	if (list->ai_family != AF_INET6 || !IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr))
		return list;
	for (ai = list; ai; ai = ai->ai_next)
		if (ai->ai_family == AF_INET)
			return ai;
	return list;
}

static int resolve(const char *host, uint16_t port, struct net_addr *out)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	const struct addrinfo *ai;
	struct addrinfo *list;
	char service[8];
	int ret;

	snprintf(service, sizeof(service), "%u", port);
	ret = getaddrinfo(host, service, &hints, &list);
	/* RFC 6761: always the loopback, also in a container without /etc/hosts. */
	if (ret && !strcmp(host, "localhost"))
		ret = getaddrinfo("127.0.0.1", service, &hints, &list);
	if (ret) {
		log_err("host \"%s\" cannot be resolved: %s", host, gai_strerror(ret));
		return -EINVAL;
	}
	memset(out, 0, sizeof(*out));
	ai = choose(list);
	memcpy(&out->ss, ai->ai_addr, ai->ai_addrlen);
	out->len = ai->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

int net_addr_parse(const char *text, uint16_t port, struct net_addr *out)
{
	char host[256]; /* a DNS name has at most 253 bytes */
	uint16_t p;

	if (!strncmp(text, "unix:", 5))
		return parse_unix(text + 5, out);
	if (net_split_host_port(text, host, sizeof(host), &p)) {
		log_err("malformed address \"%s\": want host:port, [v6]:port or unix:/path", text);
		return -EINVAL;
	}
	return resolve(host, p ? p : port, out);
}

static void format_unix(const struct net_addr *a, char *text, size_t size)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;
	size_t off = offsetof(struct sockaddr_un, sun_path);
	size_t len = a->len > off ? a->len - off : 0;

	if (len && !un->sun_path[0])
		snprintf(text, size, "unix:@%.*s", (int)len - 1, un->sun_path + 1);
	else
		snprintf(text, size, "unix:%.*s", (int)len, len ? un->sun_path : "");
}

void net_addr_format(const struct net_addr *a, char *text, size_t size)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->ss;
	char host[INET6_ADDRSTRLEN + 16] = "";

	switch (a->ss.ss_family) {
	case AF_UNIX:
		format_unix(a, text, size);
		break;
	case AF_INET:
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
		break;
	case AF_INET6:
		/* getnameinfo() knows the scope of link-local addresses; numeric, so it does not block. */
		if (getnameinfo((const struct sockaddr *)&a->ss, a->len, host, sizeof(host), NULL, 0, NI_NUMERICHOST))
			inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, size, "[%s]:%u", host, ntohs(in6->sin6_port));
		break;
	default:
		snprintf(text, size, "unknown");
	}
}

uint16_t net_addr_port(const struct net_addr *a)
{
	if (a->ss.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&a->ss)->sin_port);
	if (a->ss.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->ss)->sin6_port);
	return 0;
}

bool net_addr_is_unix(const struct net_addr *a)
{
	return a->ss.ss_family == AF_UNIX;
}

bool net_addr_is_loopback(const struct net_addr *a)
{
	const struct in6_addr *in6 = &((const struct sockaddr_in6 *)&a->ss)->sin6_addr;
	const struct in_addr *in = &((const struct sockaddr_in *)&a->ss)->sin_addr;

	if (a->ss.ss_family == AF_INET)
		return ntohl(in->s_addr) >> 24 == IN_LOOPBACKNET;
	if (a->ss.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == IN_LOOPBACKNET);
	return false;
}
