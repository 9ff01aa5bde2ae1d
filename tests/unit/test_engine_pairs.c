// SPDX-License-Identifier: Apache-2.0
/*
 * Queue pairs, joined by two engines over the handshake port: NICs from the topology, devices, keys and the matrix in the
 * descriptor, the exchange to the byte, everything that is refused, and peers that go on otherwise.
 */
#include "mctest.h"

#include <fcntl.h>

#include "base/log.h"
#include "meta/meta.h"
#include "unit/metronome.h"
#include "unit/paper.h"
#include "unit/proxy.h"

#define LEN 100000

static const char topology[] = "{\"cpu:0\":[[\"mlx5_0\"],[\"mlx5_1\"]],\"cuda:0\":[[\"mlx5_1\"],[\"mlx5_0\"]]}";

/* The machine has these NICs; "": none. */
static void machine(const char *text)
{
	char path[] = "/tmp/mc-topology-XXXXXX";
	static char last[sizeof(path)];
	int fd;

	if (!paper_book)
		paper_new_book();
	if (*last)
		unlink(last);
	*last = 0;
	memset(paper_book, 0, sizeof(*paper_book));
	unsetenv("MC_CUSTOM_TOPO_JSON");
	if (!*text)
		return;
	fd = mkstemp(path);
	EXPECT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	setenv("MC_CUSTOM_TOPO_JSON", path, 1);
	strcpy(last, path);
}

static struct peer_proc rdma_peer(void)
{
	return (struct peer_proc){ .len = LEN, .transports = "rdma,tcp" };
}

/* ---- two processes --------------------------------------------------------------------------- */

static void both_ways(struct mc_engine *eng, struct mc_segment *seg, struct peer_proc *p, const char *how)
{
	uint8_t *mine = malloc(LEN);

	pattern(p->mem, LEN, 1);
	EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p->mem, LEN, how, soon()), 0);
	EXPECT_MEMEQ(mine, p->mem, LEN);
	pattern(mine, LEN, 2);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, mine, p->mem, LEN, how, soon()), 0);
	EXPECT_MEMEQ(mine, p->mem, LEN);
	free(mine);
}

TEST(two_processes_join_their_nics)
{
	struct peer_proc p = rdma_peer();
	struct mc_engine *eng;
	struct mc_segment *seg;

	machine(topology);
	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new("rdma,tcp");
	ASSERT_TRUE(eng);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "rdma");
	both_ways(eng, seg, &p, NULL);
	EXPECT_EQ(paper_book->joined, 1u);
	EXPECT_EQ(paper_book->ready, 1u); /* the second question came before the first byte */
	/* Both are also there for who has no such NICs. */
	both_ways(eng, seg, &p, "tcp");
	mc_segment_close(seg);
	mc_engine_close(eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	EXPECT_EQ(paper_book->registered, 0); /* closing takes every key back */
	peer_free(&p);
	machine("");
}

/* Old keys are of no use, so the descriptor is fetched again; so it is after a peer's restart under its name. */
TEST(new_keys_and_new_processes)
{
	struct peer_proc p = rdma_peer(), next;
	struct mc_engine *eng;
	struct mc_segment *seg;

	machine(topology);
	p.transports = "rdma"; /* one port: the next has to get the same */
	ASSERT_EQ(peer_start(&p), 0);
	next = p;
	ASSERT_EQ(peer_fork(&next), 0);
	eng = engine_new("rdma");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	both_ways(eng, seg, &p, NULL);
	EXPECT_EQ(peer_tell(&p, 'u'), 'k');
	EXPECT_EQ(move_one(eng, seg, MC_READ, p.mem, p.mem, 1, NULL, soon()), -EFAULT);
	EXPECT_EQ(peer_tell(&p, 'r'), 'k');
	both_ways(eng, seg, &p, NULL);
	EXPECT_EQ(peer_stop(&p, SIGKILL), 128 + SIGKILL);
	ASSERT_EQ(peer_go(&next, p.name), 0);
	EXPECT_STREQ(next.name, p.name);
	both_ways(eng, seg, &next, NULL);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&next, 0);
	peer_free(&next);
	machine("");
}

