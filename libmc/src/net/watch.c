// SPDX-License-Identifier: Apache-2.0
/* Is the machine at the other end still there? What the kernel knows of a connection, asked while somebody waits on it. */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "net/net.h"

#define FIRST_LOOK_NS (400 * NSEC_PER_MSEC)
#define NEXT_LOOK_NS (100 * NSEC_PER_MSEC)
#define RESENT_MAX 3	   /* the kernel sends again after 0.2, 0.6 and 1.4 s; later where round trips take long */
#define PROBES_MAX 2	   /* a second apart, the first after one of silence */
#define UNHEARD_MS 1000

static void probe(struct net_watch *w, int fd, bool on)
{
	if (w->probing == on)
		return;
	w->probing = on;
	net_keepalive(fd, on ? 1 : NET_KEEPALIVE_S, on ? 1 : NET_KEEPALIVE_EACH_S);
}

void net_watch_heard(struct net_watch *w, int fd)
{
	w->look_ns = 0;
	probe(w, fd, false);
}

/*
 * Data that is not acknowledged is sent again by the kernel; when there is none, because the answer is due, keep-alive asks. A
 * process that is stopped, or does not read, still has a kernel that answers both.
 */
static bool cut_off(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) || info.tcpi_state != TCP_ESTABLISHED)
		return false;
	return (info.tcpi_retransmits >= RESENT_MAX || info.tcpi_probes >= PROBES_MAX) && info.tcpi_last_ack_recv >= UNHEARD_MS;
}

bool net_watch_cut_off(struct net_watch *w, int fd)
{
	uint64_t now = clock_now_ns();

	if (!w->look_ns) {
		w->look_ns = now + FIRST_LOOK_NS;
		return false;
	}
	if (now < w->look_ns)
		return false;
	w->look_ns = now + NEXT_LOOK_NS;
	probe(w, fd, true);
	return cut_off(fd);
}
