/* SPDX-License-Identifier: Apache-2.0 */
/* Handles of libcurl: made, pointed somewhere with a deadline and TLS, and what their errors mean. */
#include "net/curl.h"

#include <pthread.h>

#define CONNECT_MS_MAX 10000

static struct {
	pthread_once_t once;
	CURLcode err;
} global = { .once = PTHREAD_ONCE_INIT };

static void global_init(void)
{
	global.err = curl_global_init(CURL_GLOBAL_DEFAULT);
}

CURL *curl_handle_new(void)
{
	pthread_once(&global.once, global_init);
	return global.err ? NULL : curl_easy_init();
}

int curl_set_target(CURL *h, const char *url, uint64_t deadline_ns)
{
	int ms = deadline_left_ms(deadline_ns);
	CURLcode bad = 0;

	if (!ms)
		return -ETIMEDOUT;
	bad |= curl_easy_setopt(h, CURLOPT_URL, url);
	bad |= curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, ms < 0 ? 0L : (long)ms);
	bad |= curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, ms < 0 ? (long)CONNECT_MS_MAX : (long)MIN(ms, CONNECT_MS_MAX));
	return bad ? -EIO : 0;
}

int curl_set_tls(CURL *h, const struct http_tls *t)
{
	CURLcode bad = 0;

	if (!t)
		return 0;
	if (t->ca)
		bad |= curl_easy_setopt(h, CURLOPT_CAINFO, t->ca);
	if (t->cert)
		bad |= curl_easy_setopt(h, CURLOPT_SSLCERT, t->cert);
	if (t->key)
		bad |= curl_easy_setopt(h, CURLOPT_SSLKEY, t->key);
	return bad ? -EIO : 0;
}

const char *curl_place(const char *url)
{
	const char *at, *place = strstr(url, "://");

	place = place ? place + 3 : url;
	at = memrchr(place, '@', strcspn(place, "/?#"));
	return at ? at + 1 : place;
}

int curl_errno(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CONNECT_ERROR:
		return -EACCES;
	default:
		return -EIO;
	}
}
