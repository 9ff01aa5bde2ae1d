/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept published, against services that fail, and forget, when the test wants them to. */
#include "mctest.h"

#include <stdatomic.h>

#include "base/base64.h"
#include "base/clock.h"
#include "http_server.h"
#include "meta/meta.h"

/* ---- a gateway ----------------------------------------------------------------------------------------------------------- */

#define KEYS 4

struct gateway { /* of etcd */
	struct http_server http;
	atomic_int status; /* of every answer; 200: as etcd would */
	atomic_int lease;  /* the one that lives */
	atomic_int puts, puts_allowed;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	struct {
		char key[256], text[1024]; /* base64 */
	} kept[KEYS];
};

static void copy_member(const char *body, const char *name, char *out, size_t size)
{
	const char *at = strstr(body, name);
	size_t n;

	*out = 0;
	if (!at)
		return;
	at += strlen(name) + strspn(at + strlen(name), "\":");
	n = strcspn(at, "\"}");
	snprintf(out, size, "%.*s", (int)n, at);
}

static int lost(const char **out)
{
	*out = "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}";
	return 404;
}

static int put(struct gateway *g, const char *body, const char **out)
{
	char key[256], text[1024], lease[32];

	copy_member(body, "\"key\"", key, sizeof(key));
	copy_member(body, "\"value\"", text, sizeof(text));
	copy_member(body, "\"lease\"", lease, sizeof(lease));
	if (atoi(lease) != g->lease)
		return lost(out);
	if (g->puts >= g->puts_allowed)
		return 503;
	atomic_fetch_add(&g->puts, 1);
	pthread_mutex_lock(&g->lock);
	for (int i = 0; i < KEYS; i++)
		if (!g->kept[i].key[0] || !strcmp(g->kept[i].key, key)) {
			strcpy(g->kept[i].key, key);
			strcpy(g->kept[i].text, text);
			break;
		}
	pthread_mutex_unlock(&g->lock);
	*out = "{}";
	return 200;
}

static int gateway_answer(struct http_server *s, const char *method, const char *target, const char *body, const char **out)
{
	struct gateway *g = container_of(s, struct gateway, http);
	static _Thread_local char text[128];

	pthread_cond_broadcast(&g->asked);
	*out = text;
	text[0] = 0;
	if (g->status != 200)
		return g->status;
	if (!strcmp(target, "/v3/auth/authenticate")) {
		snprintf(text, sizeof(text), "{\"token\":\"t.1\"}");
	} else if (!strcmp(target, "/v3/lease/grant")) {
		snprintf(text, sizeof(text), "{\"ID\":\"%d\",\"TTL\":\"3\"}", g->lease);
	} else if (!strcmp(target, "/v3/lease/keepalive")) {
		char id[32];

		copy_member(body, "\"ID\"", id, sizeof(id));
		snprintf(text, sizeof(text), "{\"result\":{\"ID\":\"%s\"%s}}", id, atoi(id) == g->lease ? ",\"TTL\":\"3\"" : "");
	} else if (!strcmp(target, "/v3/kv/put")) {
		return put(g, body, out);
	} else {
		snprintf(text, sizeof(text), "{}");
	}
	return 200;
}

static void gateway_start(struct gateway *g)
{
	memset(g, 0, sizeof(*g));
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->asked, NULL);
	g->status = 200;
	g->lease = 7;
	g->puts_allowed = 1 << 30;
	g->http.answer = gateway_answer;
	http_server_start(&g->http);
}

/* The texts that are there, empty afterwards: as after a restart without its data. */
static void gateway_forget(struct gateway *g)
{
	pthread_mutex_lock(&g->lock);
	memset(g->kept, 0, sizeof(g->kept));
	pthread_mutex_unlock(&g->lock);
}

static int gateway_has(struct gateway *g, const char *word)
{
	int nr = 0;

	pthread_mutex_lock(&g->lock);
	for (int i = 0; i < KEYS; i++) {
		struct buf b = BUF_INIT;

		if (!base64_get(&b, g->kept[i].text, strlen(g->kept[i].text))) {
			buf_put_u8(&b, 0);
			nr += b.data && strstr((char *)b.data, word);
		}
		buf_fini(&b);
	}
	pthread_mutex_unlock(&g->lock);
	return nr;
}

static struct meta *open_at(const char *conn)
{
	struct meta *m = NULL;

	EXPECT_EQ(meta_open(conn, &m), 0);
	return m;
}

