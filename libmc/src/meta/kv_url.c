/* SPDX-License-Identifier: Apache-2.0 */
/* Where a metadata database is: hosts, credentials, and what follows the slash. */
#include <ctype.h>
#include <stdio.h>

#include "base/log.h"
#include "meta/kv.h"

static int hex(char c)
{
	return hex_digit((char)tolower((uint8_t)c));
}

/* In place. -EINVAL: a percent sign without two digits, or a zero byte. */
static int percent_decode(char *s)
{
	char *to = s;
	int high, low;

	for (; *s; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		high = hex(s[1]);
		low = high < 0 ? -1 : hex(s[2]);
		if (low < 0 || !(high | low))
			return -EINVAL;
		*to++ = (char)(high << 4 | low);
		s += 2;
	}
	*to = 0;
	return 0;
}

/* "host", "host:port", "[v6]", "[v6]:port", without a port more: @out gets one, in memory of its own. */
static int host_of(const char *text, uint16_t default_port, char **out)
{
	const char *end = text[0] == '[' ? strchr(text, ']') : text + strcspn(text, ":");
	unsigned long port = default_port;
	char *rest;

	if (!end || end == text || (text[0] == '[' && end == text + 1))
		return -EINVAL;
	end += *end == ']';
	if (*end == ':') {
		if (end[1] < '0' || end[1] > '9')
			return -EINVAL;
		port = strtoul(end + 1, &rest, 10);
		if (*rest || !port || port > 65535)
			return -EINVAL;
	} else if (*end) {
		return -EINVAL;
	}
	return asprintf(out, "%.*s:%lu", (int)(end - text), text, port) < 0 ? -ENOMEM : 0;
}

static int take_hosts(struct kv_url *u, char *list, uint16_t default_port)
{
	char *save = NULL;

	for (char *h = strtok_r(list, ";,", &save); h; h = strtok_r(NULL, ";,", &save)) {
		char *scheme = strstr(h, "://"); /* of an item: etcdctl's habit */
		int ret;

		if (u->nr_hosts == KV_HOSTS_MAX)
			return -EINVAL;
		ret = host_of(scheme ? scheme + 3 : h, default_port, &u->hosts[u->nr_hosts]);
		if (ret)
			return ret;
		u->nr_hosts++;
	}
	return u->nr_hosts ? 0 : -EINVAL;
}

static int take_login(struct kv_url *u, char *login)
{
	char *colon = strchr(login, ':');

	u->user = login;
	if (colon) {
		*colon = 0;
		u->password = colon + 1;
	}
	return percent_decode(u->user) ? -EINVAL : percent_decode(u->password);
}

int kv_url_parse(const char *conn, uint16_t default_port, struct kv_url *out)
{
	struct kv_url u = { .text = strdup(conn) };
	char *hosts = u.text, *at, *slash;
	int ret = 0;

	if (!u.text)
		return -ENOMEM;
	u.user = u.password = u.path = u.text + strlen(u.text);
	at = strrchr(hosts, '@');
	if (at) {
		*at = 0;
		ret = take_login(&u, hosts);
		hosts = at + 1;
	}
	slash = strstr(hosts, "://") ? NULL : strchr(hosts, '/');
	if (slash) {
		*slash = 0;
		u.path = slash + 1;
	}
	if (!ret)
		ret = take_hosts(&u, hosts, default_port);
	if (ret) {
		kv_url_fini(&u);
		if (ret == -EINVAL)
			log_err("metadata service: its address is not "
				"[user[:password]@]host[:port][;host[:port]...], "
				"with at most %d hosts",
				KV_HOSTS_MAX);
		return ret;
	}
	*out = u;
	return 0;
}

void kv_url_fini(struct kv_url *u)
{
	for (unsigned i = 0; i < u->nr_hosts; i++)
		free(u->hosts[i]);
	free(u->text);
}

/* ---- credentials --------------------------------------------------------------------------------------------------------- */

static int copy(const char *text, char **out)
{
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

/* NULL: not set. */
static int copy_path(const char *path, const char **out)
{
	*out = *path ? strdup(path) : NULL;
	return *out || !*path ? 0 : -ENOMEM;
}

int kv_access_read(const struct kv_url *u, const struct env_access *env, struct kv_access *out)
{
	struct kv_access a = { 0 };
	int ret = copy(*u->user ? u->user : env->username, &a.user);

	if (!ret)
		ret = copy(*u->password ? u->password : env->password, &a.password);
	if (!ret)
		ret = copy_path(env->ca, &a.tls.ca);
	if (!ret)
		ret = copy_path(env->cert, &a.tls.cert);
	if (!ret)
		ret = copy_path(env->key, &a.tls.key);
	if (ret)
		kv_access_fini(&a);
	else
		*out = a;
	return ret;
}

void kv_access_fini(struct kv_access *a)
{
	free(a->user);
	free(a->password);
	free((char *)(uintptr_t)a->tls.ca);
	free((char *)(uintptr_t)a->tls.cert);
	free((char *)(uintptr_t)a->tls.key);
}

bool kv_url_is_bare(const char *conn)
{
	const char *colon = strrchr(conn, ':');

	return !strstr(conn, "://") && colon && colon != conn && colon[1] >= '0' && colon[1] <= '9';
}
