// SPDX-License-Identifier: Apache-2.0
/*
 * /metrics under the names that dashboards for upstream's master already use, as far as this master has something to count, and
 * a few of our own (mooncake_master_*). /metrics/summary is the same in one line.
 */
#include "admin.h"

struct sums {
	uint64_t used, capacity, evicted, evicted_bytes;
	unsigned online, suspect, lost;
};

static void add_up(void *arg, const struct pool *p)
{
	struct sums *s = arg;

	s->online += p->state == POOL_ONLINE;
	s->suspect += p->state == POOL_SUSPECT;
	s->lost += p->state == POOL_LOST;
	if (p->state == POOL_LOST)
		return;
	s->used += p->info.used;
	s->capacity += p->info.capacity;
	s->evicted += p->stat.evicted;
	s->evicted_bytes += p->stat.evicted_bytes;
}

static void one(struct buf *out, const char *name, const char *type, const char *help, uint64_t v)
{
	metric_head(out, name, type, help);
	metric_u64(out, name, NULL, v);
}

static void gauge(struct buf *out, const char *name, const char *help, uint64_t v)
{
	one(out, name, "gauge", help, v);
}

/* ---- per segment ---- */

struct per_segment {
	struct buf *out;
	const char *name;
	bool used;
};

/* A label's value: backslash, quote and line feed are escaped. */
static void label(const struct key *k, char *out, size_t size)
{
	const char *p = k->data;
	size_t at = 0;

	for (unsigned i = 0; i < k->len && at + 3 < size; i++) {
		char c = p[i];

		if (c == '\\' || c == '"' || c == '\n')
			out[at++] = '\\';
		out[at++] = c == '\n' ? 'n' : c;
	}
	out[at] = 0;
}

static void segment_line(void *arg, const struct pool *p)
{
	struct per_segment *ps = arg;
	char name[256], labels[320];

	if (p->state == POOL_LOST)
		return;
	label(&p->info.segment, name, sizeof(name));
	snprintf(labels, sizeof(labels), "segment=\"%s\",pool=\"%u\"", name, p->info.index);
	metric_u64(ps->out, ps->name, labels, ps->used ? p->info.used : p->info.capacity);
}

static void segments(struct master *m, struct buf *out)
{
	struct per_segment ps = { .out = out };

	ps.name = "segment_allocated_bytes";
	ps.used = true;
	metric_head(out, ps.name, "gauge", "bytes in use per segment");
	pools_each(m->pools, segment_line, &ps);
	ps.name = "segment_total_capacity_bytes";
	ps.used = false;
	metric_head(out, ps.name, "gauge", "bytes per segment");
	pools_each(m->pools, segment_line, &ps);
}

/* ---- counters ---- */

static const struct {
	const char *name, *help;
	enum counter c;
} counters[] = {
	{ "master_exist_key_requests_total", "existence checks of one key", CNT_EXIST },
	{ "master_batch_exist_key_requests_total", "existence checks of several keys", CNT_EXIST_BATCH },
	{ "master_batch_exist_key_items_total", "keys checked for existence", CNT_EXIST_ITEMS },
	{ "master_get_replica_list_requests_total", "look-ups of one key", CNT_GET },
	{ "master_batch_get_replica_list_requests_total", "look-ups of several keys", CNT_GET_BATCH },
	{ "master_batch_get_replica_list_items_total", "keys looked up", CNT_GET_ITEMS },
	{ "master_batch_get_replica_list_failed_items_total", "keys looked up and not found", CNT_GET_MISSED },
	{ "master_batch_put_end_requests_total", "publications", CNT_PUBLISH },
	{ "master_batch_put_end_items_total", "replicas published", CNT_PUBLISH_ITEMS },
	{ "master_batch_put_end_failed_items_total", "replicas refused: another put was first", CNT_PUBLISH_REFUSED },
	{ "master_remove_requests_total", "removals by key", CNT_REMOVE },
	{ "master_remove_failures_total", "keys not removed: unknown or leased", CNT_REMOVE_REFUSED },
	{ "master_remove_by_regex_requests_total", "removals by pattern, or of all", CNT_MATCH },
	{ "master_mount_segment_requests_total", "pools that joined", CNT_JOIN },
	{ "master_unmount_segment_requests_total", "pools that left in order", CNT_LEAVE },
	{ "master_ping_requests_total", "signs of life from owners", CNT_STAT },
	{ "total_get_nums_", "keys looked up", CNT_GET_ITEMS },
	{ "mooncake_master_withdrawn_replicas_total", "replicas withdrawn by their owners", CNT_WITHDRAW_ITEMS },
	{ "mooncake_master_removed_by_match_total", "objects removed by pattern, or with all", CNT_MATCH_REMOVED },
	{ "mooncake_master_refused_messages_total", "messages of peers that were malformed or out of place", CNT_BAD },
};

