/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of net share and nobody else sees. */
#ifndef MC_NET_PRIVATE_H
#define MC_NET_PRIVATE_H

#include "net/net.h"

bool net_fd_is_unix(int fd);
bool net_fd_is_near(int fd); /* TCP within this machine */
void net_peer_text(int fd, char *text, size_t size); /* who is there, for messages */

/* What the next bytes of a stream are; RX_SKIP: nobody wants them. */
enum rx_state { RX_HEADER, RX_BODY, RX_PAYLOAD, RX_SUM, RX_SKIP };

/*
 * Bytes of one system call: what is computed beside the transfer is computed for so many at a time, which are in the cache when the
 * kernel copies them out, or still are when it has copied them in, while the other end goes on.
 */
#define NET_STEP (256 * KiB)

/* ---- receive buffers (rbuf.c) ---- */

#define NET_RBUF (64 * KiB)
uint8_t *net_rbuf_get(void); /* NULL: no memory */
void net_rbuf_put(uint8_t *b);

/* ---- file descriptors in control messages (fds.c) ---- */

#define NET_CONTROL_BYTES CMSG_SPACE(NET_FDS_MAX * sizeof(int))

/* What recvmsg() brought and no frame has claimed yet: at most one message, because the kernel ends a read behind it. */
struct fd_box {
	int nr, fd[NET_FDS_MAX];
};

union net_control {
	char bytes[NET_CONTROL_BYTES];
	size_t align; /* as cmsghdr wants it */
};

void net_fds_attach(struct msghdr *m, union net_control *c, const int *fds, int nr);
int net_fds_collect(struct msghdr *m, struct fd_box *box); /* -EBADMSG: more than we ever send */
int net_fds_claim(struct fd_box *box, const struct net_frame *f, int *nr, int *fds); /* -EBADMSG: flag without any */
void net_fds_close(int *nr, int *fds);		    /* those that were not set to -1 */

/* ---- walking an iovec array ---- */

struct iov_walk {
	const struct iovec *iov;
	int nr;
	uint64_t skip; /* bytes of iov[0] that are done */
};

/* -EINVAL when the sum overflows or a count is negative. */
int iov_total(const struct iovec *iov, int nr, uint64_t *total);
/* Moves on by @n bytes, also past empty pieces. */
void iov_advance(struct iov_walk *w, uint64_t n);
/* What is left, at most @max pieces and @most bytes, into @out; those that touch as one: each costs the kernel. Return: pieces. */
int iov_rest(const struct iov_walk *w, struct iovec *out, int max, uint64_t most);
/* memcpy() into the walk, moving on; @n is at most what is left. */
void iov_fill(struct iov_walk *w, const void *data, uint64_t n);
/* The CRC-32C of the next @n bytes, continued from @crc, moving on; @n as above. */
uint32_t iov_crc(struct iov_walk *w, uint64_t n, uint32_t crc);

#endif
