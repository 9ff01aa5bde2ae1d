// SPDX-License-Identifier: Apache-2.0
/* One HTTP request at a time on libcurl; each thread keeps its handle, and with it the connection. */
#include <pthread.h>

#include "base/log.h"
#include "net/curl.h"

static struct {
	pthread_once_t once;
	pthread_key_t key;
	int err;
} http = { .once = PTHREAD_ONCE_INIT };

static void handle_free(void *handle)
{
	curl_easy_cleanup(handle);
}

static void http_init(void)
{
	if (pthread_key_create(&http.key, handle_free))
		http.err = -EIO;
}

static CURL *handle_get(void)
{
	CURL *h;

	pthread_once(&http.once, http_init);
	if (http.err)
		return NULL;
	h = pthread_getspecific(http.key);
	if (h) {
		curl_easy_reset(h); /* keeps live connections */
		return h;
	}
	h = curl_handle_new();
	if (h && pthread_setspecific(http.key, h)) {
		curl_easy_cleanup(h);
		return NULL;
	}
	return h;
}

struct answer {
	struct buf *buf;
	size_t max;
	bool too_long;
};

static size_t take(char *data, size_t size, size_t nr, void *arg)
{
	struct answer *a = arg;
	size_t len = size * nr;

	if (len > a->max - a->buf->len) {
		a->too_long = true;
		return 0;
	}
	buf_put(a->buf, data, len);
	return a->buf->err ? 0 : len;
}

static int status_of(CURLcode code, const struct answer *a)
{
	if (code == CURLE_WRITE_ERROR)
		return a->too_long ? -EMSGSIZE : a->buf->err ? a->buf->err : -EIO;
	return curl_errno(code);
}

static int set_method(CURL *h, const char *method, const void *body, size_t len)
{
	CURLcode bad = 0;

	if (!strcmp(method, "HEAD"))
		return curl_easy_setopt(h, CURLOPT_NOBODY, 1L) ? -EIO : 0;
	if (body) {
		bad |= curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		bad |= curl_easy_setopt(h, CURLOPT_POSTFIELDS, len ? body : "");
	}
	bad |= curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	return bad ? -EIO : 0;
}

static bool add_header(struct curl_slist **list, const char *line)
{
	struct curl_slist *more = curl_slist_append(*list, line);

	if (more)
		*list = more;
	return more;
}

static int set_headers(CURL *h, const struct http_call *c, struct curl_slist **out)
{
	struct buf line = BUF_INIT;
	bool ok = add_header(out, "Expect:"); /* no pause before the body */

	if (ok && c->content_type) {
		buf_printf(&line, "Content-Type: %s", c->content_type);
		buf_put_u8(&line, 0);
		ok = !line.err && add_header(out, (char *)line.data);
		buf_fini(&line);
	}
	if (ok && c->header)
		ok = add_header(out, c->header);
	if (!ok)
		return -ENOMEM;
	return curl_easy_setopt(h, CURLOPT_HTTPHEADER, *out) ? -EIO : 0;
}

static int perform(CURL *h, const char *url, struct answer *a)
{
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code;
	long status = 0;
	int ret;

	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, a);
	code = curl_easy_perform(h);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, NULL);
	if (code) {
		ret = status_of(code, a);
		err_note("%s: %s", curl_place(url), a->too_long ? "the answer is too long" : why[0] ? why : curl_easy_strerror(code));
		return ret;
	}
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	return status > 0 ? (int)status : -EIO;
}

int http_call(const struct http_call *c, uint64_t deadline_ns, struct buf *answer)
{
	struct answer a = { .buf = answer, .max = c->max };
	struct curl_slist *headers = NULL;
	CURL *h = handle_get();
	int ret;

	if (!h)
		return -ENOMEM;
	buf_reset(answer);
	ret = curl_set_target(h, c->url, deadline_ns);
	if (!ret)
		ret = set_method(h, c->method, c->body, c->len);
	if (!ret)
		ret = set_headers(h, c, &headers);
	if (!ret)
		ret = curl_set_tls(h, c->tls);
	if (!ret)
		ret = perform(h, c->url, &a);
	curl_easy_reset(h); /* nothing in it points to our caller any more */
	curl_slist_free_all(headers);
	return ret;
}

int http_request(const char *method, const char *url, const char *content_type, const void *body, size_t len, size_t max,
		 uint64_t deadline_ns, struct buf *answer)
{
	struct http_call c = { method, url, content_type, NULL, body, len, max, NULL };

	return http_call(&c, deadline_ns, answer);
}

int http_escape(const char *text, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *text; text++) {
		unsigned char ch = (unsigned char)*text;

		if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
		    strchr("-._~", ch)) {
			buf_put_u8(out, ch);
			continue;
		}
		buf_put_u8(out, '%');
		buf_put_u8(out, (uint8_t)hex[ch >> 4]);
		buf_put_u8(out, (uint8_t)hex[ch & 15]);
	}
	return out->err;
}