/* Whoever will not join is reached by tcp, without a word to the caller. */
TEST(a_refusal_leads_another_way)
{
	struct peer_proc p = rdma_peer();
	struct mc_engine *eng;
	struct mc_segment *seg;

	machine(topology);
	ASSERT_EQ(peer_start(&p), 0);
	paper_book->refuse = true;
	eng = engine_new("rdma,tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "rdma");
	both_ways(eng, seg, &p, NULL);
	EXPECT_STREQ(mc_segment_transport(seg), "tcp");
	EXPECT_EQ(paper_book->joined, 0u);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	machine("");
}

TEST(no_nics_no_rdma)
{
	struct peer_proc p = rdma_peer();
	struct mc_engine_opts o = { .size = sizeof(o), .transports = "rdma,tcp", .devices = "mlx5_7", .protocol = "rdma" };
	struct mc_engine *eng;
	struct mc_segment *seg;

	EXPECT_EQ(mc_engine_protocol("rdma"), 0); /* this table has it */
	machine("{\"cpu:0\":[[],[]]}");
	ASSERT_EQ(peer_start(&p), 0);
	machine(topology); /* NICs, but none that may be used */
	ASSERT_EQ(mc_engine_open(&o, &eng), 0);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "tcp");
	both_ways(eng, seg, &p, NULL);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	o.transports = "rdma";
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	machine("");
}

/* ---- the wire -------------------------------------------------------------------------------- */

struct wire {
	struct mc_engine *eng;
	uint16_t port;
	char in[4096];
	size_t nr;
};

static void wire_open(struct wire *w, const char *transports_of)
{
	*w = (struct wire){ .eng = engine_new(transports_of) };
	w->port = mc_engine_rpc_port(w->eng);
}

/* Sends all of @out and receives until the engine has ended its side. */
static void wire_say(struct wire *w, const void *out, size_t len)
{
	const struct timeval patience = { .tv_sec = 5 };
	int fd = proxy_dial(w->port);
	ssize_t n;

	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	EXPECT_EQ(send(fd, out, len, MSG_NOSIGNAL), (ssize_t)len);
	for (w->nr = 0; (n = recv(fd, w->in + w->nr, sizeof(w->in) - 1 - w->nr, 0)) > 0; w->nr += (size_t)n)
		;
	close(fd);
	w->in[w->nr] = 0;
}

/* One question of that type; the answer's text without its header. */
static const char *wire_ask(struct wire *w, uint8_t type, const char *text)
{
	const struct handshake_frame f = { .type = type, .text = text, .len = strlen(text) };
	struct buf b = BUF_INIT;

	handshake_put(&b, &f);
	wire_say(w, b.data, b.len);
	buf_fini(&b);
	EXPECT_EQ(w->nr > 9 ? get_le64((uint8_t *)w->in) : 0, w->nr - 8);
	EXPECT_EQ(w->in[8], type);
	return w->in + 9;
}

#define GID(last) "00:00:00:00:00:00:00:00:00:00:ff:ff:7f:00:00:" last
#define ASK(path, more)                                                                                                        \
	"{\"local_gid\":\"" GID("09") "\",\"local_lid\":0,\"local_nic_path\":\"10.0.0.9:15001@mlx5_3\",\"payload\":\"\","      \
				      "\"peer_nic_path\":\"" path "\"," more "\"reply_msg\":\"\"}\n"
#define NO(why)                                                                                                                \
	"{\"local_gid\":\"\",\"local_lid\":0,\"local_nic_path\":\"\",\"payload\":\"\",\"peer_nic_path\":\"\",\"qp_num\":[],"   \
	"\"reply_msg\":\"" why "\"}\n"

