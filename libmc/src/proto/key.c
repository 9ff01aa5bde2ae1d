// SPDX-License-Identifier: Apache-2.0
/* Full keys: u8 tenant length, tenant, key. */
#include "proto/proto.h"

int key_make(const char *tenant, const void *key, size_t len, uint8_t out[FULL_KEY_MAX],
	     uint16_t *out_len)
{
	size_t tlen = tenant ? strlen(tenant) : 0;

	if (!key || !len || len > KEY_MAX || tlen > TENANT_MAX)
		return -EINVAL;
	out[0] = (uint8_t)tlen;
	if (tlen)
		memcpy(out + 1, tenant, tlen);
	memcpy(out + 1 + tlen, key, len);
	*out_len = (uint16_t)(1 + tlen + len);
	return 0;
}

int key_split(const struct key *full, struct key *tenant, struct key *key)
{
	const uint8_t *p = full->data;
	size_t tlen, klen;

	if (full->len < 2)
		return -EBADMSG;
	tlen = p[0];
	if (tlen >= full->len - 1u)
		return -EBADMSG;
	klen = full->len - 1u - tlen;
	if (klen > KEY_MAX)
		return -EBADMSG;
	*tenant = (struct key){ .data = p + 1, .len = (uint16_t)tlen };
	*key = (struct key){ .data = p + 1 + tlen, .len = (uint16_t)klen };
	return 0;
}
