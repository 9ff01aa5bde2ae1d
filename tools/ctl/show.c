// SPDX-License-Identifier: Apache-2.0
/* Output: sizes as people say them, aligned tables, keys of any bytes, JSON. */
#include "ctl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- numbers ---- */

struct human human_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	unsigned u = 0;
	struct human h;

	while (v >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	snprintf(h.text, sizeof(h.text), u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return h;
}

struct human human_time(uint64_t ms)
{
	uint64_t s = ms / 1000;
	struct human h;

	if (ms < 1000)
		snprintf(h.text, sizeof(h.text), "%" PRIu64 " ms", ms);
	else if (s < 60)
		snprintf(h.text, sizeof(h.text), "%.1f s", (double)ms / 1000);
	else if (s < 3600)
		snprintf(h.text, sizeof(h.text), "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(h.text, sizeof(h.text), "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(h.text, sizeof(h.text), "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
	return h;
}

struct human human_count(uint64_t n)
{
	char digits[24];
	struct human h;
	size_t len, out = 0;

	len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n);
	for (size_t i = 0; i < len && out + 1 < sizeof(h.text); i++) {
		if (i && (len - i) % 3 == 0 && out + 2 < sizeof(h.text))
			h.text[out++] = ',';
		h.text[out++] = digits[i];
	}
	h.text[out] = 0;
	return h;
}

struct human human_percent(uint64_t part, uint64_t whole)
{
	struct human h = { "-" };

	if (whole)
		snprintf(h.text, sizeof(h.text), "%.1f %%", 100.0 * (double)part / (double)whole);
	return h;
}

/* ---- tables ---- */

static void table_add(struct table *t, char *text)
{
	if (t->nr == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		char **cells = reallocarray(t->cells, cap, sizeof(*cells));

		if (!cells)
			text = (free(text), NULL);
		else {
			t->cells = cells;
			t->cap = cap;
		}
	}
	if (text)
		t->cells[t->nr++] = text;
	else
		t->failed = true;
}

void table_open(struct table *t, unsigned nr_cols, const char *const *heads)
{
	*t = (struct table){ .nr_cols = nr_cols };
	for (unsigned i = 0; i < nr_cols; i++)
		table_add(t, strdup(heads[i]));
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	/* Names come from other machines: nothing of them steers the terminal. */
	for (char *p = text; p && *p; p++)
		if ((uint8_t)*p < 0x20 || *p == 0x7f)
			*p = '?';
	table_add(t, text);
}

static int column_width(const struct table *t, unsigned col)
{
	size_t width = 0;

	for (size_t i = col; i < t->nr; i += t->nr_cols)
		width = MAX(width, strlen(t->cells[i]) - (i == col && t->cells[i][0] == '>'));
	return (int)width;
}

void table_print(struct table *t)
{
	bool failed = t->failed || t->nr % t->nr_cols;
	int width[16];

	for (unsigned c = 0; c < t->nr_cols && !failed; c++)
		width[c] = column_width(t, c);
	for (size_t i = 0; i < t->nr && !failed; i++) {
		unsigned c = (unsigned)(i % t->nr_cols);
		const char *text = t->cells[i];
		bool right = t->cells[c][0] == '>', last = c + 1 == t->nr_cols;

		text += i < t->nr_cols && right;
		printf("%*s%s", right ? width[c] : last ? 0 : -width[c], text, last ? "\n" : "  ");
	}
	if (failed)
		fputs("mooncakectl: out of memory\n", stderr);
	for (size_t i = 0; i < t->nr; i++)
		free(t->cells[i]);
	free(t->cells);
}

/* ---- keys ---- */

/* Bytes of the character at @p, 0 when it is no UTF-8 (over-long forms and surrogates included). */
static size_t utf8_char(const uint8_t *p, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 && p[0] < 0xf8 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
	uint32_t v;

	if (!n || n > left || p[0] >= 0xf8)
		return 0;
	if (n == 1)
		return 1;
	v = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3f);
	}
	return v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0 : n;
}

static bool is_utf8(const uint8_t *p, size_t len)
{
	size_t n;

	for (; len; p += n, len -= n) {
		n = utf8_char(p, len);
		if (!n)
			return false;
	}
	return true;
}

/* C1 controls, U+0080 to U+009F, steer terminals as much as those below 0x20 do. */
static bool is_printable(const uint8_t *p, size_t n)
{
	return n == 1 ? p[0] >= 0x20 && p[0] != 0x7f && p[0] != '\\' : n > 1 && !(p[0] == 0xc2 && p[1] < 0xa0);
}

void key_text(const void *key, size_t len, struct buf *out)
{
	const uint8_t *p = key;

	while (len) {
		size_t n = utf8_char(p, len);

		if (is_printable(p, n)) {
			buf_put(out, p, n);
		} else {
			n = 1;
			buf_printf(out, "\\x%02x", *p);
		}
		p += n;
		len -= n;
	}
}

static void add_buf(struct json_object *o, const char *name, struct buf *b)
{
	json_object_object_add(o, name, json_object_new_string_len((const char *)b->data, (int)b->len));
	buf_fini(b);
}

void key_json(struct json_object *o, const void *key, size_t len)
{
	struct buf b = BUF_INIT;

	if (is_utf8(key, len)) {
		json_object_object_add(o, "key", json_object_new_string_len(key, (int)len));
		return;
	}
	key_text(key, len, &b);
	add_buf(o, "key", &b);
	for (size_t i = 0; i < len; i++)
		buf_printf(&b, "%02x", ((const uint8_t *)key)[i]);
	add_buf(o, "key_hex", &b);
}

/* ---- JSON ---- */

void json_print(struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	puts(text ? text : "null");
	json_object_put(o);
}

uint64_t get_u64(struct json_object *o, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) ? json_object_get_uint64(v) : 0;
}

const char *get_text(struct json_object *o, const char *name)
{
	struct json_object *v;
	const char *text = json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_string) ?
				   json_object_get_string(v) :
				   NULL;

	return text ? text : "";
}

bool get_bool(struct json_object *o, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_get_boolean(v);
}
