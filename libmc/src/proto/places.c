/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each place memory can be in, the NICs near it and the others; written as upstream writes it:
 * jsoncpp's styled text, with tabs, " : " and a newline at the end.
 */
#include "base/log.h"
#include "proto/json.h"

int places_add(struct places *t, const char *name, struct place **out)
{
	struct place *more;

	if (t->nr >= PLACES_MAX)
		return -E2BIG;
	if (strlen(name) >= PLACE_NAME_MAX)
		return -ENAMETOOLONG;
	more = realloc(t->place, (t->nr + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->place = more;
	*out = &more[t->nr++];
	**out = (struct place){ 0 };
	strcpy((*out)->name, name);
	return 0;
}

int place_add_nic(struct place *p, bool near, const char *nic)
{
	char ***list = near ? &p->near : &p->far, **more, *name;
	unsigned *nr = near ? &p->nr_near : &p->nr_far;

	if (*nr >= PLACE_NICS_MAX)
		return -E2BIG;
	name = strdup(nic);
	more = realloc(*list, (*nr + 1) * sizeof(*more));
	if (more)
		*list = more;
	if (!name || !more) {
		free(name);
		return -ENOMEM;
	}
	(*list)[(*nr)++] = name;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name);
}

void places_sort(struct places *t)
{
	if (t->nr)
		qsort(t->place, t->nr, sizeof(*t->place), by_name);
}

static void free_names(char **names, unsigned nr)
{
	while (nr)
		free(names[--nr]);
	free(names);
}

void places_fini(struct places *t)
{
	for (unsigned i = 0; i < t->nr; i++) {
		free_names(t->place[i].near, t->place[i].nr_near);
		free_names(t->place[i].far, t->place[i].nr_far);
	}
	free(t->place);
	*t = (struct places){ 0 };
}

static int copy_names(char *const *names, unsigned nr, bool near, struct place *p)
{
	int ret = 0;

	for (unsigned i = 0; i < nr && !ret; i++)
		ret = place_add_nic(p, near, names[i]);
	return ret;
}

int places_copy(const struct places *t, struct places *out)
{
	struct places copy = { 0 };
	struct place *p;
	int ret = 0;

	for (unsigned i = 0; i < t->nr && !ret; i++) {
		const struct place *from = &t->place[i];

		ret = places_add(&copy, from->name, &p);
		if (!ret)
			ret = copy_names(from->near, from->nr_near, true, p);
		if (!ret)
			ret = copy_names(from->far, from->nr_far, false, p);
	}
	if (ret)
		places_fini(&copy);
	else
		*out = copy;
	return ret;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void print_names(char *const *names, unsigned nr, struct buf *out)
{
	buf_printf(out, "\t\t[");
	for (unsigned i = 0; i < nr; i++) {
		buf_printf(out, "%s\n\t\t\t", i ? "," : "");
		json_put_text(out, names[i]);
	}
	buf_printf(out, "%s]", nr ? "\n\t\t" : "");
}

void places_print(const struct places *t, struct buf *out)
{
	buf_printf(out, "{");
	for (unsigned i = 0; i < t->nr; i++) {
		const struct place *p = &t->place[i];

		buf_printf(out, "%s\n\t", i ? "," : "");
		json_put_text(out, p->name);
		buf_printf(out, " : \n\t[\n");
		print_names(p->near, p->nr_near, out);
		buf_printf(out, ",\n");
		print_names(p->far, p->nr_far, out);
		buf_printf(out, "\n\t]");
	}
	buf_printf(out, "%s}\n", t->nr ? "\n" : "");
}

static void put_names(char *const *names, unsigned nr, struct buf *out)
{
	buf_put_u8(out, '[');
	for (unsigned i = 0; i < nr; i++) {
		if (i)
			buf_put_u8(out, ',');
		json_put_text(out, names[i]);
	}
	buf_put_u8(out, ']');
}

void places_put(const struct places *t, struct buf *out)
{
	if (!t->nr)
		buf_printf(out, "null");
	for (unsigned i = 0; i < t->nr; i++) {
		const struct place *p = &t->place[i];

		buf_put_u8(out, i ? ',' : '{');
		json_put_text(out, p->name);
		buf_printf(out, ":[");
		put_names(p->near, p->nr_near, out);
		buf_put_u8(out, ',');
		put_names(p->far, p->nr_far, out);
		buf_printf(out, "]%s", i + 1 == t->nr ? "}" : "");
	}
}

/* ---- reading --------------------------------------------------------------------------------- */

/* One of a place's two lists; null is an empty one, as everywhere in upstream's texts. */
static int take_names(struct json_object *list, struct place *p, bool near)
{
	size_t nr = 0;
	int ret = 0;

	if (list && !json_object_is_type(list, json_type_array))
		return -EBADMSG;
	if (list)
		nr = json_object_array_length(list);
	for (size_t i = 0; i < nr && !ret; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *text = json_object_get_string(o);

		if (!json_object_is_type(o, json_type_string) || !*text ||
		    strlen(text) != (size_t)json_object_get_string_len(o))
			return -EBADMSG;
		ret = place_add_nic(p, near, text);
	}
	return ret;
}

static int take_place(const char *name, struct json_object *lists, struct places *t)
{
	struct place *p;
	int ret;

	if (!json_object_is_type(lists, json_type_array) || json_object_array_length(lists) != 2)
		return -EBADMSG;
	ret = places_add(t, name, &p);
	if (!ret)
		ret = take_names(json_object_array_get_idx(lists, 0), p, true);
	if (!ret)
		ret = take_names(json_object_array_get_idx(lists, 1), p, false);
	return ret;
}

int places_read(struct json_object *all, struct places *out, const char **bad)
{
	struct places t = { 0 };
	int ret = 0;

	json_object_object_foreach(all, name, lists)
	{
		ret = take_place(name, lists, &t);
		if (ret) {
			*bad = name;
			places_fini(&t);
			return ret == -ENOMEM ? ret : -EBADMSG;
		}
	}
	places_sort(&t);
	*out = t;
	return 0;
}

int places_parse(const char *text, size_t len, struct places *out)
{
	struct json_object *all = json_read(text, len);
	const char *bad;
	int ret;

	if (!all) {
		log_err("topology: an object in JSON is expected, such as {\"cpu:0\": [[\"mlx5_0\"], []]}");
		return -EBADMSG;
	}
	ret = places_read(all, out, &bad);
	if (ret == -EBADMSG)
		log_err("topology: place \"%.60s\" is malformed: two lists of device names are expected", bad);
	json_object_put(all);
	return ret;
}
