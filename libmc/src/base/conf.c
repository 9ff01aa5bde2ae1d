// SPDX-License-Identifier: Apache-2.0
/* The table of settings: values from text, where each came from, flags, and showing them. */
#include "base/conf.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <locale.h>
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"
#include "base/conf_impl.h"
#include "base/log.h"

static void *value_of(const struct conf *c, size_t i)
{
	return (char *)c->values + c->items[i].offset;
}

static const char *const source_names[] = { "default", "file", "environment", "flag" };

/* ---- text to value ---- */

static bool limited(const struct conf_item *it)
{
	return it->min != 0 || it->max != 0;
}

static int parse_int(const struct conf_item *it, const char *text, int64_t *out)
{
	long long v;
	char *end;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (end == text || *end)
		return -EINVAL;
	if (errno || (limited(it) && ((double)v < it->min || (double)v > it->max)))
		return -ERANGE;
	*out = v;
	return 0;
}

static int parse_double(const struct conf_item *it, const char *text, double *out)
{
	locale_t plain;
	double v;
	char *end;

	/* A point is a point, whatever the program's locale. */
	plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!plain)
		return -ENOMEM;
	v = strtod_l(text, &end, plain);
	freelocale(plain);
	if (end == text || *end || v != v)
		return -EINVAL;
	if (limited(it) && (v < it->min || v > it->max))
		return -ERANGE;
	*out = v;
	return 0;
}

static bool word_known(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (; *words; words += strspn(words, ",")) {
		size_t n = strcspn(words, ",");

		if (n == len && !strncasecmp(words, text, len))
			return true;
		words += n;
	}
	return false;
}

