// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes from a hostile peer on an engine's two ports. The first byte says which: the handshake's,
 * or the data port, where what follows may be our frames or upstream's headers. Memory is
 * registered at a fixed address, which the seeds know. The second byte says how the stream is cut
 * into writes.
 */
#include <mooncake/engine.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "meta/meta.h"
#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MEM_ADDR  0x10000000
#define MEM_BYTES 65536
#define EDGE	  4096 /* on both sides, registered by nobody */

static struct mc_engine *eng;
static struct net_addr handshake_addr, data_addr;
static uint8_t *mem;

static void silence(void *arg, enum mc_log_level level, const char *text)
{
}

static void start(void)
{
	struct mc_engine_opts o = { .size = sizeof(o), .transports = "tcp" };
	struct buf answer = BUF_INIT;
	struct segment_desc d;

	mc_log_set(silence, NULL, MC_LOG_ERR);
	mem = mmap((void *)(MEM_ADDR - EDGE), MEM_BYTES + 2 * EDGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (mem == MAP_FAILED || mc_engine_open(&o, &eng) ||
	    mc_region_add(eng, mem + EDGE, MEM_BYTES, NULL, NULL))
		abort();
	if (handshake_call("127.0.0.1", mc_engine_rpc_port(eng), HANDSHAKE_METADATA, "{}",
			   deadline_after_ms(5000), &answer) ||
	    segment_desc_decode((char *)answer.data, answer.len, &d) ||
	    net_addr_parse("127.0.0.1", mc_engine_rpc_port(eng), &handshake_addr) ||
	    net_addr_parse("127.0.0.1", (uint16_t)d.tcp_data_port, &data_addr))
		abort();
	segment_desc_fini(&d);
	buf_fini(&answer);
}

/* Everything up to the other side's end; it must come soon after ours. */
static void receive(int fd)
{
	struct timeval tv = { .tv_sec = 8 };
	static uint8_t in[65536];
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	do
		n = recv(fd, in, sizeof(in), 0);
	while (n > 0);
	if (n < 0 && errno == EAGAIN)
		abort();
}

/* Nobody may write beside the registered range. */
static void look_at_edges(void)
{
	static const uint8_t zero[EDGE];

	if (memcmp(mem, zero, EDGE) || memcmp(mem + EDGE + MEM_BYTES, zero, EDGE))
		abort();
}

/* A loopback that is busy with other tests may be out of ports for a moment. */
static int connected(const struct net_addr *a)
{
	uint64_t end = deadline_after_ms(5000);
	int fd, err;

	do {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			break;
		if (!connect(fd, (const struct sockaddr *)&a->ss, a->len))
			return fd;
		err = errno;
		close(fd);
	} while ((err == EADDRNOTAVAIL || err == EINTR) && !deadline_passed(end)); /* EINTR: the engine's timer */
	perror("connect");
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct linger hard = { .l_onoff = 1 };
	size_t step;
	int fd;

	if (len < 2)
		return 0;
	if (!eng)
		start();
	fd = connected(data[0] & 1 ? &data_addr : &handshake_addr);
	net_tune(fd);
	step = data[1] & 1 ? (size_t)(data[1] >> 1) + 16 : len;
	for (size_t at = 2; at < len; at += step) {
		if (send(fd, data + at, MIN(step, len - at), MSG_NOSIGNAL) < 0)
			break;
	}
	shutdown(fd, SHUT_WR);
	receive(fd);
	/* No waiting in TIME_WAIT: ports would run out. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	look_at_edges();
	return 0;
}