void http_metrics(void *arg, struct http_req *r)
{
	struct master *m = arg;
	struct objects_stat st;
	struct sums s = { 0 };
	struct buf *out = r->out;
	uint64_t hits = counted(m, CNT_GET_ITEMS) - MIN(counted(m, CNT_GET_MISSED), counted(m, CNT_GET_ITEMS));

	r->content_type = MIME_METRICS;
	objects_stat(m->ix, &st);
	pools_each(m->pools, add_up, &s);
	gauge(out, "master_allocated_bytes", "bytes in use in all pools", s.used);
	gauge(out, "master_total_capacity_bytes", "bytes of all pools", s.capacity);
	gauge(out, "master_key_count", "objects", st.objects);
	gauge(out, "master_soft_pin_key_count", "soft-pinned objects", st.soft_pinned);
	gauge(out, "master_active_clients", "connected clients", peers_of_role(m, ROLE_CLIENT));
	gauge(out, "mem_cache_nums_", "objects in memory", st.objects);
	gauge(out, "mooncake_master_object_bytes", "bytes of all objects, one copy of each", st.bytes);
	gauge(out, "mooncake_master_pools_online", "pools shown to clients", s.online);
	gauge(out, "mooncake_master_pools_suspect", "pools that did not answer in time", s.suspect);
	gauge(out, "mooncake_master_pools_lost", "pools that ended less than client_ttl ago", s.lost);
	gauge(out, "mooncake_master_view", "changes whenever the set of pools does", pools_view(m->pools));
	gauge(out, "mooncake_master_ready", "1: pools have told what they hold", pools_ready(m->pools, clock_now_ns()));
	gauge(out, "mooncake_master_uptime_seconds", "since the start", (clock_now_ns() - m->started_ns) / NSEC_PER_SEC);
	segments(m, out);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		one(out, counters[i].name, "counter", counters[i].help, counted(m, counters[i].c));
	one(out, "mem_cache_hit_nums_", "counter", "keys looked up and found", hits);
	one(out, "valid_get_nums_", "counter", "keys looked up and found", hits);
	one(out, "master_evicted_key_count", "counter", "objects evicted by owners", s.evicted);
	one(out, "master_evicted_size_bytes", "counter", "bytes evicted by owners", s.evicted_bytes);
}

/* ---- one line ---- */

static void put_size(struct buf *out, uint64_t v)
{
	static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
	double d = (double)v;
	unsigned u = 0;

	for (; d >= 1024 && u + 1 < ARRAY_SIZE(units); u++)
		d /= 1024;
	buf_printf(out, u ? "%.2f %s" : "%.0f %s", d, units[u]);
}

void summary_text(struct master *m, struct buf *out)
{
	uint64_t get = counted(m, CNT_GET_ITEMS), missed = counted(m, CNT_GET_MISSED);
	uint64_t put = counted(m, CNT_PUBLISH_ITEMS), refused = counted(m, CNT_PUBLISH_REFUSED);
	uint64_t del = counted(m, CNT_REMOVE_ITEMS), kept = counted(m, CNT_REMOVE_REFUSED), all = counted(m, CNT_MATCH);
	uint64_t exist = counted(m, CNT_EXIST_ITEMS), ping = counted(m, CNT_STAT);
	struct objects_stat st;
	struct sums s = { 0 };

	objects_stat(m->ix, &st);
	pools_each(m->pools, add_up, &s);
	buf_printf(out, "Mem Storage: ");
	put_size(out, s.used);
	buf_printf(out, " / ");
	put_size(out, s.capacity);
	if (s.capacity)
		buf_printf(out, " (%.1f%%)", 100.0 * (double)s.used / (double)s.capacity);
	buf_printf(out, " | Keys: %" PRIu64 " (soft-pinned: %" PRIu64 ") | Clients: %u | Pools: %u", st.objects, st.soft_pinned,
		   peers_of_role(m, ROLE_CLIENT), s.online);
	buf_printf(out, " | Requests (Success/Total): PutEnd=%" PRIu64 "/%" PRIu64 ", Get=%" PRIu64 "/%" PRIu64 ", Exist=%" PRIu64
		   "/%" PRIu64 ", Del=%" PRIu64 "/%" PRIu64 ", DelAll=%" PRIu64 "/%" PRIu64 ", Ping=%" PRIu64 "/%" PRIu64,
		   put - MIN(refused, put), put, get - MIN(missed, get), get, exist, exist, del - MIN(kept, del), del, all, all, ping,
		   ping);
	buf_printf(out, " | Eviction: keys=%" PRIu64 ", size=", s.evicted);
	put_size(out, s.evicted_bytes);
}

void http_summary(void *arg, struct http_req *r)
{
	r->content_type = MIME_METRICS;
	buf_printf(r->out, "role=leader, state=serving, service_ready=true, master={");
	summary_text(arg, r->out);
	buf_printf(r->out, "}");
}
