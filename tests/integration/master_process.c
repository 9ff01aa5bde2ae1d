// SPDX-License-Identifier: Apache-2.0
/* The master as a program: flags, ports, stopping, HTTP, and peers that do not keep to the protocol. */
#include <dirent.h>
#include <json-c/json.h>
#include <poll.h>
#include <sys/socket.h>

#include "mctest.h"

#include "integration/master_owners.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

static int http(const struct rig *r, const char *method, const char *path, struct buf *out)
{
	char url[512];

	buf_reset(out);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", r->http_port, path);
	return http_request(method, url, NULL, NULL, 0, 16 * MiB, SOON, out);
}

static bool has(const struct buf *b, const char *text)
{
	return memmem(b->data, b->len, text, strlen(text));
}

#ifdef __SANITIZE_THREAD__
#define SLOW 4
#else
#define SLOW 1
#endif

/* ---- flags and ports ---- */

TEST(bad_flags_are_refused_with_words)
{
	const char *unknown[] = { "mooncake-master", "--rpc_prt=1", NULL };
	const char *value[] = { "mooncake-master", "--rpc_port", "many", NULL };
	const char *word[] = { "mooncake-master", "start", NULL };
	struct rig r;

	EXPECT_EQ(rig_start(&r, unknown), 2);
	EXPECT_TRUE(strstr(r.said, "did you mean rpc_port"));
	EXPECT_EQ(rig_start(&r, value), 2);
	EXPECT_TRUE(strstr(r.said, "rpc_port"));
	EXPECT_EQ(rig_start(&r, word), 2);
	EXPECT_TRUE(strstr(r.said, "start is not a flag"));
}

TEST(upstreams_flags_are_taken)
{
	struct rig r;

	if (rig_master(&r, "-eviction_high_watermark_ratio=0.95", "--enable_http_metadata_server", "--http_metadata_server_port=0"))
		return;
	EXPECT_TRUE(strstr(r.said, "eviction_high_watermark_ratio is accepted but has no effect: a pool makes room when it is needed"));
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(settings_come_from_a_file)
{
	char path[] = "/tmp/mc-master-XXXXXX", flag[64];
	int fd = mkstemp(path);
	struct client c;
	struct rig r;

	EXPECT_TRUE(dprintf(fd, "default_kv_lease_ttl = 7s\nclient_live_ttl_sec = 3\n") > 0);
	close(fd);
	snprintf(flag, sizeof(flag), "--config_path=%s", path);
	if (!rig_master(&r, flag, NULL, NULL)) {
		EXPECT_EQ(client_open(&c, &r, false), 0);
		EXPECT_EQ(c.hello.lease_ns, 7 * NSEC_PER_SEC);
		client_close(&c);
		EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
		EXPECT_TRUE(strstr(r.said, "client_ttl 3 s"));
	}
	unlink(path);
}

TEST(a_taken_port_is_an_error)
{
	char port[32];
	const char *again[] = { "mooncake-master", port, "--metrics_port=0", NULL };
	const char *metrics[] = { "mooncake-master", "--port=0", port, NULL };
	struct rig r, second;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	snprintf(port, sizeof(port), "--rpc_port=%u", r.port);
	EXPECT_EQ(rig_start(&second, again), 1);
	EXPECT_TRUE(strstr(second.said, "--rpc_port"));
	snprintf(port, sizeof(port), "--metrics_port=%u", r.http_port);
	EXPECT_EQ(rig_start(&second, metrics), 1);
	EXPECT_TRUE(strstr(second.said, "--metrics_port"));
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

/* ---- stopping ---- */

TEST(stops_within_a_second_with_everything_open)
{
	struct client c[8];
	struct owner_rig a;
	uint64_t start;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(client_open(&c[i], &r, i % 2), 0);
	start = clock_now_ns();
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	EXPECT_LE(clock_now_ns() - start, 1100 * NSEC_PER_MSEC);
	for (unsigned i = 0; i < 8; i++)
		client_close(&c[i]);
	owner_rig_close(&a);
}

TEST(stops_while_an_owner_is_silent)
{
	struct owner_rig a;
	char text[1][16];
	struct key k[1];
	struct client c;
	struct mux_req req = { .type = MSG_REMOVE };
	struct msg_keys m = { .nr = 1, .keys = k };
	struct buf b = BUF_INIT;
	uint64_t start;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 1);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_publish(&a, k, 1, 1, 0, 10, NULL), 0);
	atomic_store(&a.manner, OWNER_SILENT);
	msg_keys_encode(&m, &b);
	req.body = b.data;
	req.body_len = b.len;
	EXPECT_EQ(mux_submit(c.mux, &req, false), 0);
	while (!loop_call(a.loop, owner_nr_held, &a)) /* the master waits for the owner now */
		;
	start = clock_now_ns();
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	EXPECT_LE(clock_now_ns() - start, SLOW * 1500 * NSEC_PER_MSEC);
	EXPECT_NE(mux_wait(c.mux, &req, SOON), -ETIMEDOUT);
	buf_fini(&req.reply);
	buf_fini(&b);
	client_close(&c);
	owner_rig_close(&a);
}

