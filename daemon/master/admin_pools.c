// SPDX-License-Identifier: Apache-2.0
/* HTTP routes about pools, which upstream calls segments. */
#include "admin.h"

/* Upstream's numbers for a segment's state. */
enum segment_status { SEGMENT_OK = 1, SEGMENT_DRAINING = 2, SEGMENT_UNMOUNTING = 5 };

static enum segment_status segment_status(const struct pool *p)
{
	if (p->state != POOL_ONLINE)
		return SEGMENT_UNMOUNTING;
	return p->info.flags & POOL_DRAINING ? SEGMENT_DRAINING : SEGMENT_OK;
}

static const char *segment_status_name(enum segment_status s)
{
	return s == SEGMENT_OK ? "OK" : s == SEGMENT_DRAINING ? "DRAINING" : "UNMOUNTING";
}

/* Several pools may be one segment, and it is named once. */
static bool named_already(const struct buf *out, const struct key *name)
{
	const char *at = (const char *)out->data, *end = at + out->len, *stop;

	for (; at < end; at = stop + 1) {
		stop = memchr(at, '\n', (size_t)(end - at));
		if ((size_t)(stop - at) == name->len && !memcmp(at, name->data, name->len))
			return true;
	}
	return false;
}

static void print_segment(void *arg, const struct pool *p)
{
	struct buf *out = arg;

	if (p->state != POOL_ONLINE || named_already(out, &p->info.segment))
		return;
	buf_put(out, p->info.segment.data, p->info.segment.len);
	buf_put_u8(out, '\n');
}

void http_all_segments(void *arg, struct http_req *r)
{
	struct master *m = arg;

	r->content_type = MIME_METRICS;
	pools_each(m->pools, print_segment, r->out);
}

struct segment_query {
	const char *name;
	bool found;
	uint64_t used, capacity;
	enum segment_status status;
};

static void find_segment(void *arg, const struct pool *p)
{
	struct segment_query *q = arg;

	if (p->state == POOL_LOST || p->info.segment.len != strlen(q->name) ||
	    memcmp(p->info.segment.data, q->name, p->info.segment.len))
		return;
	q->found = true;
	q->used += p->info.used;
	q->capacity += p->info.capacity;
	q->status = segment_status(p);
}

void http_query_segment(void *arg, struct http_req *r)
{
	struct segment_query q = { .name = r->query(r, "segment") };
	struct master *m = arg;

	r->content_type = MIME_METRICS;
	if (q.name)
		pools_each(m->pools, find_segment, &q);
	if (!q.found) {
		r->status = 500;
		buf_printf(r->out, "Failed to query segment");
		return;
	}
	/* The space before the second colon is upstream's. */
	buf_printf(r->out, "%s\nUsed(bytes): %" PRIu64 "\nCapacity(bytes) : %" PRIu64 "\n", q.name, q.used, q.capacity);
}

void http_segment_status(void *arg, struct http_req *r)
{
	struct segment_query q = { .name = r->query(r, "segment") };
	struct master *m = arg;
	struct json_object *o;

	if (!q.name || !*q.name) {
		answer_error(r, 400, -600, "Missing segment query parameter");
		return;
	}
	pools_each(m->pools, find_segment, &q);
	if (!q.found) {
		answer_error(r, 404, -101, "SEGMENT_NOT_FOUND");
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "success", json_object_new_boolean(true));
	json_object_object_add(o, "segment", json_object_new_string(q.name));
	json_object_object_add(o, "status", json_object_new_int((int)q.status));
	json_object_object_add(o, "status_name", json_object_new_string(segment_status_name(q.status)));
	json_object_object_add(o, "error_code", json_object_new_int(0));
	json_object_object_add(o, "error_message", json_object_new_string(""));
	answer_json(r, 200, o);
}

static void human_size(uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)bytes;
	unsigned u = 0;

	for (; v >= 1024 && u + 1 < ARRAY_SIZE(units); u++)
		v /= 1024;
	snprintf(out, size, "%.6g %s", v, units[u]);
}

static void add_text(struct json_object *o, const char *name, const char *text, size_t len)
{
	json_object_object_add(o, name, json_object_new_string_len(len ? text : "", (int)len));
}

static void add_segment(void *arg, const struct pool *p)
{
	struct json_object *list = arg, *o;
	char text[64];

	if (p->state == POOL_LOST)
		return;
	o = json_object_new_object();
	add_text(o, "segment_name", p->info.segment.data, p->info.segment.len);
	uuid_text(p->info.id, text);
	add_text(o, "segment_id", text, strlen(text));
	uuid_text(p->info.node, text);
	add_text(o, "client_id", text, strlen(text));
	snprintf(text, sizeof(text), "0x%" PRIx64, p->info.region[0].addr);
	add_text(o, "base_address", text, strlen(text));
	json_object_object_add(o, "size_bytes", json_object_new_uint64(p->info.capacity));
	human_size(p->info.capacity, text, sizeof(text));
	add_text(o, "size_human", text, strlen(text));
	add_text(o, "te_endpoint", p->info.segment.data, p->info.segment.len);
	add_text(o, "protocol", "tcp", 3);
	add_text(o, "status", segment_status_name(segment_status(p)), strlen(segment_status_name(segment_status(p))));
	json_object_object_add(o, "allocator_used_bytes", json_object_new_uint64(p->info.used));
	json_object_object_add(o, "allocator_capacity_bytes", json_object_new_uint64(p->info.capacity));
	json_object_object_add(o, "allocator_usage_percent",
			       json_object_new_double(p->info.capacity ? 100.0 * (double)p->info.used / (double)p->info.capacity : 0));
	json_object_array_add(list, o);
}

void http_segments_detail(void *arg, struct http_req *r)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct master *m = arg;

	pools_each(m->pools, add_segment, list);
	json_object_object_add(o, "total_segments", json_object_new_int64((int64_t)json_object_array_length(list)));
	json_object_object_add(o, "segments", list);
	answer_json(r, 200, o);
}
