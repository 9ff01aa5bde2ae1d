/* SPDX-License-Identifier: Apache-2.0 */
/* Segment descriptors as text and back, and one to begin with. */
#ifndef SEGMENT_RIG_H
#define SEGMENT_RIG_H

#include "proto/proto.h"

static inline int decode(const char *json, struct segment_desc *d)
{
	return segment_desc_decode(json, strlen(json), d);
}

/* The text of @d, terminated; the caller frees it. */
static inline char *encode(const struct segment_desc *d)
{
	struct buf b = BUF_INIT;

	if (segment_desc_encode(d, &b)) {
		buf_fini(&b);
		return NULL;
	}
	buf_put_u8(&b, 0);
	return (char *)b.data;
}

#define EXPECT_JSON(d, want)               \
	do {                               \
		char *text_ = encode(d);   \
		EXPECT_STREQ(text_, want); \
		free(text_);               \
	} while (0)

static struct segment_buffer two[] = {
	{ (char *)"10.0.0.1:15003", 140000000000000, 4096 },
	{ (char *)"10.0.0.1:15003", UINT64_MAX - 1, 1 },
};

static inline struct segment_desc sample(void)
{
	return (struct segment_desc){
		.name = (char *)"10.0.0.1:15003",
		.protocol = (char *)"tcp",
		.tcp_data_port = 16001,
		.tcp_proto_version = 2,
		.timestamp = (char *)"2026-08-22 10:11:12.000345",
		.buffers = two,
		.nr_buffers = 2,
	};
}

#endif