/* ---- peers that misbehave ---- */

static unsigned open_fds(pid_t pid)
{
	char path[64];
	unsigned nr = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr;
}

/* Sends a frame with @body; what comes back: the status, or 1 when the stream ended without an answer. */
static int exchange(int fd, uint8_t flags, uint16_t type, const void *body, uint32_t len)
{
	struct net_frame f = { .flags = flags, .type = type, .id = 1, .body_len = len };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t head[NET_FRAME_BYTES];
	size_t got = 0;

	net_frame_encode(&f, head);
	if (send(fd, head, sizeof(head), MSG_NOSIGNAL) < 0 || (len && send(fd, body, len, MSG_NOSIGNAL) < 0))
		return 1;
	while (got < sizeof(head)) {
		ssize_t n = poll(&p, 1, 10000) > 0 ? recv(fd, head + got, sizeof(head) - got, 0) : -1;

		if (n <= 0)
			return 1;
		got += (size_t)n;
	}
	return net_frame_decode(head, &f) ? 2 : f.status;
}

static bool ends(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char rest[4096];
	ssize_t n = 1;

	while (n > 0 && poll(&p, 1, 10000) > 0)
		n = recv(fd, rest, sizeof(rest), 0);
	return n <= 0;
}

static int greet(int fd, uint16_t min, uint16_t max)
{
	struct msg_hello h = rig_hello(ROLE_CLIENT);
	struct buf b = BUF_INIT;
	int ret;

	h.version_min = min;
	h.version_max = max;
	msg_hello_encode(&h, &b);
	ret = exchange(fd, 0, MSG_HELLO, b.data, (uint32_t)b.len);
	buf_fini(&b);
	return ret;
}

static void expect_refusal(const struct rig *r, bool hello, uint8_t flags, uint16_t type, const void *body, uint32_t len, int want)
{
	char rest[64 * KiB];
	struct pollfd p;
	int fd = rig_connect(r, false);

	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (hello) {
		EXPECT_EQ(greet(fd, PROTO_VERSION, PROTO_VERSION), 0);
		if (poll(&p, 1, 100) > 0) /* the body of HELLO's answer */
			EXPECT_TRUE(recv(fd, rest, sizeof(rest), 0) > 0);
	}
	EXPECT_EQ(exchange(fd, flags, type, body, len), want);
	EXPECT_TRUE(ends(fd));
	close(fd);
}

/* The highest version that both speak, which is not always the newest. */
TEST(older_peers_are_answered_in_their_version)
{
	struct scratch s = SCRATCH_INIT;
	struct msg_hello_reply hi;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	for (uint16_t max = PROTO_VERSION_MIN; max <= PROTO_VERSION + 1; max++) {
		int fd = rig_connect(&r, false);
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char body[512];

		EXPECT_EQ(greet(fd, PROTO_VERSION_MIN, max), 0);
		EXPECT_TRUE(poll(&p, 1, 10000) == 1);
		EXPECT_EQ(msg_hello_reply_decode(body, (size_t)recv(fd, body, sizeof(body), 0), &s, &hi), 0);
		EXPECT_EQ(hi.version, max < PROTO_VERSION ? max : PROTO_VERSION);
		close(fd);
	}
	scratch_fini(&s);
	rig_stop(&r, SIGTERM);
}