static int publish(struct meta *m, const char *name, const char *host, uint64_t ms)
{
	struct rpc_meta rpc = { .port = 5 };

	snprintf(rpc.host, sizeof(rpc.host), "%s", host);
	return meta_put_rpc(m, name, &rpc, deadline_after_ms(ms));
}

/* The keeper asks again and again: each time is an occasion to look. */
static void next_question(struct gateway *g)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec++;
	pthread_mutex_lock(&g->lock);
	pthread_cond_timedwait(&g->asked, &g->lock, &ts);
	pthread_mutex_unlock(&g->lock);
}

#define WITHIN_5_S(g, cond)                                                    \
	({                                                                     \
		uint64_t until_ = deadline_after_ms(5000);                     \
		while (!(cond) && !deadline_passed(until_))                    \
			next_question(g);                                      \
		(cond);                                                        \
	})

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

TEST(an_open_that_fails_leaves_nothing)
{
	struct meta *m;
	char id[200];

	memset(id, 'x', sizeof(id) - 1);
	id[sizeof(id) - 1] = 0;
	setenv("MC_METADATA_CLUSTER_ID", id, 1);
	EXPECT_EQ(meta_open("etcd://127.0.0.1:1", &m), -EINVAL);
	EXPECT_EQ(meta_open("redis://127.0.0.1:1", &m) == 0, false);
	unsetenv("MC_METADATA_CLUSTER_ID");
	setenv("MC_ETCD_LEASE_TTL_S", "3", 1); /* for all that follow */
}

TEST(every_key_comes_back_in_the_end)
{
	struct gateway g;
	struct meta *m;
	char conn[64];

	gateway_start(&g);
	snprintf(conn, sizeof(conn), "etcd://127.0.0.1:%u", g.http.port);
	m = open_at(conn);
	EXPECT_EQ(publish(m, "a", "first", 5000), 0);
	EXPECT_EQ(publish(m, "b", "second", 5000), 0);
	EXPECT_EQ(publish(m, "c", "third", 5000), 0);
	g.puts_allowed = g.puts + 1; /* it comes back empty, and takes one key before it fails again */
	g.lease = 8;
	gateway_forget(&g);
	EXPECT_TRUE(WITHIN_5_S(&g, g.puts == g.puts_allowed));
	g.puts_allowed = 1 << 30;
	EXPECT_TRUE(WITHIN_5_S(&g, gateway_has(&g, "first") && gateway_has(&g, "second") && gateway_has(&g, "third")));
	meta_close(m, deadline_after_ms(1000));
	http_server_stop(&g.http);
}

/* The caller was told that it failed: what it had published before is what stays. */
TEST(a_publication_that_fails_is_not_made_later)
{
	struct gateway g;
	struct meta *m;
	char conn[64];

	gateway_start(&g);
	snprintf(conn, sizeof(conn), "etcd://127.0.0.1:%u", g.http.port);
	m = open_at(conn);
	EXPECT_EQ(publish(m, "a", "before", 5000), 0);
	g.puts_allowed = 0;
	EXPECT_EQ(publish(m, "a", "refused", 5000), -EIO);
	EXPECT_EQ(publish(m, "b", "refused", 5000), -EIO);
	g.lease = 8;
	gateway_forget(&g);
	g.puts_allowed = 1 << 30;
	EXPECT_TRUE(WITHIN_5_S(&g, gateway_has(&g, "before")));
	EXPECT_EQ(publish(m, "c", "last", 5000), 0);
	EXPECT_EQ(gateway_has(&g, "refused"), 0);
	meta_close(m, deadline_after_ms(1000));
	http_server_stop(&g.http);
}

/* A lease that was lost shows when something is published, within that call's deadline. */
TEST(the_caller_has_one_deadline)
{
	struct gateway g;
	struct meta *m;
	uint64_t began;
	char conn[64];

	gateway_start(&g);
	snprintf(conn, sizeof(conn), "etcd://127.0.0.1:%u", g.http.port);
	m = open_at(conn);
	EXPECT_EQ(publish(m, "a", "x", 5000), 0);
	g.lease = 8;
	EXPECT_EQ(publish(m, "a", "y", 5000), 0);
	http_server_stop(&g.http);
	http_server_start(&g.http); /* and on another port it is out of reach */
	began = clock_now_ns();
	EXPECT_TRUE(publish(m, "a", "z", 300) < 0);
	EXPECT_LE(clock_now_ns() - began, 600 * NSEC_PER_MSEC);
	http_server_stop(&g.http);
	meta_close(m, deadline_after_ms(1000));
}

