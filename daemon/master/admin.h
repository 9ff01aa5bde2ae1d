/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the admin HTTP server. Handlers run on its threads, several at a time, and look at shared state only. */
#ifndef MC_MASTER_ADMIN_H
#define MC_MASTER_ADMIN_H

#include <json-c/json.h>
#include <stdio.h>

#include "master.h"

#define MIME_JSON "application/json; charset=utf-8"
#define MIME_METRICS "text/plain; version=0.0.4"

/* Takes the reference to @o. */
void answer_json(struct http_req *r, int status, struct json_object *o);
void answer_error(struct http_req *r, int status, int code, const char *text); /* upstream's shape and numbers */

/* Two decimal halves, as upstream writes its 128-bit names. */
void uuid_text(const uint8_t id[16], char out[48]);

/* admin_keys.c */
void http_query_key(void *arg, struct http_req *r);
void http_batch_query_keys(void *arg, struct http_req *r);
void http_all_keys(void *arg, struct http_req *r);
void http_remove_all(void *arg, struct http_req *r);

/* admin_pools.c */
void http_all_segments(void *arg, struct http_req *r);
void http_query_segment(void *arg, struct http_req *r);
void http_segments_detail(void *arg, struct http_req *r);
void http_segment_status(void *arg, struct http_req *r);

/* admin_page.c */
void http_page(void *arg, struct http_req *r);

/* admin_metrics.c */
void http_metrics(void *arg, struct http_req *r);
void http_summary(void *arg, struct http_req *r);

#endif
