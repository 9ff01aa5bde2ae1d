// SPDX-License-Identifier: Apache-2.0
/* This machine's own addresses: those that mean all of them, and the one to tell others. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

#include "net/net.h"

bool net_host_is_any(const char *host)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai;
	const struct sockaddr_in6 *v6;
	const struct sockaddr_in *v4;
	bool any;

	if (!strcmp(host, "*"))
		return true;
	if (getaddrinfo(host, NULL, &hints, &ai))
		return false;
	v4 = (const void *)ai->ai_addr;
	v6 = (const void *)ai->ai_addr;
	if (ai->ai_family == AF_INET)
		any = !v4->sin_addr.s_addr;
	else
		any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ||
		      (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && !v6->sin6_addr.s6_addr32[3]);
	freeaddrinfo(ai);
	return any;
}

static int host_of(const struct net_addr *a, char *host, size_t size)
{
	char text[NET_ADDR_TEXT];
	uint16_t port;

	net_addr_format(a, text, sizeof(text));
	return net_split_host_port(text, host, size, &port);
}

static int of_interface(int family, char *host, size_t size)
{
	struct ifaddrs *all, *i;
	int ret = -EADDRNOTAVAIL;

	if (getifaddrs(&all))
		return -errno;
	for (i = all; i && ret; i = i->ifa_next) {
		struct net_addr a = { .len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6) };
		const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;

		if (!i->ifa_addr || i->ifa_addr->sa_family != family || !(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK)
			continue;
		if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
			continue; /* means nothing without the interface */
		memcpy(&a.ss, i->ifa_addr, a.len);
		ret = host_of(&a, host, size);
	}
	freeifaddrs(all);
	return ret;
}

int net_own_host(const struct net_addr *peer, char *host, size_t size)
{
	struct net_addr mine;
	int ret;

	if (peer && !net_addr_is_unix(peer) && !net_source_addr(peer, &mine) && !net_addr_is_loopback(&mine))
		return host_of(&mine, host, size);
	ret = of_interface(AF_INET, host, size);
	return ret == -EADDRNOTAVAIL ? of_interface(AF_INET6, host, size) : ret;
}