/* A host that is out of order when somebody logs in is not the cluster's verdict. */
TEST(another_host_is_asked)
{
	struct gateway bad, good;
	struct meta *m;
	char conn[96];

	gateway_start(&bad);
	gateway_start(&good);
	bad.status = 503;
	snprintf(conn, sizeof(conn), "etcd://me:secret@127.0.0.1:%u;127.0.0.1:%u", bad.http.port, good.http.port);
	m = open_at(conn);
	EXPECT_EQ(publish(m, "a", "there", 5000), 0);
	EXPECT_EQ(gateway_has(&good, "there"), 1);
	bad.status = 401;
	good.status = 401;
	EXPECT_EQ(publish(m, "a", "no", 5000), -EACCES);
	meta_close(m, deadline_after_ms(1000));
	http_server_stop(&bad.http);
	http_server_stop(&good.http);
}

/* Something that is no etcd answers 404 to all: that is no missing key. */
TEST(not_found_is_of_keys_and_leases)
{
	struct gateway g;
	struct rpc_meta rpc;
	struct meta *m;
	char conn[64];

	gateway_start(&g);
	g.status = 404;
	snprintf(conn, sizeof(conn), "etcd://127.0.0.1:%u", g.http.port);
	m = open_at(conn);
	EXPECT_EQ(meta_get_rpc(m, "a", deadline_after_ms(5000), &rpc), -EIO);
	g.status = 200;
	EXPECT_EQ(meta_get_rpc(m, "a", deadline_after_ms(5000), &rpc), -ENOENT);
	meta_close(m, deadline_after_ms(1000));
	http_server_stop(&g.http);
}

/* ---- a service without leases -------------------------------------------------------------------------------------------- */

struct shelf {
	struct http_server http;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	struct {
		char target[256], body[1024];
	} kept[KEYS];
};

static int shelf_answer(struct http_server *s, const char *method, const char *target, const char *body, const char **out)
{
	struct shelf *f = container_of(s, struct shelf, http);
	int at = -1, status = 200;

	pthread_mutex_lock(&f->lock);
	for (int i = KEYS; i--;)
		if (!strcmp(f->kept[i].target, target) || (at < 0 && !strcmp(method, "PUT") && !f->kept[i].target[0]))
			at = i;
	if (at < 0) {
		status = 404;
	} else if (!strcmp(method, "PUT")) {
		snprintf(f->kept[at].target, sizeof(f->kept[at].target), "%s", target);
		snprintf(f->kept[at].body, sizeof(f->kept[at].body), "%s", body);
	} else if (!strcmp(method, "DELETE")) {
		f->kept[at].target[0] = 0;
	} else {
		*out = f->kept[at].body;
	}
	pthread_cond_broadcast(&f->asked);
	pthread_mutex_unlock(&f->lock);
	return status;
}

static int shelf_count(struct shelf *f)
{
	int nr = 0;

	for (int i = 0; i < KEYS; i++)
		nr += f->kept[i].target[0] != 0;
	return nr;
}

TEST(a_service_that_forgot_is_told_again)
{
	struct shelf f = { .http.answer = shelf_answer, .lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER };
	struct timespec ts;
	struct meta *m;
	char conn[64];

	http_server_start(&f.http);
	setenv("MC_METADATA_CHECK_S", "1", 1);
	snprintf(conn, sizeof(conn), "http://127.0.0.1:%u/metadata", f.http.port);
	m = open_at(conn);
	EXPECT_EQ(publish(m, "a", "first", 5000), 0);
	EXPECT_EQ(publish(m, "b", "second", 5000), 0);
	EXPECT_EQ(meta_del_rpc(m, "b", deadline_after_ms(5000)), 0);
	EXPECT_EQ(publish(m, "c", "third", 5000), 0);
	pthread_mutex_lock(&f.lock);
	EXPECT_EQ(shelf_count(&f), 2);
	memset(f.kept, 0, sizeof(f.kept));
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 8;
	while (shelf_count(&f) < 2 && !pthread_cond_timedwait(&f.asked, &f.lock, &ts))
		;
	EXPECT_EQ(shelf_count(&f), 2); /* and not what was taken back */
	pthread_mutex_unlock(&f.lock);
	EXPECT_EQ(publish(m, "c", "fourth", 5000), 0);
	meta_close(m, deadline_after_ms(1000));
	http_server_stop(&f.http);
	unsetenv("MC_METADATA_CHECK_S");
}
