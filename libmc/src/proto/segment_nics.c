// SPDX-License-Identifier: Apache-2.0
/* The publisher's NICs, the keys of its buffers on each, and which memory is near which. */
#include "proto/segment.h"

#include "base/log.h"

/* ---- memory ----------------------------------------------------------------------------------- */

void nics_fini(struct segment_desc *d)
{
	for (uint32_t i = 0; i < d->nr_nics; i++) {
		free(d->nics[i].name);
		free(d->nics[i].gid);
	}
	free(d->nics);
	free(d->rdma_server_name);
	places_fini(&d->places);
	d->nics = NULL;
	d->nr_nics = 0;
	d->rdma_server_name = NULL;
}

bool nics_copy(const struct segment_desc *d, struct segment_desc *out)
{
	out->nics = NULL;
	out->nr_nics = 0;
	out->places = (struct places){ 0 };
	out->rdma_server_name = d->rdma_server_name ? strdup(d->rdma_server_name) : NULL;
	if (d->rdma_server_name && !out->rdma_server_name)
		return false;
	if (d->nr_nics) {
		out->nics = calloc(d->nr_nics, sizeof(*out->nics));
		if (!out->nics)
			return false;
	}
	while (out->nr_nics < d->nr_nics) {
		const struct segment_nic *from = &d->nics[out->nr_nics];
		struct segment_nic *to = &out->nics[out->nr_nics++];

		*to = (struct segment_nic){ .name = strdup(from->name), .gid = strdup(from->gid), .lid = from->lid };
		if (!to->name || !to->gid)
			return false;
	}
	return !places_copy(&d->places, &out->places);
}

bool keys_copy(const struct segment_buffer *b, struct segment_buffer *out)
{
	out->nr_keys = 0;
	out->keys = NULL;
	if (!b->nr_keys)
		return true;
	out->keys = calloc(b->nr_keys, sizeof(*out->keys));
	if (!out->keys)
		return false;
	memcpy(out->keys, b->keys, b->nr_keys * sizeof(*out->keys));
	out->nr_keys = b->nr_keys;
	return true;
}

/* ---- writing ---------------------------------------------------------------------------------- */

bool nics_publishable(const struct segment_desc *d)
{
	if (d->nr_nics > SEGMENT_NICS_MAX)
		return false;
	for (uint32_t i = 0; i < d->nr_nics; i++)
		if (!d->nics[i].name || !*d->nics[i].name || !d->nics[i].gid || !*d->nics[i].gid)
			return false;
	for (uint32_t i = 0; i < d->nr_buffers; i++)
		if (d->buffers[i].nr_keys != d->nr_nics)
			return false;
	return true;
}

void keys_put_lkey(const struct segment_buffer *b, struct buf *json)
{
	buf_printf(json, "\"lkey\":[");
	for (uint32_t i = 0; i < b->nr_keys; i++)
		buf_printf(json, "%s%u", i ? "," : "", b->keys[i].lkey);
	buf_printf(json, "],");
}

void keys_put_rkey(const struct segment_buffer *b, struct buf *json)
{
	buf_printf(json, ",\"rkey\":[");
	for (uint32_t i = 0; i < b->nr_keys; i++)
		buf_printf(json, "%s%u", i ? "," : "", b->keys[i].rkey);
	buf_put_u8(json, ']');
}

void nics_put_devices(const struct segment_desc *d, struct buf *json)
{
	buf_printf(json, ",\"devices\":[");
	for (uint32_t i = 0; i < d->nr_nics; i++) {
		buf_printf(json, "%s{\"gid\":", i ? "," : "");
		json_put_text(json, d->nics[i].gid);
		buf_printf(json, ",\"lid\":%u,\"name\":", d->nics[i].lid);
		json_put_text(json, d->nics[i].name);
		buf_put_u8(json, '}');
	}
	buf_put_u8(json, ']');
}

