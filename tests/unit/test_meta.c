// SPDX-License-Identifier: Apache-2.0
/*
 * Metadata backends against a small HTTP server that keeps upstream's contract in both of its
 * forms.
 */
#include "mctest.h"

#include <mooncake/engine.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "meta/meta.h"
#include "http_server.h"
#include "net/net.h"

/* ---- what the server keeps ------------------------------------------------------------------- */

#define KEYS 16

static struct {
	char key[1024];
	char body[4096];
} kept[KEYS];
static bool python_rules; /* a second PUT of an rpc_meta is refused even when it is the same */
static char last_target[1024];
static int last_status;

static int find(const char *key)
{
	for (int i = 0; i < KEYS; i++) {
		if (!strcmp(kept[i].key, key))
			return i;
	}
	return -1;
}

static void decode(const char *in, char *out)
{
	for (; *in; out++) {
		unsigned c = (unsigned char)*in++;

		if (c == '%' && sscanf(in, "%2x", &c) == 1)
			in += 2;
		*out = (char)c;
	}
	*out = 0;
}

static int put(const char *key, const char *body)
{
	int i = find(key);

	if (i >= 0 && strstr(key, "rpc_meta") && (python_rules || strcmp(kept[i].body, body)))
		return 400;
	if (i < 0)
		i = find("");
	snprintf(kept[i].key, sizeof(kept[i].key), "%s", key);
	snprintf(kept[i].body, sizeof(kept[i].body), "%s", body);
	return 200;
}

static int answer_to(const char *method, const char *target, const char *body, const char **out)
{
	const char *q = strstr(target, "?key=");
	char key[1024];
	int i;

	*out = "";
	snprintf(last_target, sizeof(last_target), "%s", target);
	if (!q || strncmp(target, "/metadata?", 10) || strchr(q + 5, '/'))
		return 400;
	decode(q + 5, key);
	if (strstr(key, "broken"))
		return 500;
	if (!strcmp(method, "PUT"))
		return put(key, body);
	i = find(key);
	if (i < 0)
		return 404;
	if (!strcmp(method, "GET"))
		*out = kept[i].body;
	else
		kept[i].key[0] = 0;
	return 200;
}

static int answered(struct http_server *s, const char *method, const char *target, const char *body, const char **out)
{
	return last_status = answer_to(method, target, body, out);
}

static struct http_server server = { .answer = answered };

static void start(char url[64])
{
	memset(kept, 0, sizeof(kept));
	python_rules = false;
	http_server_start(&server);
	snprintf(url, 64, "http://127.0.0.1:%u/metadata", server.port);
}

static void stop(void)
{
	http_server_stop(&server);
}

static uint64_t soon(void)
{
	return deadline_after_ms(5000);
}

/* ---- tests ----------------------------------------------------------------------------------- */

TEST(unknown_services_are_refused)
{
	struct meta *m;

	EXPECT_EQ(meta_open("zookeeper://localhost:2379", &m), -EPROTONOSUPPORT);
	EXPECT_TRUE(strstr(mc_last_error(), "zookeeper://localhost:2379"));
	EXPECT_EQ(meta_open("", &m), -EPROTONOSUPPORT);
	EXPECT_EQ(meta_open("P2PHANDSHAKE", &m), 0);
	EXPECT_TRUE(meta_is_p2p(m));
	meta_close(m, deadline_after_ms(1000));
	meta_close(NULL, deadline_after_ms(1000));
}

TEST(segments_over_http)
{
	struct segment_buffer buffer = { (char *)"n1", 0xfffffffffffff000, 16 };
	struct segment_desc d = { .name = (char *)"host:1",
				  .protocol = (char *)"tcp",
				  .tcp_proto_version = 2,
				  .timestamp = (char *)"now",
				  .buffers = &buffer,
				  .nr_buffers = 1,
				  .tcp_data_port = 5 };
	struct rpc_meta rpc = { "10.1.2.3", 1234 };
	struct segment_desc got;
	struct meta *m;
	char url[64];

	start(url);
	ASSERT_EQ(meta_open(url, &m), 0);
	EXPECT_TRUE(!meta_is_p2p(m));
	EXPECT_EQ(meta_get_segment(m, "host:1", NULL, soon(), &got), -ENOENT);
	EXPECT_EQ(meta_put_segment(m, &d, soon()), 0);
	EXPECT_STREQ(last_target, "/metadata?key=mooncake%2Fram%2Fhost%3A1");
	EXPECT_EQ(meta_get_segment(m, "host:1", NULL, soon(), &got),
		  -ENOENT); /* where it is reached is not known */
	EXPECT_EQ(meta_put_rpc(m, "host:1", &rpc, soon()), 0);
	EXPECT_STREQ(last_target, "/metadata?key=mooncake%2Frpc_meta%2Fhost%3A1");
	EXPECT_STREQ(kept[1].body, "{\"ip_or_host_name\":\"10.1.2.3\",\"rpc_port\":1234}");
	EXPECT_EQ(meta_get_segment(m, "/host:1", NULL, soon(), &got), 0);
	EXPECT_EQ(got.nr_buffers, 1u);
	EXPECT_TRUE(got.buffers[0].addr == 0xfffffffffffff000);
	EXPECT_STREQ(got.host, "10.1.2.3");
	segment_desc_fini(&got);
	d.name = (char *)"nvmeof/xyz";
	EXPECT_EQ(meta_put_segment(m, &d, soon()), 0);
	EXPECT_STREQ(last_target, "/metadata?key=mooncake%2Fnvmeof%2Fxyz");
	EXPECT_EQ(meta_del_segment(m, "host:1", soon()), 0);
	EXPECT_EQ(meta_del_segment(m, "host:1", soon()), -ENOENT);
	EXPECT_EQ(meta_get_segment(m, "broken", NULL, soon(), &got), -EIO);
	meta_close(m, deadline_after_ms(1000));
	stop();
	ASSERT_EQ(meta_open(url, &m), 0);
	EXPECT_EQ(meta_get_segment(m, "host:1", NULL, soon(), &got), -ECONNREFUSED);
	meta_close(m, deadline_after_ms(1000));
}