static int set_string(const struct conf_item *it, char **slot, const char *text)
{
	char *copy;

	if (it->words && *text && !word_known(it->words, text))
		return -EINVAL;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

static int set_value(struct conf *c, size_t i, const char *text)
{
	const struct conf_item *it = &c->items[i];
	void *to = value_of(c, i);

	switch (it->type) {
	case CONF_BOOL:
		return parse_bool(text, to);
	case CONF_INT:
		return parse_int(it, text, to);
	case CONF_SIZE:
		return parse_size(text, to);
	case CONF_DURATION:
		return parse_duration_ns(text, it->unit_ns, to);
	case CONF_DOUBLE:
		return parse_double(it, text, to);
	case CONF_STRING:
		return set_string(it, to, text);
	case CONF_PRESENCE:
		*(bool *)to = true;
		return 0;
	}
	return -EINVAL;
}

static const char *expected(const struct conf_item *it, char *out, size_t size)
{
	static const char *const words[] = {
		[CONF_BOOL] = "true or false",
		[CONF_INT] = "a whole number",
		[CONF_SIZE] = "a size such as 64MB or 4gb",
		[CONF_DURATION] = "a duration such as 500ms, 10s or 5m",
		[CONF_DOUBLE] = "a number",
		[CONF_STRING] = "text",
		[CONF_PRESENCE] = "anything",
	};

	if (it->words)
		snprintf(out, size, "one of %s", it->words);
	else if (limited(it) && (it->type == CONF_INT || it->type == CONF_DOUBLE))
		snprintf(out, size, "%s from %.15g to %.15g", words[it->type], it->min, it->max);
	else
		snprintf(out, size, "%s", words[it->type]);
	return out;
}

/* ---- names ---- */

static bool same_name(const char *a, const char *b, size_t len_b)
{
	for (size_t i = 0; i < len_b; i++, a++)
		if (!*a ||
		    (*a != b[i] && !(*a == '_' && b[i] == '-') && !(*a == '-' && b[i] == '_')))
			return false;
	return !*a;
}

static ssize_t find(const struct conf *c, const char *name, size_t len)
{
	for (size_t i = 0; i < c->nr_items; i++)
		if (same_name(c->items[i].name, name, len) ||
		    (c->items[i].alias && same_name(c->items[i].alias, name, len)))
			return (ssize_t)i;
	return -ENOENT;
}

const char *conf_suggest(const struct conf *c, const char *name)
{
	const char **all = calloc(2 * c->nr_items, sizeof(*all));
	const char *close = NULL;

	if (all) {
		for (size_t i = 0; i < c->nr_items; i++) {
			all[2 * i] = c->items[i].name;
			all[2 * i + 1] = c->items[i].alias;
		}
		close = suggest(name, all, 2 * c->nr_items);
		free(all);
	}
	return close;
}

static void log_unknown(const struct conf *c, const char *where, const char *name)
{
	const char *close = conf_suggest(c, name);

	if (close)
		log_err("%s: unknown setting %s; did you mean %s?", where, name, close);
	else
		log_err("%s: unknown setting %s", where, name);
}

/* ---- setting ---- */

/* @why: what is wrong with the text, when it is not memory. */
static int try_value(struct conf *c, size_t i, const char *text, enum conf_source from, char *why,
		     size_t size)
{
	const struct conf_item *it = &c->items[i];
	char what[128];
	int ret;

	if (from < c->source[i])
		return 0; /* something stronger spoke already */
	ret = set_value(c, i, text);
	if (ret == -ENOMEM)
		snprintf(why, size, "out of memory");
	else if (ret)
		snprintf(why, size, "\"%.200s\" %s; it takes %s", text,
			 ret == -ERANGE ? "is out of range" : "is not understood",
			 expected(it, what, sizeof(what)));
	else
		c->source[i] = from;
	return ret;
}

static int apply(struct conf *c, size_t i, const char *where, const char *text,
		 enum conf_source from)
{
	enum conf_source before = c->source[i];
	const struct conf_item *it = &c->items[i];
	char why[400];
	int ret = try_value(c, i, text, from, why, sizeof(why));

	if (ret)
		log_err("%s: setting %s: %s", where, it->name, why);
	else if (it->unimplemented && before == CONF_DEFAULT && c->source[i] != CONF_DEFAULT)
		log_warn("%s: setting %s is accepted but has no effect: %s", where, it->name, it->help);
	return ret;
}

int conf_try(struct conf *c, const char *name, const char *text, enum conf_source from, char *why,
	     size_t size)
{
	ssize_t i = find(c, name, strlen(name));

	if (i >= 0)
		return try_value(c, (size_t)i, text, from, why, size);
	snprintf(why, size, "no setting is called that");
	return -ENOENT;
}

int conf_apply(struct conf *c, const char *where, const char *name, const char *text,
	       enum conf_source from)
{
	ssize_t i = find(c, name, strlen(name));

	if (i < 0) {
		log_unknown(c, where, name);
		return -ENOENT;
	}
	return apply(c, (size_t)i, where, text, from);
}

int conf_set(struct conf *c, const char *name, const char *text, enum conf_source from)
{
	return conf_apply(c, source_names[from], name, text, from);
}

int conf_open(struct conf *c, const struct conf_item *items, size_t nr, void *values)
{
	int ret;

	*c = (struct conf){ .items = items, .nr_items = nr, .values = values };
	c->source = calloc(nr ? nr : 1, sizeof(*c->source));
	if (!c->source)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		if (items[i].type == CONF_STRING)
			*(char **)value_of(c, i) = NULL;
	for (size_t i = 0; i < nr; i++) {
		if (!items[i].deflt)
			continue;
		ret = apply(c, i, "default", items[i].deflt, CONF_DEFAULT);
		if (ret) {
			conf_close(c);
			return ret;
		}
	}
	return 0;
}

void conf_close(struct conf *c)
{
	if (!c->source)
		return;
	for (size_t i = 0; i < c->nr_items; i++) {
		char **slot = value_of(c, i);

		if (c->items[i].type != CONF_STRING)
			continue;
		free(*slot);
		*slot = NULL;
	}
	free(c->source);
	c->source = NULL;
}

int conf_env(struct conf *c)
{
	for (size_t i = 0; i < c->nr_items; i++) {
		const char *text = c->items[i].env ? getenv(c->items[i].env) : NULL;
		int ret;

		if (!text || !*text)
			continue;
		ret = apply(c, i, c->items[i].env, text, CONF_ENV);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- flags ---- */

/* Is this "no" and the name of a bool? */
static ssize_t find_negated(const struct conf *c, const char *name, size_t len)
{
	ssize_t i = len > 2 && !strncmp(name, "no", 2) ? find(c, name + 2, len - 2) : -ENOENT;

	return i >= 0 && c->items[i].type == CONF_BOOL ? i : -ENOENT;
}

/* One flag at argv[at]. Return: how many words it took, or an error. */
static int one_flag(struct conf *c, int argc, char **argv, int at)
{
	const char *name = argv[at] + (argv[at][1] == '-' ? 2 : 1), *value = strchr(name, '=');
	size_t len = value ? (size_t)(value - name) : strlen(name);
	ssize_t i = find(c, name, len);
	int used = 1, ret;

	if (value) {
		value++;
	} else if (i >= 0 && c->items[i].type == CONF_BOOL) {
		value = "true";
	} else if (i >= 0) {
		if (at + 1 >= argc) {
			log_err("flag --%s needs a value: --%s=VALUE", name, name);
			return -EINVAL;
		}
		value = argv[at + 1];
		used = 2;
	} else if (find_negated(c, name, len) >= 0) {
		i = find_negated(c, name, len);
		value = "false";
	}
	if (i < 0) {
		char *word = strndup(name, len);

		log_unknown(c, "flags", word ? word : name);
		free(word);
		return -EINVAL;
	}
	ret = apply(c, (size_t)i, "flags", value, CONF_FLAG);
	return ret ? -EINVAL : used;
}

int conf_flags(struct conf *c, int argc, char **argv)
{
	int at = 1;

	while (at < argc) {
		int used;

		if (!strcmp(argv[at], "--"))
			return at + 1;
		if (argv[at][0] != '-' || !argv[at][1])
			break;
		used = one_flag(c, argc, argv, at);
		if (used < 0)
			return used;
		at += used;
	}
	return MIN(at, argc);
}

/* ---- showing ---- */

void conf_help(const struct conf *c, struct buf *out)
{
	static const char *const kinds[] = { "", "=N", "=SIZE", "=TIME", "=X", "=TEXT", "" };

	for (size_t i = 0; i < c->nr_items; i++) {
		const struct conf_item *it = &c->items[i];
		size_t before = out->len;

		buf_printf(out, "  --%s%s", it->name, kinds[it->type]);
		buf_printf(out, "%*s", out->len - before < 38 ? (int)(38 - (out->len - before)) : 1,
			   "");
		buf_printf(out, "%s", it->help ? it->help : "");
		if (it->deflt && *it->deflt)
			buf_printf(out, " (default %s)", it->deflt);
		if (it->unimplemented)
			buf_printf(out, " [no effect yet]");
		buf_printf(out, "\n");
	}
}

/* The largest unit that divides @v, so that the text means exactly the value. */
static void print_in_units(uint64_t v, const uint64_t *factors, const char *const *names, size_t nr,
			   struct buf *out)
{
	size_t i = 0;

	while (i + 1 < nr && (!v || v % factors[i]))
		i++;
	buf_printf(out, "%" PRIu64 "%s", v / factors[i], names[i]);
}

static void print_size(uint64_t v, struct buf *out)
{
	static const uint64_t factors[] = { 1024 * GiB, GiB, MiB, KiB, 1 };
	static const char *const names[] = { "TiB", "GiB", "MiB", "KiB", "" };

	if (v == UINT64_MAX)
		buf_printf(out, "infinite");
	else
		print_in_units(v, factors, names, ARRAY_SIZE(factors), out);
}

static void print_duration(uint64_t v, struct buf *out)
{
	static const uint64_t factors[] = { 3600 * NSEC_PER_SEC, 60 * NSEC_PER_SEC, NSEC_PER_SEC,
					    NSEC_PER_MSEC,	 NSEC_PER_USEC,	    1 };
	static const char *const names[] = { "h", "m", "s", "ms", "us", "ns" };

	print_in_units(v, factors, names, ARRAY_SIZE(factors), out);
}

/* In quotes when a file would be read differently without them. */
static void print_text(const char *text, struct buf *out)
{
	size_t len = strlen(text);
	bool plain = !len || (!strchr("\"' \t", text[0]) && !strchr(" \t\r", text[len - 1]));

	if (plain && !strpbrk(text, "#\n")) {
		buf_put(out, text, len);
		return;
	}
	buf_put_u8(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\' || *text == '\n')
			buf_put_u8(out, '\\');
		buf_put_u8(out, *text == '\n' ? 'n' : (uint8_t)*text);
	}
	buf_put_u8(out, '"');
}

const char *conf_source_name(enum conf_source source)
{
	return source_names[source];
}

/* What to show of a text: a secret's is its being there. */
static const char *shown(const struct conf *c, size_t i)
{
	const char *text = *(char *const *)value_of(c, i);

	return !text ? "" : c->items[i].secret && *text ? "***" : text;
}

void conf_print_value(const struct conf *c, size_t i, struct buf *out)
{
	const void *v = value_of(c, i);

	switch (c->items[i].type) {
	case CONF_BOOL:
	case CONF_PRESENCE:
		buf_printf(out, "%s", *(const bool *)v ? "true" : "false");
		break;
	case CONF_INT:
		buf_printf(out, "%" PRId64, *(const int64_t *)v);
		break;
	case CONF_SIZE:
		print_size(*(const uint64_t *)v, out);
		break;
	case CONF_DURATION:
		print_duration(*(const uint64_t *)v, out);
		break;
	case CONF_DOUBLE:
		buf_printf(out, "%.15g", *(const double *)v);
		break;
	case CONF_STRING:
		print_text(shown(c, i), out);
		break;
	}
}

static struct json_object *json_value(const struct conf *c, size_t i)
{
	const void *v = value_of(c, i);
	struct buf text = BUF_INIT;
	struct json_object *o;

	switch (c->items[i].type) {
	case CONF_BOOL:
	case CONF_PRESENCE:
		return json_object_new_boolean(*(const bool *)v);
	case CONF_INT:
		return json_object_new_int64(*(const int64_t *)v);
	case CONF_SIZE:
		return json_object_new_uint64(*(const uint64_t *)v);
	case CONF_DOUBLE:
		return json_object_new_double(*(const double *)v);
	case CONF_STRING:
		return json_object_new_string(shown(c, i));
	default:
		conf_print_value(c, i, &text);
		o = json_object_new_string_len((const char *)text.data, (int)text.len);
		buf_fini(&text);
		return o;
	}
}

static void print_json(const struct conf *c, struct buf *out)
{
	struct json_object *all = json_object_new_object();

	for (size_t i = 0; i < c->nr_items; i++) {
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "value", json_value(c, i));
		json_object_object_add(one, "source",
				       json_object_new_string(source_names[c->source[i]]));
		json_object_object_add(all, c->items[i].name, one);
	}
	buf_printf(out, "%s\n",
		   json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
							       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

void conf_print(const struct conf *c, bool json, struct buf *out)
{
	if (json) {
		print_json(c, out);
		return;
	}
	for (size_t i = 0; i < c->nr_items; i++) {
		size_t before = out->len;

		buf_printf(out, "%s = ", c->items[i].name);
		conf_print_value(c, i, out);
		buf_printf(out, "%*s# %s\n",
			   out->len - before < 48 ? (int)(48 - (out->len - before)) : 1, "",
			   source_names[c->source[i]]);
	}
}