void nics_put_places(const struct segment_desc *d, struct buf *json)
{
	buf_printf(json, ",\"priority_matrix\":");
	places_put(&d->places, json);
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int nic_read(struct json_object *o, struct segment_nic *nic)
{
	const char *name = "", *gid = "";
	int64_t lid = 0;

	if (!json_object_is_type(o, json_type_object) || json_get_text(o, "name", &name) <= 0 || !*name ||
	    json_get_text(o, "gid", &gid) <= 0 || !*gid || json_get_int(o, "lid", 0, UINT16_MAX, &lid) < 0)
		return -EBADMSG;
	*nic = (struct segment_nic){ .name = strdup(name), .gid = strdup(gid), .lid = (uint16_t)lid };
	return nic->name && nic->gid ? 0 : -ENOMEM;
}

static int devices_read(struct json_object *o, struct segment_desc *d)
{
	struct json_object *a;
	int ret = json_get_array(o, "devices", &a);
	size_t nr;

	if (ret <= 0)
		return ret;
	nr = json_object_array_length(a);
	if (nr > SEGMENT_NICS_MAX)
		return -EBADMSG;
	if (!nr)
		return 0;
	d->nics = calloc(nr, sizeof(*d->nics));
	if (!d->nics)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		ret = nic_read(json_object_array_get_idx(a, i), &d->nics[d->nr_nics++]);
		if (ret)
			return ret;
	}
	return 0;
}

/* One that makes no sense is as good as none: upstream warns too. */
static int matrix_read(struct json_object *o, struct segment_desc *d)
{
	struct json_object *matrix;
	const char *bad = "priority_matrix";
	int ret = json_get_object(o, "priority_matrix", &matrix);

	if (ret > 0)
		ret = places_read(matrix, &d->places, &bad);
	if (ret != -EBADMSG)
		return ret;
	log_warn_limited("segment \"%.200s\": what it says of \"%.60s\" in its priority_matrix is malformed", d->name, bad);
	return 0;
}

int nics_read(struct json_object *o, struct segment_desc *d)
{
	const char *server = "";
	int ret = json_get_text(o, "rdma_server_name", &server);

	if (ret < 0)
		return ret;
	if (*server) {
		d->rdma_server_name = strdup(server);
		if (!d->rdma_server_name)
			return -ENOMEM;
	}
	ret = devices_read(o, d);
	return ret ? ret : matrix_read(o, d);
}

static bool key_at(struct json_object *a, size_t i, uint32_t *out)
{
	struct json_object *v = json_object_array_get_idx(a, i);
	int64_t n = json_object_get_int64(v);

	if (!json_object_is_type(v, json_type_int) || n < 0 || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

int keys_read(struct json_object *o, const struct nic_rules *rules, uint32_t nr_nics, struct segment_buffer *out)
{
	struct json_object *rkey = NULL, *lkey = NULL;
	size_t nr_rkeys, nr_lkeys;

	if (!rules->keys)
		return 0;
	if (json_get_array(o, "rkey", &rkey) < 0 || json_get_array(o, "lkey", &lkey) < 0)
		return -EBADMSG;
	nr_rkeys = rkey ? json_object_array_length(rkey) : 0;
	nr_lkeys = lkey ? json_object_array_length(lkey) : 0;
	if (nr_rkeys > SEGMENT_NICS_MAX || (nr_rkeys && nr_rkeys != nr_lkeys) || (rules->per_nic && nr_rkeys != nr_nics))
		return -EBADMSG;
	if (!nr_rkeys)
		return 0;
	out->keys = calloc(nr_rkeys, sizeof(*out->keys));
	if (!out->keys)
		return -ENOMEM;
	out->nr_keys = (uint32_t)nr_rkeys;
	for (size_t i = 0; i < nr_rkeys; i++)
		if (!key_at(rkey, i, &out->keys[i].rkey) || !key_at(lkey, i, &out->keys[i].lkey))
			return -EBADMSG;
	return 0;
}
