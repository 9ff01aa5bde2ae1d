// SPDX-License-Identifier: Apache-2.0
/* HTTP routes about objects. */
#include <semaphore.h>

#include "admin.h"

/* What answers need of a pool to describe a replica in upstream's words. */
struct endpoint {
	char name[256]; /* the segment */
	uint16_t nr_regions;
	uint64_t addr[POOL_REGIONS_MAX];
};

struct endpoints {
	uint32_t wanted; /* a pool index */
	struct endpoint out;
};

static void find_endpoint(void *arg, const struct pool *p)
{
	struct endpoints *e = arg;

	if (p->info.index != e->wanted)
		return;
	snprintf(e->out.name, sizeof(e->out.name), "%.*s", p->info.segment.len, (const char *)p->info.segment.data);
	e->out.nr_regions = p->info.nr_regions;
	for (unsigned i = 0; i < p->info.nr_regions; i++)
		e->out.addr[i] = p->info.region[i].addr;
}

/* The trailing underscores are part of the contract. */
static struct json_object *descriptor(struct master *m, const struct located *l, const struct replica *rep)
{
	struct endpoints e = { .wanted = rep->pool };
	struct json_object *o = json_object_new_object();
	uint64_t base;

	pools_each(m->pools, find_endpoint, &e);
	base = rep->loc.region < e.out.nr_regions ? e.out.addr[rep->loc.region] : 0;
	json_object_object_add(o, "size_", json_object_new_uint64(l->size));
	json_object_object_add(o, "buffer_address_", json_object_new_uint64(base + rep->loc.off));
	json_object_object_add(o, "protocol_", json_object_new_string("tcp"));
	json_object_object_add(o, "transport_endpoint_", json_object_new_string(e.out.name));
	return o;
}

static struct json_object *descriptors(struct master *m, const struct located *l)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < l->nr_replicas; i++)
		json_object_array_add(list, descriptor(m, l, &l->replica[i]));
	return list;
}

static bool locate(struct master *m, const char *text, size_t len, bool touch, struct located *out)
{
	uint8_t full[FULL_KEY_MAX];
	struct key key = { .data = full };

	if (key_make(NULL, text, len, full, &key.len))
		return false;
	objects_locate(m->ix, &key, touch, clock_now_ns(), out);
	return out->status == 0;
}

void http_query_key(void *arg, struct http_req *r)
{
	const char *key = r->query(r, "key");
	struct json_object *o;
	struct located l;

	if (!key || !locate(arg, key, strlen(key), true, &l)) {
		answer_error(r, 404, -704, "OBJECT_NOT_FOUND");
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "success", json_object_new_boolean(true));
	json_object_object_add(o, "data", descriptors(arg, &l));
	answer_json(r, 200, o);
}

static void add_key(struct master *m, struct json_object *data, const char *text, size_t len)
{
	struct json_object *o = json_object_new_object();
	struct located l;
	bool ok = locate(m, text, len, false, &l);
	char name[KEY_MAX + 1];

	if (len > KEY_MAX)
		len = KEY_MAX;
	memcpy(name, text, len);
	name[len] = 0;
	json_object_object_add(o, "ok", json_object_new_boolean(ok));
	json_object_object_add(o, "error", ok ? NULL : json_object_new_string("OBJECT_NOT_FOUND"));
	json_object_object_add(o, "values", ok ? descriptors(m, &l) : NULL);
	json_object_object_add(o, "disk_values", NULL);
	json_object_object_add(o, "local_disk_values", NULL);
	json_object_object_add(o, "nof_values", NULL);
	json_object_object_add(data, name, o);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void http_batch_query_keys(void *arg, struct http_req *r)
{
	const char *keys = r->query(r, "keys");
	char *copy = keys ? strdup(keys) : NULL, *word, *rest, **list;
	struct json_object *o, *data;
	size_t nr = 0;

	if (!copy || !*copy) {
		free(copy);
		r->status = 400;
		r->content_type = MIME_JSON;
		buf_printf(r->out, "{\"success\":false,\"error\":\"No keys provided. Use ?keys=key1,key2,...\"}");
		return;
	}
	list = calloc(strlen(copy) / 2 + 1, sizeof(*list));
	for (word = strtok_r(copy, ",", &rest); word && list; word = strtok_r(NULL, ",", &rest))
		list[nr++] = word;
	if (list)
		qsort(list, nr, sizeof(*list), by_text);
	o = json_object_new_object();
	data = json_object_new_object();
	for (size_t i = 0; i < nr; i++)
		add_key(arg, data, list[i], strlen(list[i]));
	json_object_object_add(o, "success", json_object_new_boolean(true));
	json_object_object_add(o, "data", data);
	answer_json(r, 200, o);
	free(list);
	free(copy);
}

static bool print_key(void *arg, const struct object_view *v)
{
	struct buf *out = arg;
	struct key tenant, key;

	if (key_split(&v->key, &tenant, &key) || tenant.len)
		return true;
	buf_put(out, key.data, key.len);
	buf_put_u8(out, '\n');
	return true;
}

void http_all_keys(void *arg, struct http_req *r)
{
	struct master *m = arg;
	uint64_t cursor = 0;

	r->content_type = MIME_METRICS;
	do
		cursor = objects_walk(m->ix, cursor, 65536, clock_now_ns(), print_key, r->out);
	while (cursor && !r->out->err);
}

/* ---- removing: started on a worker, waited for here ---- */

struct remove_all {
	struct loop_work work;
	struct worker *w;
	struct removal_opts o;
	int status;
	uint64_t removed;
	sem_t done;
};

static void all_removed(void *arg, int status, uint64_t removed)
{
	struct remove_all *ra = arg;

	ra->status = status;
	ra->removed = removed;
	sem_post(&ra->done);
}

static void start_remove_all(struct loop_work *work)
{
	struct remove_all *ra = container_of(work, struct remove_all, work);
	int ret = removal_start(ra->w, &ra->o);

	if (ret)
		all_removed(ra, ret, 0);
}

static bool yes(const char *text)
{
	bool v;

	return text && !parse_bool(text, &v) && v;
}

void http_remove_all(void *arg, struct http_req *r)
{
	struct master *m = arg;
	const char *tenant = r->query(r, "tenant_id");
	size_t len = tenant ? strlen(tenant) : 0;
	struct remove_all ra = { .work.fn = start_remove_all, .w = &m->workers[0] };
	struct json_object *o;

	if (len > TENANT_MAX) {
		answer_error(r, 400, -600, "Missing or invalid tenant_id");
		return;
	}
	if (len && !strcmp(tenant, "default"))
		len = 0;
	ra.o = (struct removal_opts){
		.force = yes(r->query(r, "force")),
		.all_tenants = !tenant || !*tenant,
		.tenant = { tenant, (uint16_t)len },
		.done = all_removed,
		.arg = &ra,
	};
	sem_init(&ra.done, 0, 0);
	loop_post(ra.w->loop, &ra.work);
	while (sem_wait(&ra.done))
		;
	sem_destroy(&ra.done);
	if (ra.status) {
		answer_error(r, 500, -1, strerror(-ra.status));
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "success", json_object_new_boolean(true));
	json_object_object_add(o, "removed_count", json_object_new_uint64(ra.removed));
	answer_json(r, 200, o);
}