TEST(the_descriptor_names_devices_keys_and_places)
{
	static uint8_t mem[4096];
	char want[1024];
	struct wire w;
	const char *got, *at;

	machine(topology);
	wire_open(&w, "rdma,tcp");
	ASSERT_EQ(mc_region_add(w.eng, mem, sizeof(mem), "cpu:0", NULL), 0);
	got = wire_ask(&w, HANDSHAKE_METADATA, "{}");
	snprintf(want, sizeof(want),
		 "{\"buffers\":[{\"addr\":%llu,\"length\":4096,\"lkey\":[1,3],\"name\":\"cpu:0\",\"rkey\":[0,2]}],\"devices\":["
		 "{\"gid\":\"" GID("01") "\",\"lid\":0,\"name\":\"mlx5_0\"},{\"gid\":\"" GID("02") "\",\"lid\":0,\"name\":\"mlx5_1\"}],"
		 "\"mc\":{", (unsigned long long)(uintptr_t)mem);
	EXPECT_MEMEQ(got, want, strlen(want));
	at = strchr(strstr(got, "\"mc\""), '}');
	snprintf(want, sizeof(want),
		 "},\"name\":\"127.0.0.1:%u\",\"priority_matrix\":{\"cpu:0\":[[\"mlx5_0\"],[\"mlx5_1\"]],"
		 "\"cuda:0\":[[\"mlx5_1\"],[\"mlx5_0\"]]},\"protocol\":\"rdma\",\"tcp_data_port\":", w.port);
	EXPECT_MEMEQ(at, want, strlen(want));
	EXPECT_EQ(mc_region_del_addr(w.eng, mem), 0);
	EXPECT_TRUE(strstr(wire_ask(&w, HANDSHAKE_METADATA, "{}"), "{\"buffers\":[],\"devices\":["));
	EXPECT_EQ(paper_book->registered, 0);
	mc_engine_close(w.eng);
	machine("");
}

/* Ports have five digits, so all lengths are known. */
TEST(the_exchange_to_the_byte)
{
	char ask[512], want[512];
	struct wire w;
	size_t n;

	machine(topology);
	wire_open(&w, "rdma,tcp");
	n = (size_t)snprintf(ask, sizeof(ask),
			     "\xe0%c%c%c%c%c%c%c%c" ASK("127.0.0.1:%u@mlx5_1", "\"qp_num\":[17,18],\"ready_ack\":false,"), 0, 0, 0, 0, 0, 0, 0, 0, w.port);
	EXPECT_EQ(n, 9 + 0xdfu);
	wire_say(&w, ask, n);
	n = (size_t)snprintf(want, sizeof(want),
			     "\xe2%c%c%c%c%c%c%c%c{\"local_gid\":\"" GID("02") "\",\"local_lid\":0,\"local_nic_path\":\"127.0.0.1:%u@mlx5_1\","
			     "\"payload\":\"\",\"peer_nic_path\":\"10.0.0.9:15001@mlx5_3\",\"qp_num\":[256,257],\"ready_ack\":false,"
			     "\"reply_msg\":\"\"}\n", 0, 0, 0, 0, 0, 0, 0, 0, w.port);
	EXPECT_EQ(w.nr, n);
	EXPECT_MEMEQ(w.in, want, n);
	/* Both began at once: the same pairs are the same connection. */
	wire_say(&w, ask, 9 + 0xdf);
	EXPECT_MEMEQ(w.in, want, n);
	EXPECT_EQ(paper_book->again, 1u);
	/* Ready. */
	snprintf(ask, sizeof(ask), ASK("127.0.0.1:%u@mlx5_1", "\"qp_num\":[17,18],\"ready_ack\":true,"), w.port);
	EXPECT_STREQ(wire_ask(&w, HANDSHAKE_CONNECTION, ask), NO(""));
	EXPECT_EQ(paper_book->ready, 1u);
	/* Started again: other pairs. */
	snprintf(ask, sizeof(ask), ASK("127.0.0.1:%u@mlx5_1", "\"qp_num\":[19,20],"), w.port);
	EXPECT_TRUE(strstr(wire_ask(&w, HANDSHAKE_CONNECTION, ask), "\"qp_num\":[258,259],\"reply_msg\":\"\""));
	EXPECT_EQ(paper_book->retired, 1u);
	mc_engine_close(w.eng);
	machine("");
}

/* Peers of old do not say the type, and are answered in the same way. */
TEST(the_old_framing)
{
	char ask[512];
	struct wire w;
	size_t n;

	machine(topology);
	wire_open(&w, "rdma,tcp");
	n = (size_t)snprintf(ask, sizeof(ask), "%c%c%c%c%c%c%c%c" ASK("127.0.0.1:%u@mlx5_0", "\"qp_num\":[17,18],"), 0xcd, 0, 0, 0,
			     0, 0, 0, 0, w.port);
	EXPECT_EQ(n, 8 + 0xcdu);
	wire_say(&w, ask, n);
	EXPECT_EQ(get_le64((uint8_t *)w.in), w.nr - 8);
	EXPECT_MEMEQ(w.in + 8, "{\"local_gid\":\"" GID("01") "\"", 20);
	EXPECT_TRUE(strstr(w.in + 8, "\"qp_num\":[256,257],\"reply_msg\":\"\"}\n"));
	mc_engine_close(w.eng);
	machine("");
}

