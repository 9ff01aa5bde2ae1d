/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c and line.c share: handles of libcurl, and its errors as errnos. */
#ifndef MC_NET_CURL_H
#define MC_NET_CURL_H

#include <curl/curl.h>

#include "net/net.h"

CURL *curl_handle_new(void); /* NULL: no memory */
int curl_set_target(CURL *h, const char *url, uint64_t deadline_ns); /* -ETIMEDOUT: none is left */
int curl_set_tls(CURL *h, const struct http_tls *t);		      /* NULL: the defaults */
const char *curl_place(const char *url); /* what of it may be shown: no scheme, no login */
int curl_errno(CURLcode code);					      /* as http_call() has them */

#endif