/*
 * What an earlier run left behind under our name gives way, whatever the server thinks of
 * duplicates.
 */
TEST(a_stale_server_record_is_replaced)
{
	struct rpc_meta old = { "10.1.2.3", 1 }, new = { "10.1.2.3", 2 }, got;
	struct meta *m;
	char url[64];

	start(url);
	ASSERT_EQ(meta_open(url, &m), 0);
	for (int i = 0; i < 2; i++) {
		python_rules = i;
		EXPECT_EQ(meta_put_rpc(m, "a", &old, soon()), 0);
		EXPECT_EQ(meta_put_rpc(m, "a", &old, soon()), 0);
		EXPECT_EQ(meta_put_rpc(m, "a", &new, soon()), 0);
		EXPECT_EQ(meta_get_rpc(m, "a", soon(), &got), 0);
		EXPECT_EQ(got.port, 2);
		EXPECT_EQ(meta_del_rpc(m, "a", soon()), 0);
	}
	meta_close(m, deadline_after_ms(1000));
	stop();
}

TEST(keys_carry_the_cluster)
{
	struct rpc_meta rpc = { "h", 1 };
	struct meta *m;
	char url[64];

	start(url);
	setenv("MC_METADATA_CLUSTER_ID", "blue", 1);
	ASSERT_EQ(meta_open(url, &m), 0);
	unsetenv("MC_METADATA_CLUSTER_ID");
	EXPECT_EQ(meta_put_rpc(m, "a", &rpc, soon()), 0);
	EXPECT_STREQ(last_target, "/metadata?key=mooncake%2Fblue%2Frpc_meta%2Fa");
	meta_close(m, deadline_after_ms(1000));
	stop();
}

/* A service that accepts and says nothing: opening ends by its deadline, also what it undoes. */
TEST(opening_ends_by_its_deadline)
{
	struct mc_engine_opts o = { .size = sizeof(o), .deadline_ns = deadline_after_ms(300) };
	uint64_t began = clock_now_ns();
	struct mc_engine *eng;
	char url[64];
	uint16_t port;
	int fd;

	EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &fd, &port), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/metadata", port);
	o.metadata = url;
	EXPECT_EQ(mc_engine_open(&o, &eng), -ETIMEDOUT);
	EXPECT_LE(clock_now_ns() - began, 400 * NSEC_PER_MSEC);
	close(fd);
}

TEST(a_password_is_not_shown)
{
	struct rpc_meta rpc;
	struct meta *m;

	ASSERT_EQ(meta_open("http://me:s3cret@127.0.0.1:1/metadata", &m), 0);
	EXPECT_EQ(meta_get_rpc(m, "a", soon(), &rpc), -ECONNREFUSED);
	EXPECT_TRUE(strstr(mc_last_error(), "127.0.0.1:1/metadata") && !strstr(mc_last_error(), "s3cret"));
	meta_close(m, deadline_after_ms(1000));
}

/* Two engines that know each other by name only. */
TEST(engines_find_each_other_over_http)
{
	static char there[10000], here[10000];
	struct mc_engine_opts o = { .size = sizeof(o), .local_name = "prefill-0" };
	struct mc_vec v = { here, (uintptr_t)there, sizeof(there) };
	struct mc_request r = { .op = MC_READ, .vec = &v, .nr_vec = 1 };
	struct mc_engine *a, *b;
	char url[64];

	start(url);
	o.metadata = url;
	memset(there, 'x', sizeof(there));
	ASSERT_EQ(mc_engine_open(&o, &a), 0);
	EXPECT_STREQ(mc_engine_name(a), "prefill-0");
	o.local_name = "localhost:1";
	ASSERT_EQ(mc_engine_open(&o, &b), 0);
	EXPECT_STREQ(mc_engine_name(b), "localhost:1");
	EXPECT_EQ(mc_region_add(a, there, sizeof(there), NULL, NULL), 0);
	EXPECT_TRUE(strstr(kept[find("mooncake/ram/prefill-0")].body, "\"length\":10000"));
	EXPECT_EQ(mc_segment_open(b, "prefill-0", soon(), &r.segment), 0);
	EXPECT_EQ(mc_transfer(b, &r, 1, soon()), 0);
	EXPECT_MEMEQ(here, there, sizeof(here));
	memset(here, 0, sizeof(here));
	r.transport = "tcp";
	EXPECT_EQ(mc_transfer(b, &r, 1, soon()), 0);
	EXPECT_MEMEQ(here, there, sizeof(here));
	EXPECT_EQ(mc_probe(b, "prefill-0", soon()), 0);
	EXPECT_EQ(mc_probe(b, "nobody", soon()), -ENOENT);
	mc_segment_close(r.segment);
	mc_engine_close(b);
	mc_engine_close(a);
	for (int i = 0; i < KEYS; i++)
		EXPECT_STREQ(kept[i].key, "");
	stop();
}
