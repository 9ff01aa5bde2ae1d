/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream to a service whose protocol is not ours, by the caller's thread. libcurl connects and speaks TLS; what is said is
 * the caller's.
 */
#include <poll.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/curl.h"

struct line {
	CURL *h;
	curl_socket_t fd;
};

static int set_up(CURL *h, const char *url, const struct http_tls *tls, uint64_t deadline_ns)
{
	CURLcode bad = 0;
	int ret = curl_set_target(h, url, deadline_ns);

	if (!ret)
		ret = curl_set_tls(h, tls);
	if (ret)
		return ret;
	bad |= curl_easy_setopt(h, CURLOPT_CONNECT_ONLY, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_SSL_ENABLE_ALPN, 0L); /* it is no HTTP that will be spoken */
	bad |= curl_easy_setopt(h, CURLOPT_PROXY, "");
	return bad ? -EIO : 0;
}

static int dial(struct line *s, const char *url)
{
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code;

	curl_easy_setopt(s->h, CURLOPT_ERRORBUFFER, why);
	code = curl_easy_perform(s->h);
	curl_easy_setopt(s->h, CURLOPT_ERRORBUFFER, NULL);
	if (code) {
		err_note("%s: %s", curl_place(url), why[0] ? why : curl_easy_strerror(code));
		return curl_errno(code);
	}
	code = curl_easy_getinfo(s->h, CURLINFO_ACTIVESOCKET, &s->fd);
	return code || s->fd == CURL_SOCKET_BAD ? -EIO : 0;
}

int line_open(const char *host_port, const struct http_tls *tls, uint64_t deadline_ns,
		struct line **out)
{
	struct line *s = calloc(1, sizeof(*s));
	struct buf url = BUF_INIT;
	int ret = -ENOMEM;

	buf_printf(&url, "http%s://%s/", tls ? "s" : "", host_port);
	buf_put_u8(&url, 0);
	if (s && !url.err)
		s->h = curl_handle_new();
	if (s && s->h)
		ret = set_up(s->h, (char *)url.data, tls, deadline_ns);
	if (!ret)
		ret = dial(s, (char *)url.data);
	buf_fini(&url);
	if (ret)
		line_close(s);
	else
		*out = s;
	return ret;
}

void line_close(struct line *s)
{
	if (!s)
		return;
	curl_easy_cleanup(s->h);
	free(s);
}

/* After CURLE_AGAIN. TLS may have to read before it can write, and the other way round: then the next round finds out. */
static int wait_for(struct line *s, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = s->fd, .events = events };
	int n;

	do {
		n = poll(&pfd, 1, deadline_left_ms(deadline_ns));
	} while (n < 0 && errno == EINTR && !deadline_passed(deadline_ns));
	return n > 0 ? 0 : n < 0 && errno != EINTR ? -errno : -ETIMEDOUT;
}

int line_send(struct line *s, const void *data, size_t len, uint64_t deadline_ns)
{
	const char *p = data;

	while (len) {
		size_t n = 0;
		CURLcode code = curl_easy_send(s->h, p, len, &n);
		int ret = code == CURLE_AGAIN ? wait_for(s, POLLOUT, deadline_ns) :
			  code		      ? -ECONNRESET :
						0;

		if (ret)
			return ret;
		p += n;
		len -= n;
	}
	return 0;
}

int line_recv(struct line *s, void *data, size_t len, size_t *got, uint64_t deadline_ns)
{
	for (;;) {
		CURLcode code = curl_easy_recv(s->h, data, len, got);
		int ret;

		if (code != CURLE_AGAIN)
			return code || !*got ? -ECONNRESET : 0;
		ret = wait_for(s, POLLIN, deadline_ns);
		if (ret)
			return ret;
	}
}
