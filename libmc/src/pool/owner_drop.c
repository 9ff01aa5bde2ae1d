// SPDX-License-Identifier: Apache-2.0
/*
 * Removal, as the master asks for it. Objects whose own verdict is still on its way are known to the master already, so they are
 * marked and go when it arrives.
 */
#include "pool/owner_private.h"

static int drop_one(struct owner *ow, const struct drop_item *it, bool force, uint64_t now_ns)
{
	int ret;

	if (it->gen && pool_staged_by_gen(ow->pool, it->gen))
		return publish_dropped(ow, it->gen);
	ret = pool_drop(ow->pool, &it->key, it->gen, force, now_ns, ow->link.lease_ns);
	if (!ret)
		ow->count.drops++;
	return ret == -ENOENT ? 0 : ret;
}

void drop_request(struct owner *ow, struct conn_req *r)
{
	struct msg_statuses rep = { 0 };
	struct buf b = BUF_INIT;
	uint64_t now = clock_now_ns();
	struct msg_drop m;
	int ret;

	ret = msg_drop_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	if (!ret) {
		rep.nr = m.nr;
		rep.status = scratch_alloc(&ow->scratch, m.nr, sizeof(*rep.status));
		ret = rep.status || !m.nr ? 0 : -ENOMEM;
	}
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	pool_drain_touches(ow->pool, now);
	for (uint32_t i = 0; i < m.nr; i++)
		rep.status[i] = drop_one(ow, &m.items[i], m.force, now);
	msg_statuses_encode(&rep, &b);
	reply_buf(r, &b);
}

static bool starts_with(const struct key *k, const uint8_t *prefix, size_t len)
{
	return k->len >= len && !memcmp(k->data, prefix, len);
}

/* What is under way to the master may have come before or after its sweep: it counts as before, and is withdrawn. */
static int drop_sent(struct owner *ow, const uint8_t *prefix, size_t len, uint64_t *count)
{
	struct commit *cm;
	int ret;

	list_for_each_entry(cm, &ow->publish.sent, node) {
		for (uint32_t i = 0; i < cm->nr; i++) {
			const struct publish_item *it = cm->staged[i] ? staged_item(cm->staged[i]) : NULL;

			if (!it || !starts_with(&it->key, prefix, len))
				continue;
			ret = publish_dropped(ow, it->loc.gen);
			if (ret)
				return ret;
			++*count;
		}
	}
	return 0;
}

void drop_match_request(struct owner *ow, struct conn_req *r)
{
	uint8_t prefix[TENANT_MAX + 1];
	struct msg_count rep = { 0 };
	struct buf b = BUF_INIT;
	uint64_t now = clock_now_ns();
	struct msg_drop_match m;
	size_t len = 0;
	int ret;

	ret = msg_drop_match_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	if (!ret && m.tenant.len > TENANT_MAX)
		ret = -EINVAL;
	if (!ret && !m.all_tenants) {
		prefix[0] = (uint8_t)m.tenant.len;
		if (m.tenant.len)
			memcpy(prefix + 1, m.tenant.data, m.tenant.len);
		len = 1u + m.tenant.len;
	}
	if (!ret)
		ret = drop_sent(ow, prefix, len, &rep.count);
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	pool_drain_touches(ow->pool, now);
	rep.count += pool_drop_prefix(ow->pool, prefix, len, m.force, now, ow->link.lease_ns);
	ow->count.drops += rep.count;
	msg_count_encode(&rep, &b);
	reply_buf(r, &b);
}
