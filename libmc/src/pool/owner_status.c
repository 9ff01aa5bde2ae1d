// SPDX-License-Identifier: Apache-2.0
/* What an owner tells people and tools about itself, as JSON. */
#include <json-c/json.h>
#include <stdio.h>

#include "pool/owner_private.h"

static void add_u64(struct json_object *o, const char *name, uint64_t v)
{
	json_object_object_add(o, name, json_object_new_uint64(v));
}

static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static void add_id(struct json_object *o, const char *name, const uint8_t id[16])
{
	char text[33];

	add_text(o, name, hex_text(text, id, 16));
}

static struct json_object *memory_part(const struct region *r)
{
	struct json_object *o = json_object_new_object();
	struct region_stat st = { .backend = "revoked", .node = -1 };

	region_stat(r, &st);
	add_text(o, "backend", st.backend);
	add_u64(o, "bytes", r->size);
	add_u64(o, "resident", st.resident);
	add_u64(o, "huge", st.huge);
	add_u64(o, "pinned", st.pinned);
	json_object_object_add(o, "numa_node", st.node < 0 ? NULL : json_object_new_int(st.node));
	return o;
}

/* Directory first. */
static struct json_object *regions_part(const struct pool_view *v)
{
	struct json_object *list = json_object_new_array();

	json_object_array_add(list, memory_part(&v->dir_region));
	for (unsigned i = 0; i < v->nr_regions; i++)
		json_object_array_add(list, memory_part(&v->region[i]));
	return list;
}

static struct json_object *pool_part(const struct owner *ow)
{
	struct json_object *o = json_object_new_object();
	struct pool_stat st;

	pool_stat(ow->pool, &st);
	add_id(o, "id", ow->view->dir->pool_id);
	add_u64(o, "epoch", ow->view->dir->epoch);
	add_u64(o, "regions", ow->view->nr_regions);
	add_u64(o, "capacity", st.capacity);
	add_u64(o, "used", st.used);
	add_u64(o, "granted", st.granted);
	add_u64(o, "pinned", st.pinned_bytes);
	add_u64(o, "objects", st.objects);
	add_u64(o, "entries_free", st.entries_free);
	add_u64(o, "evicted", st.evicted);
	add_u64(o, "evicted_bytes", st.evicted_bytes);
	json_object_object_add(o, "memory", regions_part(ow->view));
	return o;
}

static struct json_object *clients_part(const struct owner *ow)
{
	struct json_object *o = json_object_new_object();
	uint64_t attached = 0, remote = 0, lingering = 0, held = 0;
	const struct client *c;

	list_for_each_entry(c, &ow->clients, node) {
		attached += c->ring != NULL;
		remote += !c->local;
		if (c->conn)
			continue;
		lingering++;
		held += client_held_bytes(c);
	}
	add_u64(o, "all", ow->nr_clients);
	add_u64(o, "attached", attached);
	add_u64(o, "remote", remote);
	add_u64(o, "left_with_space", lingering);
	add_u64(o, "left_with_bytes", held);
	return o;
}

static const char *link_text(const struct owner *ow)
{
	const struct master_link *l = &ow->link;

	if (l->state == LINK_UP)
		return l->refill.walking ? "refilling" : "synced";
	return link_is_open(ow) ? "joining" : "away";
}

static struct json_object *master_part(const struct owner *ow)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "address", ow->master);
	add_text(o, "state", link_text(ow));
	add_u64(o, "index", ow->link.index);
	add_u64(o, "joins", ow->link.joins);
	add_u64(o, "lease_ms", ow->link.lease_ns / NSEC_PER_MSEC);
	add_u64(o, "publishing", ow->publish.nr_queued + ow->publish.nr_sent);
	return o;
}

static struct json_object *counters_part(const struct owner *ow)
{
	struct json_object *o = json_object_new_object();

	add_u64(o, "commits", ow->count.commits);
	add_u64(o, "committed", ow->count.committed);
	add_u64(o, "refused", ow->count.refused);
	add_u64(o, "puts", ow->count.puts);
	add_u64(o, "put_bytes", ow->count.put_bytes);
	add_u64(o, "grants", ow->count.grants);
	add_u64(o, "dropped", ow->count.drops);
	add_u64(o, "copied", ow->count.copies);
	return o;
}

int owner_status_buf(struct owner *ow, struct buf *out)
{
	struct json_object *o = json_object_new_object();
	const char *text;

	if (!o)
		return -ENOMEM;
	add_text(o, "role", "owner");
	add_text(o, "state", ow->revoked ? "revoked" : ow->closing ? "closing" : ow->draining ? "draining" : "serving");
	add_text(o, "segment", ow->segment);
	add_text(o, "metadata", ow->metadata);
	add_text(o, "unix_path", ow->unix_path);
	add_text(o, "address", ow->addr);
	add_id(o, "node", ow->node);
	json_object_object_add(o, "pool", pool_part(ow));
	json_object_object_add(o, "clients", clients_part(ow));
	json_object_object_add(o, "master", master_part(ow));
	json_object_object_add(o, "counters", counters_part(ow));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		buf_put(out, text, strlen(text));
	json_object_put(o);
	return text ? out->err : -ENOMEM;
}
