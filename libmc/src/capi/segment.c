/* SPDX-License-Identifier: Apache-2.0 */
/* Peers by name: one id for each, however often it is opened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capi/capi.h"

static void seg_fini(struct object *o)
{
	struct seg *s = (struct seg *)o;

	mc_segment_close(s->segment);
	te_put(s->te);
	free(s);
}

void seg_put(struct seg *s)
{
	object_put(s ? &s->object : NULL);
}

static bool has_name(struct object *o, const void *name)
{
	return !strcmp(((struct seg *)o)->name, name);
}

static int seg_new(struct te *te, const char *name, struct seg **out)
{
	struct seg *s = calloc(1, sizeof(*s) + strlen(name) + 1);
	int ret;

	if (!s)
		return -ENOMEM;
	ret = mc_segment_open(te->engine, name, te_talk_deadline(), &s->segment);
	if (ret) {
		free(s);
		return ret;
	}
	object_init(&s->object, seg_fini);
	atomic_fetch_add_explicit(&te->object.refs, 1, memory_order_relaxed);
	s->te = te;
	strcpy(s->name, name);
	*out = s;
	return 0;
}

/* A reference, and one opening more. Two threads may ask a peer at once; what the slower one got goes again. */
static int seg_open(struct te *te, const char *name, struct seg **out)
{
	struct seg *fresh = NULL, *s;
	int ret = 0;

	pthread_mutex_lock(&te->lock);
	s = (struct seg *)table_find(&te->segments, has_name, name, false);
	if (s)
		s->opens++;
	pthread_mutex_unlock(&te->lock);
	if (s) {
		*out = s;
		return 0;
	}
	ret = seg_new(te, name, &fresh);
	if (ret)
		return ret;
	pthread_mutex_lock(&te->lock);
	s = (struct seg *)table_find(&te->segments, has_name, name, false);
	if (!s && !table_add(&te->segments, &fresh->object)) {
		s = fresh;
		fresh = NULL;
		atomic_fetch_add_explicit(&s->object.refs, 1, memory_order_relaxed); /* the caller's */
	}
	if (s)
		s->opens++;
	pthread_mutex_unlock(&te->lock);
	seg_put(fresh);
	*out = s;
	return s ? 0 : -ENOMEM;
}

int seg_get(struct te *te, uint64_t id, struct seg **out)
{
	if (id == LOCAL_SEGMENT)
		return seg_open(te, mc_engine_name(te->engine), out);
	*out = id <= INT32_MAX ? (struct seg *)table_get(&te->segments, id) : NULL;
	return *out ? 0 : -EINVAL;
}

/* Return: the id, or a negative errno. */
static int open_id(struct te *te, const char *name, bool anew)
{
	struct seg *s;
	int ret;

	if (!te || !name)
		return -EINVAL;
	if (!strcmp(name, mc_engine_name(te->engine)))
		return LOCAL_SEGMENT;
	ret = seg_open(te, name, &s);
	if (ret)
		return ret;
	if (anew)
		ret = mc_segment_refresh(s->segment, te_talk_deadline());
	if (!ret)
		ret = (int)s->object.id;
	seg_put(s);
	return ret;
}

static segment_id_t open_segment(transfer_engine_t engine, const char *name, bool anew)
{
	struct te *te = te_get(engine);
	int ret = open_id(te, name, anew);

	te_put(te);
	return ret >= 0 ? ret : mc_engine_code(ret);
}

segment_id_t openSegment(transfer_engine_t engine, const char *segment_name)
{
	return open_segment(engine, segment_name, false);
}

segment_id_t openSegmentNoCache(transfer_engine_t engine, const char *segment_name)
{
	return open_segment(engine, segment_name, true);
}

int closeSegment(transfer_engine_t engine, segment_id_t segment_id)
{
	struct te *te = te_get(engine);
	struct object *gone = NULL, *o;
	int ret = -EINVAL;

	if (te && segment_id == LOCAL_SEGMENT)
		ret = 0;
	if (te && segment_id > 0) {
		pthread_mutex_lock(&te->lock);
		o = table_get(&te->segments, (uint64_t)segment_id);
		if (o) {
			ret = 0;
			if (!--((struct seg *)o)->opens)
				gone = table_take(&te->segments, (uint64_t)segment_id);
		}
		pthread_mutex_unlock(&te->lock);
		object_put(o);
		object_put(gone);
	}
	te_put(te);
	return mc_engine_code(ret);
}

int removeLocalSegment(transfer_engine_t engine, const char *segment_name)
{
	struct te *te = te_get(engine);
	struct object *gone = te && segment_name ? table_find(&te->segments, has_name, segment_name, true) : NULL;

	object_put(gone);
	te_put(te);
	return gone ? 0 : INVALID_ARGUMENT;
}

/* ---- all of them --------------------------------------------------------------------------------------------------------- */

int syncSegmentCache(transfer_engine_t engine)
{
	uint64_t deadline_ns = te_talk_deadline();
	struct te *te = te_get(engine);
	uint32_t at = 0;
	struct seg *s;
	int ret = te ? 0 : -EINVAL;

	while (te && (s = (struct seg *)table_next(&te->segments, &at))) {
		int err = mc_segment_refresh(s->segment, deadline_ns);

		ret = ret ? ret : err;
		seg_put(s);
	}
	te_put(te);
	return mc_engine_code(ret);
}

int warmupEfaSegment(transfer_engine_t engine, const char *segment_name)
{
	struct te *te = te_get(engine);
	int ret = te && segment_name ? 0 : INVALID_ARGUMENT;

	te_put(te);
	return ret;
}

static void put_json_string(FILE *f, const char *text)
{
	putc('"', f);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c == '"' || c == '\\')
			fprintf(f, "\\u%04x", c);
		else
			putc(c, f);
	}
	putc('"', f);
}

static void list_links(struct te *te, FILE *f, bool json)
{
	uint32_t at = 0;
	const char *comma = "";
	struct seg *s;

	fputs(json ? "[" : "", f);
	while ((s = (struct seg *)table_next(&te->segments, &at))) {
		const char *transport = mc_segment_transport(s->segment);

		if (json) {
			fprintf(f, "%s{\"segment\":", comma);
			put_json_string(f, s->name);
			fprintf(f, ",\"transport\":\"%s\"}", transport);
		} else {
			fprintf(f, "%s %s\n", s->name, transport);
		}
		comma = ",";
		seg_put(s);
	}
	fputs(json ? "]" : "", f);
}

int showLinks(transfer_engine_t engine, char *buf_out, size_t buf_len, int json)
{
	struct te *te = te_get(engine);
	int ret = INVALID_ARGUMENT;
	size_t len = 0;
	char *text = NULL;
	FILE *f = te && buf_out ? open_memstream(&text, &len) : NULL;

	if (f) {
		list_links(te, f, json);
		if (!fclose(f) && len < buf_len) {
			memcpy(buf_out, text, len + 1);
			ret = 0;
		}
	}
	free(text);
	te_put(te);
	return ret;
}
