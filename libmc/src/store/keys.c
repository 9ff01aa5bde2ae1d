/* SPDX-License-Identifier: Apache-2.0 */
/* Full keys (tenant and key) for a batch. */
#include "store/store.h"

int keys_make(const struct mc_store *s, const void *items, unsigned nr, const struct mc_key *(*at)(const void *, unsigned),
	      struct keys *out)
{
	size_t prefix = strlen(s->tenant) + 1, sum = 0;
	uint8_t *p = out->bytes;

	out->key = out->small;
	out->heap = NULL;
	for (unsigned i = 0; i < nr; i++) {
		size_t len = at(items, i)->len;

		sum += len && len <= KEY_MAX ? prefix + len : 0;
	}
	if (nr > ARRAY_SIZE(out->small) || sum > sizeof(out->bytes)) {
		out->heap = malloc(nr * sizeof(*out->key) + sum);
		if (!out->heap)
			return -ENOMEM;
		out->key = out->heap;
		p = (uint8_t *)(out->key + nr);
	}
	for (unsigned i = 0; i < nr; i++) {
		const struct mc_key *k = at(items, i);

		out->key[i] = (struct key){ NULL, 0 };
		if (!k->len || k->len > KEY_MAX)
			continue;
		out->key[i] = (struct key){ p, (uint16_t)(prefix + k->len) };
		*p++ = (uint8_t)(prefix - 1);
		memcpy(p, s->tenant, prefix - 1);
		p += prefix - 1;
		memcpy(p, k->data, k->len);
		p += k->len;
	}
	return 0;
}

void keys_free(struct keys *k)
{
	free(k->heap);
}

unsigned keys_run(const struct key *keys, unsigned nr)
{
	unsigned n = 0;

	while (n < nr && keys[n].len)
		n++;
	return n;
}

int keys_enter(struct mc_store *s, const void *items, unsigned nr, const struct mc_key *(*at)(const void *, unsigned),
	       struct keys *out)
{
	int ret = nr > BATCH_MAX ? -E2BIG : store_enter(s);

	if (ret)
		return ret;
	ret = keys_make(s, items, nr, at, out);
	if (ret)
		store_leave(s);
	return ret;
}

void keys_leave(struct mc_store *s, struct keys *k)
{
	keys_free(k);
	store_leave(s);
}

#define KEY_COST 512 /* what a message has for a key beside its bytes; and an answer: 16 replicas of less than 32 bytes */

bool key_fits(size_t *bytes, const struct key *key)
{
	*bytes += key->len + KEY_COST;
	return *bytes <= NET_BODY_MAX;
}

unsigned keys_fit(const struct key *key, unsigned nr)
{
	size_t bytes = 0;
	unsigned n = 0;

	while (n < nr && key_fits(&bytes, &key[n]))
		n++;
	return n;
}