/* A # is the port. */
static void fill_in(char *out, const char *text, uint16_t port)
{
	for (; *text; text++) {
		if (*text == '#')
			out += sprintf(out, "%u", port);
		else
			*out++ = *text;
	}
	*out = 0;
}

static void expect_no(struct wire *w, const char *ask, const char *why)
{
	char question[8192], want[1024];

	fill_in(question, ask, w->port);
	fill_in(want, why, w->port);
	EXPECT_STREQ(wire_ask(w, HANDSHAKE_CONNECTION, question), want);
}

TEST(what_is_refused_says_why)
{
	char longest[4096] = ASK("127.0.0.1:#@mlx5_0", "\"qp_num\":[");
	struct wire w;

	machine(topology);
	mc_log_set(NULL, NULL, MC_LOG_ERR);
	wire_open(&w, "rdma,tcp");
	expect_no(&w, ASK("127.0.0.1:#@mlx5_9", "\"qp_num\":[1,2],"), NO("there is no device mlx5_9 here, but mlx5_0, mlx5_1"));
	expect_no(&w, ASK("10.9.9.9:#@mlx5_0", "\"qp_num\":[1,2],"),
		  NO("peer_nic_path \\\"10.9.9.9:#@mlx5_0\\\" is not of this server, which is 127.0.0.1:#"));
	expect_no(&w, ASK("mlx5_0", "\"qp_num\":[1,2],"), NO("peer_nic_path \\\"mlx5_0\\\" is no server@device"));
	expect_no(&w, ASK("", "\"qp_num\":[1,2],"), NO("peer_nic_path \\\"\\\" is no server@device"));
	expect_no(&w, ASK("127.0.0.1:#@", "\"qp_num\":[1,2],"), NO("peer_nic_path \\\"127.0.0.1:#@\\\" is no server@device"));
	expect_no(&w, "{\"peer_nic_path\":\"127.0.0.1:#@mlx5_0\",\"qp_num\":[1,2]}",
		  NO("local_nic_path \\\"\\\" is no server@device"));
	expect_no(&w, ASK("127.0.0.1:#@mlx5_0", "\"qp_num\":[],"), NO("qp_num is empty: at least one queue pair is expected"));
	expect_no(&w, ASK("127.0.0.1:#@mlx5_0", ""), NO("qp_num is empty: at least one queue pair is expected"));
	expect_no(&w, ASK("127.0.0.1:#@mlx5_0", "\"qp_num\":[1,2,3],"), NO("two queue pairs are expected"));
	expect_no(&w, ASK("127.0.0.1:#@mlx5_0", "\"qp_num\":[1,2],\"ready_ack\":true,"),
		  NO("queue pairs cannot be joined: Protocol error"));
	expect_no(&w, ASK("127.0.0.1:#@mlx5_0", "\"qp_num\":[\"1\"],"), NO("the exchange is malformed"));
	expect_no(&w, "null", NO("the exchange is malformed"));
	longest[strlen(longest) - strlen("\"reply_msg\":\"\"}\n")] = 0;
	for (int i = 0; i < QPS_MAX + 1; i++)
		strcat(longest, i ? ",7" : "7");
	strcat(longest, "]}");
	expect_no(&w, longest, NO("qp_num is too long: at most 255 queue pairs are possible"));
	EXPECT_EQ(paper_book->joined, 0u);
	mc_engine_close(w.eng);
	machine("");
	wire_open(&w, "tcp");
	expect_no(&w, ASK("127.0.0.1:#@mlx5_0", "\"qp_num\":[1,2],"),
		  NO("127.0.0.1:# has no RDMA here: its descriptor says \\\"tcp\\\", which is how to reach it"));
	mc_engine_close(w.eng);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}
