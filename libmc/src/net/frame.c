// SPDX-License-Identifier: Apache-2.0
/* The 32 bytes in front of every message: docs/protocol.md, "Frames". */
#include "net/net.h"

#define FRAME_MAGIC 0x3143434du /* "MCC1" */
#define FRAME_VERSION 1
#define FRAME_FLAGS (NET_REPLY | NET_ONEWAY | NET_FDS | NET_SUM)
#define ERRNO_MAX 4095 /* the kernel's limit for error codes */

void net_frame_encode(const struct net_frame *f, uint8_t out[NET_FRAME_BYTES])
{
	put_le32(out, FRAME_MAGIC);
	out[4] = FRAME_VERSION;
	out[5] = f->flags;
	put_le16(out + 6, f->type);
	put_le32(out + 8, (uint32_t)f->status);
	put_le32(out + 12, f->body_len);
	put_le64(out + 16, f->id);
	put_le64(out + 24, f->payload_len);
}

static bool frame_sane(const struct net_frame *f)
{
	if (f->flags & ~FRAME_FLAGS || (f->flags & (NET_REPLY | NET_ONEWAY)) == (NET_REPLY | NET_ONEWAY))
		return false;
	if (f->flags & NET_SUM && !f->payload_len)
		return false;
	if (f->status > 0 || f->status < -ERRNO_MAX || (f->status && !(f->flags & NET_REPLY)))
		return false;
	return f->body_len <= NET_BODY_MAX && f->payload_len <= NET_PAYLOAD_MAX;
}

int net_frame_decode(const uint8_t in[NET_FRAME_BYTES], struct net_frame *f)
{
	struct net_frame got = {
		.flags = in[5],
		.type = get_le16(in + 6),
		.status = (int32_t)get_le32(in + 8),
		.body_len = get_le32(in + 12),
		.id = get_le64(in + 16),
		.payload_len = get_le64(in + 24),
	};

	if (get_le32(in) != FRAME_MAGIC || in[4] != FRAME_VERSION || !frame_sane(&got))
		return -EBADMSG;
	*f = got;
	return 0;
}
