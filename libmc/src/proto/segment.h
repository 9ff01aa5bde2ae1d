/* SPDX-License-Identifier: Apache-2.0 */
/* What descriptors of protocols that move memory by NICs say beside the others (segment_nics.c). */
#ifndef MC_PROTO_SEGMENT_H
#define MC_PROTO_SEGMENT_H

#include "proto/json.h"

/* How the members must hang together. */
struct nic_rules {
	bool keys;    /* buffers have as many lkeys as rkeys */
	bool per_nic; /* … and one for each device */
};

void nics_fini(struct segment_desc *d);
bool nics_copy(const struct segment_desc *d, struct segment_desc *out); /* into what is not there yet; false: no memory */
bool keys_copy(const struct segment_buffer *b, struct segment_buffer *out);

/* Would upstream's readers take them? */
bool nics_publishable(const struct segment_desc *d);
/* Members in byte order, each with a comma behind it or before it. */
void keys_put_lkey(const struct segment_buffer *b, struct buf *json);
void keys_put_rkey(const struct segment_buffer *b, struct buf *json);
void nics_put_devices(const struct segment_desc *d, struct buf *json);
void nics_put_places(const struct segment_desc *d, struct buf *json);

/* -EBADMSG, -ENOMEM. */
int nics_read(struct json_object *o, struct segment_desc *d);
int keys_read(struct json_object *o, const struct nic_rules *rules, uint32_t nr_nics, struct segment_buffer *out);

#endif
