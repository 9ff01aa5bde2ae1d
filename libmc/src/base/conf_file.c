// SPDX-License-Identifier: Apache-2.0
/* Settings from files: JSON objects, flat YAML, and lines `key = value`. */
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/conf_impl.h"
#include "base/log.h"

/* ---- lines ---- */

static char *trim(char *p)
{
	size_t len;

	while (*p == ' ' || *p == '\t')
		p++;
	len = strlen(p);
	while (len && (p[len - 1] == ' ' || p[len - 1] == '\t' || p[len - 1] == '\r'))
		p[--len] = '\0';
	return p;
}

static char unescape(char c)
{
	return c == 'n' ? '\n' : c == 't' ? '\t' : c;
}

/* Takes the quotes off @p in place. Single quotes double for one, double quotes escape with a backslash (YAML 1.2, 7.3). */
static int unquote(char *p)
{
	char quote = *p, *to = p, *from = p + 1;

	for (; *from; from++) {
		if (quote == '\'' && from[0] == quote && from[1] == quote)
			*to++ = *from++;
		else if (quote == '"' && from[0] == '\\' && from[1])
			*to++ = unescape(*++from);
		else if (*from == quote)
			break;
		else
			*to++ = *from;
	}
	if (*from != quote)
		return -EINVAL;
	from = trim(from + 1);
	if (*from && *from != '#')
		return -EINVAL;
	*to = '\0';
	return 0;
}

/* A comment starts with # at the beginning or after a blank, so that "a#b" stays whole. */
static void cut_comment(char *p)
{
	for (char *q = p; *q; q++)
		if (*q == '#' && (q == p || q[-1] == ' ' || q[-1] == '\t')) {
			*q = '\0';
			return;
		}
}

/* @p: everything behind the separator; becomes the value. *@none: there is no value. */
static int take_value(char **p, bool *none)
{
	*p = trim(*p);
	if (**p == '"' || **p == '\'') {
		*none = false;
		return unquote(*p);
	}
	cut_comment(*p);
	*p = trim(*p);
	*none = !**p;
	return 0;
}

static int syntax(const char *where, const char *text)
{
	log_err("%s: %s", where, text);
	return -EINVAL;
}

static int one_line(struct conf *c, char *line, enum conf_format format, const char *where)
{
	bool yaml = format == CONF_YAML, none;
	char *key, *value = line;

	if (yaml && (line[0] == ' ' || line[0] == '\t') && *trim(line) && *trim(line) != '#')
		return syntax(where, "nested settings are not understood, write them flat");
	key = trim(line);
	if (!*key || *key == '#' || (yaml && (!strcmp(key, "---") || !strcmp(key, "..."))))
		return 0;
	if (yaml && key[0] == '-' && (key[1] == ' ' || !key[1]))
		return syntax(where, "a list: every setting takes one value");
	value = strchr(key, yaml ? ':' : '=');
	if (!value || (yaml && value[1] && value[1] != ' ' && value[1] != '\t'))
		return syntax(where, yaml ? "expected `key: value`" : "expected `key = value`");
	*value++ = '\0';
	key = trim(key);
	if ((*key == '"' || *key == '\'') && unquote(key))
		return syntax(where, "a quote is not closed");
	if (take_value(&value, &none))
		return syntax(where, "a quote is not closed, or something follows it");
	if (yaml && (none || !strcmp(value, "~") || !strcmp(value, "null")))
		return 0; /* no value: the default stays */
	if (yaml && (*value == '[' || *value == '{'))
		return syntax(where, "every setting takes one plain value");
	return conf_apply(c, where, key, value, CONF_FILE);
}

static int lines(struct conf *c, char *text, enum conf_format format, const char *path)
{
	char where[PATH_MAX + 16], *next;

	for (int nr = 1; text; nr++, text = next) {
		int ret;

		next = strchr(text, '\n');
		if (next)
			*next++ = '\0';
		snprintf(where, sizeof(where), "%s line %d", path, nr);
		ret = one_line(c, text, format, where);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- JSON ---- */

static int object(struct conf *c, struct json_object *o, const char *prefix, const char *path);

static int member(struct conf *c, const char *name, struct json_object *v, const char *path)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return 0;
	case json_type_object:
		return object(c, v, name, path);
	case json_type_array:
		log_err("%s: setting %s is a list; every setting takes one value", path, name);
		return -EINVAL;
	default:
		return conf_apply(c, path, name, json_object_get_string(v), CONF_FILE);
	}
}

/* Members of members are called outer.inner. */
static int object(struct conf *c, struct json_object *o, const char *prefix, const char *path)
{
	json_object_object_foreach(o, key, v)
	{
		struct buf name = BUF_INIT;
		int ret;

		if (prefix)
			buf_printf(&name, "%s.", prefix);
		buf_put(&name, key, strlen(key) + 1);
		ret = name.err ? name.err : member(c, (const char *)name.data, v, path);
		buf_fini(&name);
		if (ret)
			return ret;
	}
	return 0;
}

static int json(struct conf *c, const char *text, size_t len, const char *path)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o;
	size_t end;
	int ret = 0;

	if (!tok)
		return -ENOMEM;
	o = json_tokener_parse_ex(tok, text, (int)len);
	end = json_tokener_get_parse_end(tok);
	while (end < len && strchr(" \t\r\n", text[end]))
		end++;
	if (json_tokener_get_error(tok) != json_tokener_success || end < len) {
		log_err("%s: not valid JSON at byte %zu: %s", path, end,
			json_tokener_error_desc(json_tokener_get_error(tok)));
		ret = -EINVAL;
	} else if (!json_object_is_type(o, json_type_object)) {
		ret = syntax(path, "the JSON text is not an object");
	} else {
		ret = object(c, o, NULL, path);
	}
	json_object_put(o);
	json_tokener_free(tok);
	return ret;
}

/* ---- files ---- */

int conf_text(struct conf *c, const char *text, size_t len, enum conf_format format,
	      const char *path)
{
	char *copy;
	int ret;

	if (len > CONF_FILE_MAX) {
		log_err("%s: larger than %zu bytes", path, CONF_FILE_MAX);
		return -EFBIG;
	}
	if (memchr(text, '\0', len))
		return syntax(path, "holds a zero byte, so it is not text");
	if (format == CONF_JSON)
		return json(c, text, len, path);
	copy = strndup(text, len);
	if (!copy)
		return -ENOMEM;
	ret = lines(c, copy, format, path);
	free(copy);
	return ret;
}

static enum conf_format format_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcmp(dot, ".json"))
		return CONF_JSON;
	return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml")) ? CONF_YAML : CONF_LINES;
}

static int read_all(int fd, struct buf *b)
{
	while (b->len <= CONF_FILE_MAX) {
		ssize_t got;

		if (buf_reserve(b, 4096))
			return b->err;
		got = read(fd, b->data + b->len, 4096);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (!got)
			return 0;
		if (got > 0)
			b->len += (size_t)got;
	}
	return -EFBIG;
}

int conf_file(struct conf *c, const char *path)
{
	struct buf text = BUF_INIT;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	ret = fd < 0 ? -errno : read_all(fd, &text);
	if (ret)
		log_err("cannot read settings from %s: %s", path, strerror(-ret));
	else
		ret = conf_text(c, text.data ? (const char *)text.data : "", text.len,
				format_of(path), path);
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	return ret;
}
