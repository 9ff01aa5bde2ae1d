// SPDX-License-Identifier: Apache-2.0
/* Segment descriptors in upstream's JSON, with our extension as the member "mc". */
#include "proto/segment.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

void segment_buffer_fini(struct segment_buffer *b)
{
	free(b->name);
	free(b->keys);
	*b = (struct segment_buffer){ 0 };
}

void segment_desc_fini(struct segment_desc *d)
{
	for (uint32_t i = 0; i < d->nr_buffers; i++)
		segment_buffer_fini(&d->buffers[i]);
	nics_fini(d);
	free(d->buffers);
	free(d->name);
	free(d->protocol);
	free(d->timestamp);
	free(d->host);
	*d = (struct segment_desc){ 0 };
}

/* A copy of @text, NULL of NULL; false: no memory. */
static bool copy_text(const char *text, char **out)
{
	*out = text ? strdup(text) : NULL;
	return *out || !text;
}

int segment_desc_copy(const struct segment_desc *d, struct segment_desc *out)
{
	struct segment_desc c = *d;
	bool ok;

	c.nr_buffers = 0;
	c.buffers = NULL;
	/* All of them, so that nothing of @d is freed when one fails. */
	ok = copy_text(d->name, &c.name);
	ok &= copy_text(d->protocol, &c.protocol);
	ok &= copy_text(d->timestamp, &c.timestamp);
	ok &= copy_text(d->host, &c.host);
	ok &= nics_copy(d, &c);
	if (ok && d->nr_buffers) {
		c.buffers = calloc(d->nr_buffers, sizeof(*c.buffers));
		ok = c.buffers;
	}
	for (uint32_t i = 0; ok && i < d->nr_buffers; i++) {
		c.buffers[i] = d->buffers[i];
		ok = keys_copy(&d->buffers[i], &c.buffers[i]);
		ok &= copy_text(d->buffers[i].name, &c.buffers[i].name);
		c.nr_buffers++;
	}
	if (!ok) {
		segment_desc_fini(&c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void segment_timestamp(char out[SEGMENT_TIMESTAMP_BYTES])
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	len = strftime(out, SEGMENT_TIMESTAMP_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(out + len, SEGMENT_TIMESTAMP_BYTES - len, ".%06ld", now.tv_nsec / 1000);
}

/* ---- writing: members in byte order ----------------------------------------------------------- */

static bool is_rdma(const struct segment_desc *d)
{
	return !strcmp(d->protocol, "rdma");
}

static void put_buffers(struct buf *b, const struct segment_desc *d)
{
	buf_printf(b, "\"buffers\":[");
	for (uint32_t i = 0; i < d->nr_buffers; i++) {
		const struct segment_buffer *s = &d->buffers[i];

		buf_printf(b, "%s{\"addr\":%" PRIu64 ",\"length\":%" PRIu64 ",", i ? "," : "", s->addr, s->len);
		if (is_rdma(d))
			keys_put_lkey(s, b);
		buf_printf(b, "\"name\":");
		json_put_text(b, s->name);
		if (is_rdma(d))
			keys_put_rkey(s, b);
		buf_put_u8(b, '}');
	}
	buf_put_u8(b, ']');
}

static void put_mc(struct buf *b, const struct segment_desc *d)
{
	char node[sizeof(d->mc.node) * 2 + 1];

	buf_printf(b,
		   ",\"mc\":{\"node\":\"%s\",\"pid\":%" PRId64 ",\"pid_ns\":%" PRIu64
		   ",\"reach_fd\":%d,\"start_time\":%" PRIu64 ",\"version\":%d}",
		   hex_text(node, d->mc.node, sizeof(d->mc.node)), d->mc.pid, d->mc.pid_ns, d->mc.reach_fd, d->mc.start_time, d->mc.version);
}

static bool range_ok(uint64_t addr, uint64_t len)
{
	uint64_t end;

	return addr && len && !check_add(addr, len, &end);
}

/* Upstream refuses a whole descriptor for one such buffer, so it must not leave us. */
static bool publishable(const struct segment_desc *d)
{
	if (!d->name || !*d->name || !d->protocol || d->nr_buffers > SEGMENT_BUFFERS_MAX)
		return false;
	if (is_rdma(d) ? !nics_publishable(d) : strcmp(d->protocol, "tcp"))
		return false;
	for (uint32_t i = 0; i < d->nr_buffers; i++) {
		const struct segment_buffer *s = &d->buffers[i];

		if (!s->name || !*s->name || !range_ok(s->addr, s->len))
			return false;
	}
	return true;
}

int segment_desc_encode(const struct segment_desc *d, struct buf *json)
{
	if (!publishable(d))
		return -EINVAL;
	buf_put_u8(json, '{');
	put_buffers(json, d);
	if (is_rdma(d))
		nics_put_devices(d, json);
	if (d->mc.present)
		put_mc(json, d);
	buf_printf(json, ",\"name\":");
	json_put_text(json, d->name);
	if (is_rdma(d))
		nics_put_places(d, json);
	buf_printf(json, ",\"protocol\":");
	json_put_text(json, d->protocol);
	if (is_rdma(d) && d->rdma_server_name) {
		buf_printf(json, ",\"rdma_server_name\":");
		json_put_text(json, d->rdma_server_name);
	}
	buf_printf(json, ",\"tcp_data_port\":%d,\"tcp_proto_version\":%d", d->tcp_data_port,
		   MAX(d->tcp_proto_version, 1));
	if (d->timestamp) {
		buf_printf(json, ",\"timestamp\":");
		json_put_text(json, d->timestamp);
	}
	buf_put_u8(json, '}');
	return json->err;
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Text that may be absent, as an owned string; "" then. */
static int own_text(struct json_object *o, const char *name, char **out)
{
	const char *text = "";
	int ret = json_get_text(o, name, &text);

	if (ret < 0)
		return ret;
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

static const char *array_text(struct json_object *a, size_t i)
{
	struct json_object *v = json_object_array_get_idx(a, i);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

/*
 * Builds with several protocols publish an array. "tcp" when it is among them; else the one upstream ranks
 * highest of those we have heard of, so that whoever refuses it can name it.
 */
static const char *choose_protocol(struct json_object *a)
{
	static const char *const order[] = { "tcp", "hip", "maca", "musa", "cxl", "rdma" };
	size_t nr = json_object_array_length(a);

	for (size_t k = 0; k < ARRAY_SIZE(order); k++)
		for (size_t i = 0; i < nr; i++)
			if (!strcmp(array_text(a, i), order[k]))
				return order[k];
	return nr ? array_text(a, 0) : "";
}

static int read_protocol(struct json_object *o, struct segment_desc *d)
{
	struct json_object *a;
	const char *text = "";
	int ret;

	if (json_get_array(o, "protocol", &a) > 0)
		text = choose_protocol(a);
	else if ((ret = json_get_text(o, "protocol", &text)) < 0)
		return ret;
	if (!*text)
		return -EBADMSG;
	d->protocol = strdup(text);
	return d->protocol ? 0 : -ENOMEM;
}

static int read_tcp(struct json_object *o, struct segment_desc *d)
{
	int64_t port = 0, version = 1;

	if (json_get_int(o, "tcp_data_port", 0, UINT16_MAX, &port) < 0 ||
	    json_get_int(o, "tcp_proto_version", INT_MIN, INT_MAX, &version) < 0)
		return -EBADMSG;
	d->tcp_data_port = (int)port;
	d->tcp_proto_version = (int)MAX(version, (int64_t)1);
	return 0;
}

/* What was read of one that is refused is freed with the descriptor. */
static int read_buffer(struct json_object *o, const struct nic_rules *rules, uint32_t nr_nics,
		       struct segment_buffer *out)
{
	uint64_t addr = 0, len = 0;
	int ret;

	if (json_get_u64(o, "addr", &addr) < 0 || json_get_u64(o, "length", &len) < 0)
		return -EBADMSG;
	if (!json_has_text(o, "name") || !range_ok(addr, len))
		return -EBADMSG;
	ret = keys_read(o, rules, nr_nics, out);
	if (ret)
		return ret;
	ret = own_text(o, "name", &out->name);
	if (ret)
		return ret;
	out->addr = addr;
	out->len = len;
	return 0;
}

/* Is this buffer, of several protocols' buffers, one of the protocol we chose? One that does not say is. */
static bool buffer_wanted(struct json_object *o, const char *protocol)
{
	const char *text;

	return json_get_text(o, "protocol", &text) <= 0 || !strcmp(text, protocol);
}

static int read_buffers(struct json_object *o, const struct nic_rules *rules,
			struct segment_desc *d)
{
	struct json_object *a, *v;
	int ret = json_get_array(o, "buffers", &a);
	size_t nr;

	if (ret <= 0)
		return ret;
	nr = json_object_array_length(a);
	if (nr > SEGMENT_BUFFERS_MAX)
		return -EBADMSG;
	if (!nr)
		return 0;
	d->buffers = calloc(nr, sizeof(*d->buffers));
	if (!d->buffers)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		v = json_object_array_get_idx(a, i);
		if (!json_object_is_type(v, json_type_object))
			return -EBADMSG;
		if (!buffer_wanted(v, d->protocol))
			continue;
		ret = read_buffer(v, rules, d->nr_nics, &d->buffers[d->nr_buffers++]);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_node(const char *hex, uint8_t out[16])
{
	if (strlen(hex) != 32)
		return -EBADMSG;
	for (int i = 0; i < 16; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EBADMSG;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int read_mc(struct json_object *o, struct segment_desc *d)
{
	struct json_object *mc;
	const char *node;
	int64_t version, pid, fd;
	int ret = json_get_object(o, "mc", &mc);

	if (ret <= 0)
		return ret;
	if (json_get_int(mc, "version", 1, INT_MAX, &version) <= 0 ||
	    json_get_int(mc, "pid", 1, INT_MAX, &pid) <= 0 ||
	    json_get_int(mc, "reach_fd", -1, INT_MAX, &fd) <= 0 ||
	    json_get_u64(mc, "start_time", &d->mc.start_time) <= 0 ||
	    json_get_u64(mc, "pid_ns", &d->mc.pid_ns) <= 0 || json_get_text(mc, "node", &node) <= 0)
		return -EBADMSG;
	d->mc.version = (int)version;
	d->mc.pid = pid;
	d->mc.reach_fd = (int)fd;
	d->mc.present = true;
	return read_node(node, d->mc.node);
}

static int read_desc(struct json_object *o, struct segment_desc *d)
{
	struct nic_rules rules = { 0 };
	bool tcp;
	int ret;

	ret = own_text(o, "name", &d->name);
	if (!ret)
		ret = read_protocol(o, d);
	if (!ret)
		ret = own_text(o, "timestamp", &d->timestamp);
	if (!ret)
		ret = read_mc(o, d);
	if (ret)
		return ret;
	tcp = !strcmp(d->protocol, "tcp");
	rules.per_nic = !strcmp(d->protocol, "rdma") || !strcmp(d->protocol, "efa") ||
			!strcmp(d->protocol, "cxi");
	rules.keys = rules.per_nic || !strcmp(d->protocol, "barex");
	if (!tcp && !rules.keys)
		return 0; /* buffers of another shape, and nothing here could reach them */
	/* Upstream leaves these two uninitialised where there is no TCP. */
	ret = tcp || d->mc.present ? read_tcp(o, d) : 0;
	if (!ret && rules.keys)
		ret = nics_read(o, d);
	if (ret)
		return ret;
	return read_buffers(o, &rules, d);
}

int segment_desc_decode(const char *json, size_t len, struct segment_desc *d)
{
	struct segment_desc got = { .tcp_proto_version = 1 };
	struct json_object *o = json_read(json, len);
	int ret;

	if (!o)
		return -EBADMSG;
	ret = read_desc(o, &got);
	json_object_put(o);
	if (ret) {
		segment_desc_fini(&got);
		return ret;
	}
	*d = got;
	return 0;
}
