/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing JSON as upstream does (docs/protocol.md, "Metadata"): json-c parses, the writer is
 * ours because jsoncpp's text is the contract, to the byte. Nothing outside proto includes this.
 */
#ifndef MC_PROTO_JSON_H
#define MC_PROTO_JSON_H

#include <json-c/json.h>

#include "proto/proto.h"

/* The object that makes up all of @text, or NULL: not JSON, too long, trailing text, another type. */
struct json_object *json_read(const char *text, size_t len);

/*
 * A member by type. Absent and null are the same, as in jsoncpp. 1: there; 0: absent; -EBADMSG: another
 * type, a number out of range or with a fraction, a string with a zero byte inside.
 */
int json_get_array(struct json_object *o, const char *name, struct json_object **out);
int json_get_object(struct json_object *o, const char *name, struct json_object **out);
int json_get_text(struct json_object *o, const char *name, const char **out);
int json_get_u64(struct json_object *o, const char *name, uint64_t *out);
int json_get_int(struct json_object *o, const char *name, int64_t min, int64_t max, int64_t *out);

/* Has the member a text with at least one byte in it? */
bool json_has_text(struct json_object *o, const char *name);

/* A string in quotes. Non-ASCII as \uXXXX, what is no UTF-8 as \ufffd. */
void json_put_text(struct buf *b, const char *text);

/* An object of places, each a list of two lists. -EBADMSG: *@bad, of @all or a literal, is what makes no sense; -ENOMEM. */
int places_read(struct json_object *all, struct places *out, const char **bad);

#endif
