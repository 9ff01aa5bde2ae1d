// SPDX-License-Identifier: Apache-2.0
/* JSON: typed access to what json-c parsed, and strings in jsoncpp's spelling. */
#include "proto/json.h"

struct json_object *json_read(const char *text, size_t len)
{
	struct json_object *o = NULL;
	struct json_tokener *tok;

	if (!len || len > JSON_TEXT_MAX)
		return NULL;
	tok = json_tokener_new();
	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    json_tokener_get_parse_end(tok) != len || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	return o;
}

static int get(struct json_object *o, const char *name, enum json_type type,
	       struct json_object **out)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) || !v)
		return 0;
	if (!json_object_is_type(v, type))
		return -EBADMSG;
	*out = v;
	return 1;
}

int json_get_array(struct json_object *o, const char *name, struct json_object **out)
{
	return get(o, name, json_type_array, out);
}

int json_get_object(struct json_object *o, const char *name, struct json_object **out)
{
	return get(o, name, json_type_object, out);
}

int json_get_text(struct json_object *o, const char *name, const char **out)
{
	struct json_object *v;
	int ret = get(o, name, json_type_string, &v);
	const char *text;

	if (ret <= 0)
		return ret;
	text = json_object_get_string(v);
	if (strlen(text) != (size_t)json_object_get_string_len(v))
		return -EBADMSG;
	*out = text;
	return 1;
}

bool json_has_text(struct json_object *o, const char *name)
{
	const char *text;

	return json_get_text(o, name, &text) > 0 && *text;
}

int json_get_u64(struct json_object *o, const char *name, uint64_t *out)
{
	struct json_object *v;
	int ret = get(o, name, json_type_int, &v);

	if (ret <= 0)
		return ret;
	/*
	 * json-c keeps what is beyond INT64_MAX exact, but before 0.17 turns larger numbers into UINT64_MAX
	 * without a word: so that one is refused, which no address or length is.
	 */
	if (json_object_get_int64(v) < 0 || json_object_get_uint64(v) == UINT64_MAX)
		return -EBADMSG;
	*out = json_object_get_uint64(v);
	return 1;
}

int json_get_int(struct json_object *o, const char *name, int64_t min, int64_t max, int64_t *out)
{
	struct json_object *v;
	int ret = get(o, name, json_type_int, &v);
	int64_t n;

	if (ret <= 0)
		return ret;
	n = json_object_get_int64(v);
	if (n < min || n > max || (n == INT64_MAX && json_object_get_uint64(v) != INT64_MAX))
		return -EBADMSG;
	*out = n;
	return 1;
}

/*
 * The code point that starts at *@p, which moves behind it. What is no UTF-8 (RFC 3629: overlong,
 * surrogates, above U+10FFFF, cut off) becomes U+FFFD and takes one byte.
 */
static uint32_t code_point(const uint8_t **p)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	const uint8_t *s = *p;
	unsigned more = *s < 0x80 ? 0 :
			*s < 0xc0 ? 4 :
			*s < 0xe0 ? 1 :
			*s < 0xf0 ? 2 :
			*s < 0xf8 ? 3 :
				    4;
	uint32_t c;

	++*p;
	if (!more)
		return *s;
	if (more == 4)
		return 0xfffd;
	c = *s & (0x3fu >> more);
	for (unsigned i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the terminator too */
			return 0xfffd;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0xfffd;
	*p += more;
	return c;
}

void json_put_text(struct buf *b, const char *text)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const uint8_t *p = (const uint8_t *)text;

	buf_put_u8(b, '"');
	while (*p) {
		uint32_t c = code_point(&p);
		const char *at = c < 0x80 ? strchr(plain, (int)c) : NULL;

		if (at) {
			buf_put_u8(b, '\\');
			buf_put_u8(b, (uint8_t)letters[at - plain]);
		} else if (c >= 0x20 && c < 0x80) {
			buf_put_u8(b, (uint8_t)c);
		} else if (c < 0x10000) {
			buf_printf(b, "\\u%04x", c);
		} else {
			c -= 0x10000;
			buf_printf(b, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
		}
	}
	buf_put_u8(b, '"');
}