TEST(strangers_get_a_code_and_the_door)
{
	static const uint8_t junk[64] = { 1, 0, 255, 255, 255, 255 };
	struct client c;
	unsigned fds;
	struct rig r;
	uint64_t end;
	int fd;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	EXPECT_EQ(client_open(&c, &r, false), 0);
	fds = open_fds(r.pid);
	for (int i = 0; i < 3; i++) {
		expect_refusal(&r, false, 0, MSG_POOLS, NULL, 0, -EPROTO); /* no HELLO */
		expect_refusal(&r, false, 0, MSG_HELLO, junk, 9, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_HELLO, junk, 9, -EPROTO); /* twice */
		expect_refusal(&r, true, 0, MSG_ATTACH, NULL, 0, -EPROTO); /* another conversation */
		expect_refusal(&r, true, 0, 60000, NULL, 0, -EPROTO);
		expect_refusal(&r, true, 0, MSG_EXISTS, junk, 64, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_LOCATE, junk, 64, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_REMOVE, junk, 64, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_REMOVE_MATCH, junk, 3, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_LIST, junk, 3, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_POOL_JOIN, junk, 64, -EBADMSG);
		expect_refusal(&r, true, 0, MSG_PUBLISH, NULL, 0, -EPROTO); /* no pool */
		expect_refusal(&r, true, NET_ONEWAY, MSG_EXISTS, junk, 64, 1);
		expect_refusal(&r, true, NET_ONEWAY, MSG_WITHDRAW, junk, 64, 1);
		fd = rig_connect(&r, false); /* not even a frame */
		EXPECT_TRUE(send(fd, "GET / HTTP/1.1\r\nHost: master.example\r\n\r\n", 41, MSG_NOSIGNAL) > 0);
		EXPECT_TRUE(ends(fd));
		close(fd);
		fd = rig_connect(&r, false);
		EXPECT_EQ(greet(fd, PROTO_VERSION + 1, PROTO_VERSION + 2), -EPROTO);
		EXPECT_TRUE(ends(fd));
		close(fd);
	}
	end = SOON;
	while (open_fds(r.pid) != fds && !deadline_passed(end))
		poll(NULL, 0, 5);
	EXPECT_EQ(open_fds(r.pid), fds);
	buf_reset(&c.body);
	EXPECT_EQ(client_call(&c, MSG_POOLS), 0); /* others never noticed */
	client_close(&c);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

/* ---- HTTP ---- */

TEST(ready_when_pools_have_told_all)
{
	struct buf b = BUF_INIT;
	struct owner_rig a;
	struct rig r;
	uint64_t end;
	int code;

	if (rig_master(&r, SLOW > 1 ? "--settle_time=1200ms" : "--settle_time=300ms", NULL, NULL))
		return;
	EXPECT_EQ(http(&r, "GET", "/health", &b), 200);
	EXPECT_TRUE(has(&b, "\"status\":\"ok\""));
	EXPECT_EQ(http(&r, "GET", "/ready", &b), 503);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	poll(NULL, 0, 500 * SLOW); /* settled, but the pool is not: nothing announces that */
	EXPECT_EQ(http(&r, "GET", "/ready", &b), 503);
	buf_reset(&a.body);
	EXPECT_EQ(owner_tell(&a, MSG_POOL_SYNCED), 0);
	end = SOON;
	do
		code = http(&r, "GET", "/ready", &b);
	while (code != 200 && !deadline_passed(end));
	EXPECT_EQ(code, 200);
	owner_rig_close(&a);
	EXPECT_EQ(http(&r, "GET", "/ready", &b), 200); /* once is enough */
	buf_fini(&b);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(what_people_and_dashboards_ask)
{
	struct buf b = BUF_INIT;
	struct json_object *o, *v;
	struct owner_rig a;
	char text[20][16];
	struct key k[20];
	struct client c;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 20);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_publish(&a, k, 20, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_count(&c, k, 20), 20);

	EXPECT_EQ(http(&r, "GET", "/query_key?key=k3", &b), 200);
	EXPECT_TRUE(has(&b, "{\"success\":true,\"data\":[{\"size_\":4096,\"buffer_address_\":4736,\"protocol_\":\"tcp\","
			    "\"transport_endpoint_\":\"seg\"}]}"));
	EXPECT_EQ(http(&r, "GET", "/query_key?key=none", &b), 404);
	EXPECT_TRUE(has(&b, "{\"success\":false,\"error_code\":-704,\"error_message\":\"OBJECT_NOT_FOUND\"}"));
	EXPECT_EQ(http(&r, "GET", "/query_key", &b), 404);
	EXPECT_EQ(http(&r, "GET", "/batch_query_keys?keys=k2,none", &b), 200);
	EXPECT_TRUE(has(&b, "\"none\":{\"ok\":false"));
	EXPECT_TRUE(has(&b, "\"k2\":{\"ok\":true,\"error\":null,\"values\":[{"));
	EXPECT_EQ(http(&r, "GET", "/batch_query_keys", &b), 400);
	EXPECT_EQ(http(&r, "GET", "/get_all_keys", &b), 200);
	EXPECT_EQ(b.len, 10 * 3 + 10 * 4);
	EXPECT_EQ(http(&r, "GET", "/get_all_segments", &b), 200);
	EXPECT_TRUE(b.len == 4 && has(&b, "seg\n"));
	EXPECT_EQ(http(&r, "GET", "/query_segment?segment=seg", &b), 200);
	EXPECT_TRUE(has(&b, "seg\nUsed(bytes): 0\nCapacity(bytes) : 1073741824\n"));
	EXPECT_EQ(http(&r, "GET", "/query_segment?segment=x", &b), 500);
	EXPECT_EQ(http(&r, "GET", "/get_segments_detail", &b), 200);
	EXPECT_TRUE(has(&b, "\"total_segments\":1") && has(&b, "\"size_human\":\"1 GiB\"") && has(&b, "\"base_address\":\"0x1000\""));
	EXPECT_TRUE(has(&b, "\"segment_id\":\"72340172838076673-72340172838076673\""));
	EXPECT_EQ(http(&r, "GET", "/api/v1/segments/status?segment=seg", &b), 200);
	EXPECT_TRUE(has(&b, "\"status_name\":\"OK\""));
	EXPECT_EQ(http(&r, "GET", "/api/v1/segments/status", &b), 400);
	EXPECT_EQ(http(&r, "GET", "/role", &b), 200);
	EXPECT_TRUE(b.len == 6 && has(&b, "leader"));
	EXPECT_EQ(http(&r, "GET", "/metrics", &b), 200);
	EXPECT_TRUE(has(&b, "\nmaster_key_count 20\n") && has(&b, "\nmaster_batch_exist_key_items_total 20\n"));
	EXPECT_TRUE(has(&b, "\nsegment_total_capacity_bytes{segment=\"seg\",pool=\"1\"} 1073741824\n"));
	EXPECT_TRUE(has(&b, "# TYPE master_key_count gauge\n"));
	EXPECT_EQ(http(&r, "GET", "/metrics/summary", &b), 200);
	EXPECT_TRUE(has(&b, "Mem Storage: 0 B / 1.00 GB (0.0%) | Keys: 20 (soft-pinned: 0) | Clients: 1"));
	EXPECT_EQ(http(&r, "GET", "/nothing", &b), 404);
	EXPECT_EQ(http(&r, "POST", "/metrics", &b), 405);
	EXPECT_EQ(http(&r, "GET", "/api/v1/tenant_quotas", &b), 409);

	EXPECT_EQ(http(&r, "GET", "/", &b), 200);
	EXPECT_TRUE(has(&b, "<title>Mooncake master</title>") && has(&b, "</script>"));
	EXPECT_EQ(http(&r, "GET", "/config", &b), 200);
	EXPECT_TRUE(has(&b, "\"rpc_thread_num\""));
	EXPECT_EQ(http(&r, "GET", "/status", &b), 200);
	buf_put_u8(&b, 0);
	o = json_tokener_parse((char *)b.data);
	ASSERT_TRUE(o && json_object_object_get_ex(o, "objects", &v));
	EXPECT_EQ(json_object_get_int(v), 20);
	EXPECT_TRUE(json_object_object_get_ex(o, "pools", &v) && json_object_array_length(v) == 1);
	json_object_put(o);

	EXPECT_EQ(http(&r, "POST", "/api/v1/remove_all", &b), 200); /* one is leased: /query_key touched it */
	EXPECT_TRUE(has(&b, "{\"success\":true,\"removed_count\":19}"));
	atomic_store(&a.have, 1);
	EXPECT_EQ(http(&r, "POST", "/api/v1/remove_all?force=true", &b), 200);
	EXPECT_TRUE(has(&b, "{\"success\":true,\"removed_count\":1}"));
	EXPECT_EQ(client_count(&c, k, 20), 0);
	buf_fini(&b);
	client_close(&c);
	owner_rig_close(&a);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}
