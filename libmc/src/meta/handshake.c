/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake channel's frames, and its client: upstream's framing, one exchange per connection.
 */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "meta/meta.h"
#include "net/net.h"

#define HEADER_BYTES 8 /* the length; the type byte counts as part of what follows */

int handshake_parse(const void *data, size_t len, struct handshake_frame *out)
{
	const uint8_t *p = data;
	uint64_t n;

	if (len < HEADER_BYTES)
		return -EAGAIN;
	n = get_le64(p);
	if (!n || n > HANDSHAKE_MAX)
		return -EBADMSG;
	if (len - HEADER_BYTES < n)
		return -EAGAIN;
	p += HEADER_BYTES;
	/* Without a type byte the JSON begins at once. */
	out->legacy = *p == '{';
	out->type = out->legacy ? HANDSHAKE_CONNECTION : *p;
	out->text = (const char *)p + !out->legacy;
	out->len = n - !out->legacy;
	return 0;
}

void handshake_put(struct buf *b, const struct handshake_frame *f)
{
	buf_put_u64(b, f->len + !f->legacy);
	if (!f->legacy)
		buf_put_u8(b, f->type);
	buf_put(b, f->text, f->len);
}

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int n;

	do {
		n = poll(&pfd, 1, deadline_left_ms(deadline_ns));
	} while (n < 0 && errno == EINTR && !deadline_passed(deadline_ns));
	return n > 0 ? 0 : n < 0 && errno != EINTR ? -errno : -ETIMEDOUT;
}

static int send_all(int fd, const struct buf *b, uint64_t deadline_ns)
{
	size_t sent = 0;

	while (sent < b->len) {
		ssize_t n = send(fd, b->data + sent, b->len - sent, MSG_NOSIGNAL);
		int ret;

		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		ret = wait_for(fd, POLLOUT, deadline_ns);
		if (ret)
			return ret;
	}
	return 0;
}

static int recv_frame(int fd, struct buf *in, uint64_t deadline_ns, struct handshake_frame *f)
{
	int ret;

	while ((ret = handshake_parse(in->data, in->len, f)) == -EAGAIN) {
		ssize_t n;

		if (buf_reserve(in, 16 * KiB))
			return -ENOMEM;
		n = recv(fd, in->data + in->len, in->cap - in->len, 0);
		if (n > 0)
			in->len += (size_t)n;
		else if (!n)
			return -ECONNRESET;
		else if (errno == EAGAIN)
			ret = wait_for(fd, POLLIN, deadline_ns);
		else if (errno != EINTR)
			return -errno;
		if (ret && ret != -EAGAIN)
			return ret;
	}
	return ret;
}

int handshake_call(const char *host, uint16_t port, enum handshake_type type, const char *text,
		   uint64_t deadline_ns, struct buf *answer)
{
	struct handshake_frame out = { .type = (uint8_t)type, .text = text, .len = strlen(text) };
	struct handshake_frame f = { 0 };
	struct buf req = BUF_INIT, in = BUF_INIT;
	struct net_addr addr;
	int fd, ret;

	ret = net_addr_parse(host, port, &addr);
	if (ret)
		return ret == -EINVAL ? -EHOSTUNREACH : ret;
	ret = net_connect(&addr, deadline_ns, &fd);
	if (ret) {
		err_note("peer %s port %u: handshake: %s", host, port, strerror(-ret));
		return ret;
	}
	handshake_put(&req, &out);
	ret = req.err ? req.err : send_all(fd, &req, deadline_ns);
	if (!ret)
		ret = recv_frame(fd, &in, deadline_ns, &f);
	if (!ret && (f.legacy || f.type != type))
		ret = -EBADMSG;
	if (!ret) {
		buf_put(answer, f.text, f.len);
		ret = answer->err;
	} else {
		err_note("peer %s port %u: handshake: %s", host, port, strerror(-ret));
	}
	close(fd);
	buf_fini(&req);
	buf_fini(&in);
	return ret;
}
