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

/* The beginning of the full keys that are meant. -EINVAL: no tenant's. */
static int prefix_of(const struct msg_drop_match *m, uint8_t out[TENANT_MAX + 1], size_t *len)
{
	*len = 0;
	if (m->tenant.len > TENANT_MAX)
		return -EINVAL;
	if (m->all_tenants)
		return 0;
	out[0] = (uint8_t)m->tenant.len;
	if (m->tenant.len)
		memcpy(out + 1, m->tenant.data, m->tenant.len);
	*len = 1u + m->tenant.len;
	return 0;
}

static int sweep(struct owner *ow, const struct msg_drop_match *m, struct msg_dropped *rep)
{
	struct pool_kept *kept = scratch_alloc(&ow->scratch, 1, sizeof(*kept));
	uint8_t prefix[TENANT_MAX + 1];
	uint64_t now = clock_now_ns();
	size_t len;
	int ret;

	rep->kept = scratch_alloc(&ow->scratch, KEPT_MAX, sizeof(*rep->kept));
	if (!kept || !rep->kept)
		return -ENOMEM;
	kept->nr = 0;
	ret = prefix_of(m, prefix, &len);
	if (!ret)
		ret = drop_sent(ow, prefix, len, &rep->count);
	if (ret)
		return ret;
	pool_drain_touches(ow->pool, now);
	for (uint32_t i = 0; i < m->nr && !m->force; i++)
		pool_touch(ow->pool, &m->leased[i].key, now);
	rep->count += pool_sweep(ow->pool, prefix, len, m->force, now, ow->link.lease_ns, kept);
	rep->nr = pool_kept_items(ow->pool, kept, rep->kept);
	return 0;
}

void drop_match_request(struct owner *ow, struct conn_req *r)
{
	struct msg_dropped rep = { 0 };
	struct buf b = BUF_INIT;
	struct msg_drop_match m;
	int ret;

	ret = msg_drop_match_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	if (!ret)
		ret = sweep(ow, &m, &rep);
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	ow->count.drops += rep.count;
	msg_dropped_encode(&rep, &b);
	reply_buf(r, &b);
}
