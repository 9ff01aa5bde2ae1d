// SPDX-License-Identifier: Apache-2.0
/* stat and list: what is known of keys. */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- stat ---- */

static const char *pin_name(const struct mc_query *q)
{
	return q->flags & MC_PUT_HARD_PIN ? "hard" : q->flags & MC_PUT_SOFT_PIN ? "soft" : "no";
}

static const char *type_name(const struct mc_query *q)
{
	static const char *const names[] = {
		[MC_DATA_UNKNOWN] = "unknown",	     [MC_DATA_KVCACHE] = "kvcache",
		[MC_DATA_TENSOR] = "tensor",	     [MC_DATA_WEIGHT] = "weight",
		[MC_DATA_SAMPLE] = "sample",	     [MC_DATA_ACTIVATION] = "activation",
		[MC_DATA_GRADIENT] = "gradient",     [MC_DATA_OPTIMIZER_STATE] = "optimizer state",
		[MC_DATA_METADATA] = "metadata",     [MC_DATA_GENERAL] = "general",
	};

	return q->data_type < ARRAY_SIZE(names) ? names[q->data_type] : "other";
}

static struct json_object *query_json(const struct mc_query *q)
{
	struct json_object *o = json_object_new_object();

	key_json(o, q->key.data, q->key.len);
	json_object_object_add(o, "found", json_object_new_boolean(q->result == 1));
	if (q->result == 1) {
		json_object_object_add(o, "bytes", json_object_new_uint64(q->bytes));
		json_object_object_add(o, "replicas", json_object_new_uint64(q->replicas));
		json_object_object_add(o, "pin", json_object_new_string(pin_name(q)));
		json_object_object_add(o, "data_type", json_object_new_string(type_name(q)));
	} else if (q->result < 0) {
		json_object_object_add(o, "error", json_object_new_string(strerror(-q->result)));
	}
	return o;
}

static void print_json(const struct mc_query *q, unsigned nr)
{
	struct json_object *all = json_object_new_array();

	for (unsigned i = 0; i < nr; i++)
		json_object_array_add(all, query_json(&q[i]));
	json_print(all);
}

static void print_table(const struct mc_query *q, unsigned nr)
{
	static const char *const heads[] = { ">bytes", ">size", ">replicas", "pin", "type", "key" };
	struct table t;

	table_open(&t, ARRAY_SIZE(heads), heads);
	for (unsigned i = 0; i < nr; i++) {
		struct buf b = BUF_INIT;

		key_text(q[i].key.data, q[i].key.len, &b);
		if (q[i].result == 1) {
			table_cell(&t, "%" PRIu64, q[i].bytes);
			table_cell(&t, "%s", human_bytes(q[i].bytes).text);
			table_cell(&t, "%u", q[i].replicas);
			table_cell(&t, "%s", pin_name(&q[i]));
			table_cell(&t, "%s", type_name(&q[i]));
		} else {
			table_cell(&t, "-");
			table_cell(&t, "%s", q[i].result ? strerror(-q[i].result) : "not there");
			table_cell(&t, "0");
			table_cell(&t, "-");
			table_cell(&t, "-");
		}
		table_cell(&t, "%.*s", (int)b.len, b.data ? (const char *)b.data : "");
		buf_fini(&b);
	}
	table_print(&t);
}

int cmd_stat(struct ctl *c)
{
	unsigned nr = (unsigned)c->nr_words;
	struct mc_query *q = calloc(nr, sizeof(*q));
	int ret = EXIT_OK;

	if (!q)
		return fail(c, -ENOMEM, "stat");
	for (unsigned i = 0; i < nr && !ret; i++)
		ret = word_key(c, (int)i, &q[i].key);
	if (!ret)
		ret = store_connect(c, false);
	if (!ret) {
		mc_store_stat(c->store, q, nr, c->deadline_ns);
		c->opt.json ? print_json(q, nr) : print_table(q, nr);
	}
	for (unsigned i = 0; i < nr; i++) {
		if (!ret && q[i].result != 1)
			ret = EXIT_FAILED;
		free((void *)(uintptr_t)q[i].key.data);
	}
	free(q);
	return ret;
}

/* ---- list ---- */

struct listing {
	uint64_t nr, max, bytes;
	bool json;
};

/* Line by line as they come: a list may be longer than memory is wide. */
static int list_one(void *arg, const struct mc_list_item *it)
{
	struct listing *l = arg;
	struct buf b = BUF_INIT;

	if (l->nr == l->max)
		return 1;
	if (l->json) {
		struct json_object *o = json_object_new_object();

		key_json(o, it->key.data, it->key.len);
		json_object_object_add(o, "bytes", json_object_new_uint64(it->bytes));
		json_object_object_add(o, "replicas", json_object_new_uint64(it->replicas));
		fputs(l->nr ? ",\n" : "", stdout);
		fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), stdout);
		json_object_put(o);
	} else {
		key_text(it->key.data, it->key.len, &b);
		if (!l->nr)
			printf("%12s  %10s  %8s  %s\n", "bytes", "size", "replicas", "key");
		printf("%12" PRIu64 "  %10s  %8u  %.*s\n", it->bytes, human_bytes(it->bytes).text, it->replicas, (int)b.len,
		       b.data ? (const char *)b.data : "");
		buf_fini(&b);
	}
	l->nr++;
	l->bytes += it->bytes;
	return 0;
}

int cmd_list(struct ctl *c)
{
	struct listing l = { .max = (uint64_t)c->opt.max, .json = c->opt.json };
	const char *regex = c->nr_words ? c->words[0] : NULL;
	int64_t n;
	int ret;

	ret = store_connect(c, false);
	if (ret)
		return ret;
	if (l.json)
		fputs("[", stdout);
	n = mc_store_list(c->store, regex, list_one, &l, c->deadline_ns);
	if (l.json)
		fputs("]\n", stdout);
	if (n < 0) {
		c->opt.json = false; /* the array was it */
		return fail(c, (int)n, regex ? "list \"%s\"" : "list%s", regex ? regex : "");
	}
	if (!l.json)
		printf("%s objects, %s%s\n", human_count(l.nr).text, human_bytes(l.bytes).text,
		       (uint64_t)n > l.nr ? "; there are more" : "");
	return EXIT_OK;
}
