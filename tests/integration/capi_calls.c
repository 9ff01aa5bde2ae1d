/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that knows transfer_engine_c.h and libtransfer_engine.so alone: every call, between two processes, and every way to use
 * them wrongly.
 */
#include "mctest.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <transfer_engine_c.h>
#include <unistd.h>

#define SIZE (8u << 20)

/* ---- the peer: a process of its own, told what to do by letters ---------------------------------------------------------- */

struct peer {
	pid_t pid;
	FILE *to, *from;
	char name[128];
	uint64_t addr;
};

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

static bool soon(void)
{
	return !usleep(1000);
}

static void peer_says_notes(transfer_engine_t e)
{
	notify_msg_t *list = NULL;
	int nr = 0;

	for (int i = 0; i < 5000 && !list; i++)
		if (!(list = getNotifsFromEngine(e, &nr)))
			soon();
	for (int i = 0; i < nr; i++)
		printf("%s=%s;", list[i].name, list[i].msg);
	printf("\n");
	freeNotifsMsgBuf(list, nr);
}

static void peer_main(void)
{
	transfer_engine_t e = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "127.0.0.1", 0, 1);
	uint8_t *mem = malloc(SIZE);
	char name[128] = "";
	int c;

	for (size_t i = 0; i < SIZE; i++)
		mem[i] = pattern(i);
	if (!e || !installTransport(e, "tcp", NULL) || registerLocalMemory(e, mem, SIZE, "*", 1) ||
	    getLocalIpAndPort(e, name, sizeof(name)))
		_exit(1);
	printf("%s %llu\n", name, (unsigned long long)(uintptr_t)mem);
	fflush(stdout);
	while ((c = getchar()) != EOF && c != 'q') {
		if (c == 'n')
			peer_says_notes(e);
		else if (c == '?')
			printf("%u\n", mem[0]);
		fflush(stdout);
	}
	destroyTransferEngine(e);
	free(mem);
	_exit(0);
}

static bool peer_start(struct peer *p)
{
	unsigned long long addr;
	int in[2], out[2];

	if (pipe(in) || pipe(out))
		return false;
	p->pid = fork();
	if (!p->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 256; fd++)
			close(fd);
		peer_main();
	}
	close(in[0]);
	close(out[1]);
	p->to = fdopen(in[1], "w");
	p->from = fdopen(out[0], "r");
	if (fscanf(p->from, "%127s %llu", p->name, &addr) != 2 || fgetc(p->from) != '\n')
		return false;
	p->addr = addr;
	return true;
}

static const char *peer_ask(struct peer *p, char what)
{
	static char line[4096];

	fputc(what, p->to);
	fflush(p->to);
	if (!fgets(line, sizeof(line), p->from))
		return "";
	line[strcspn(line, "\n")] = 0;
	return line;
}

static void peer_stop(struct peer *p, int sig)
{
	int status = -1;

	if (sig)
		kill(p->pid, sig);
	fclose(p->to);
	fclose(p->from);
	waitpid(p->pid, &status, 0);
	EXPECT_EQ(status, sig);
}

/* ---- this side ----------------------------------------------------------------------------------------------------------- */

static transfer_engine_t engine_here(void)
{
	transfer_engine_t e = createTransferEngine("P2PHANDSHAKE", "127.0.0.1:12345", "127.0.0.1", 12345, 0);

	EXPECT_TRUE(e != NULL);
	EXPECT_TRUE(installTransport(e, "tcp", NULL) != NULL);
	return e;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The status of the last of @nr tasks, when all have ended. */
static int wait_all(transfer_engine_t e, batch_id_t b, size_t nr)
{
	struct transfer_status s = { -1, 0 };
	double until = now_s() + 60;

	for (size_t i = 0; i < nr; i++)
		do {
			if (getTransferStatus(e, b, i, &s))
				return -1;
		} while ((s.status == STATUS_WAITING || s.status == STATUS_PENDING) && now_s() < until);
	return s.status;
}

static int transfer(transfer_engine_t e, int opcode, void *here, segment_id_t seg, uint64_t there, uint64_t len)
{
	struct transfer_request r = { opcode, here, seg, there, len };
	batch_id_t b = allocateBatchID(e, 1);
	int status;

	if (b == INVALID_BATCH || submitTransfer(e, b, &r, 1))
		return -1;
	status = wait_all(e, b, 1);
	EXPECT_EQ(freeBatchID(e, b), 0);
	return status;
}

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

TEST(layouts)
{
	EXPECT_EQ(sizeof(transfer_request_t), 40);
	EXPECT_EQ(offsetof(transfer_request_t, source), 8);
	EXPECT_EQ(offsetof(transfer_request_t, target_id), 16);
	EXPECT_EQ(offsetof(transfer_request_t, target_offset), 24);
	EXPECT_EQ(offsetof(transfer_request_t, length), 32);
	EXPECT_EQ(sizeof(transfer_status_t), 16);
	EXPECT_EQ(offsetof(transfer_status_t, transferred_bytes), 8);
	EXPECT_EQ(sizeof(notify_msg_t), 16);
	EXPECT_EQ(sizeof(buffer_entry_t), 16);
	EXPECT_TRUE(INVALID_BATCH == ~(uint64_t)0 && LOCAL_SEGMENT == 0 && OPCODE_READ == 0 && OPCODE_WRITE == 1);
	EXPECT_TRUE(STATUS_COMPLETED == 4 && STATUS_TIMEOUT == 5 && STATUS_FAILED == 6 && STATUS_CANCELED == 3);
}

TEST(both_ways)
{
	static const uint64_t sizes[] = { 1, 7, 4096, 65537, SIZE };
	uint8_t *here = malloc(SIZE);
	transfer_engine_t e;
	struct peer p;
	segment_id_t seg;

	ASSERT_TRUE(peer_start(&p));
	e = engine_here();
	EXPECT_EQ(registerLocalMemory(e, here, SIZE, "cpu:0", 1), 0);
	seg = openSegment(e, p.name);
	ASSERT_GE(seg, 1);
	EXPECT_EQ(openSegment(e, p.name), seg);
	EXPECT_EQ(openSegmentNoCache(e, p.name), seg);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = sizes[i];
		bool same = true;

		memset(here, 0, n);
		EXPECT_EQ(transfer(e, OPCODE_READ, here, seg, p.addr, n), STATUS_COMPLETED);
		for (uint64_t k = 0; k < n; k++)
			same &= here[k] == pattern(k);
		EXPECT_TRUE(same);
	}
	here[0] = 99;
	EXPECT_EQ(transfer(e, OPCODE_WRITE, here, seg, p.addr, 1), STATUS_COMPLETED);
	EXPECT_EQ(atoi(peer_ask(&p, '?')), 99);
	EXPECT_EQ(syncSegmentCache(e), 0);
	EXPECT_EQ(closeSegment(e, seg), 0);
	EXPECT_EQ(closeSegment(e, seg), 0);
	EXPECT_EQ(closeSegment(e, seg), 0);
	EXPECT_EQ(closeSegment(e, seg), -1);
	destroyTransferEngine(e);
	peer_stop(&p, 0);
	free(here);
}

TEST(batches_and_messages)
{
	enum { NR = 512 };
	struct transfer_request r[NR];
	struct transfer_status s;
	char text[] = "text to be freed", note[] = "done", links[256];
	uint8_t *here = malloc(NR * 4096);
	transfer_engine_t e;
	batch_id_t b;
	struct peer p;
	segment_id_t seg;
	bool same = true;

	ASSERT_TRUE(peer_start(&p));
	e = engine_here();
	seg = openSegment(e, p.name);
	ASSERT_GE(seg, 1);
	b = allocateBatchID(e, NR);
	for (int i = 0; i < NR; i++)
		r[i] = (struct transfer_request){ OPCODE_READ, here + i * 4096, seg, p.addr + (uint64_t)i * 8192, 4096 };
	EXPECT_EQ(submitTransferWithNotify(e, b, r, NR, (notify_msg_t){ note, text }), 0);
	memset(text, 'x', sizeof(text) - 1);
	EXPECT_EQ(submitTransfer(e, b, r, 1), -2); /* no room left */
	EXPECT_EQ(wait_all(e, b, NR), STATUS_COMPLETED);
	for (int i = 0; i < NR * 4096; i++)
		same &= here[i] == pattern((size_t)(i / 4096) * 8192 + i % 4096);
	EXPECT_TRUE(same);
	EXPECT_EQ(getTransferStatus(e, b, 0, &s), 0);
	EXPECT_EQ(s.transferred_bytes, 4096);
	EXPECT_STREQ(peer_ask(&p, 'n'), "done=text to be freed;");
	EXPECT_EQ(genNotifyInEngine(e, (uint64_t)seg, (notify_msg_t){ note, note }), 0);
	EXPECT_STREQ(peer_ask(&p, 'n'), "done=done;");
	EXPECT_EQ(freeBatchID(e, b), 0);
	EXPECT_EQ(showLinks(e, links, sizeof(links), 1), 0);
	EXPECT_TRUE(strstr(links, p.name) && links[0] == '[' && strstr(links, "\"transport\":\""));
	EXPECT_EQ(showLinks(e, links, sizeof(links), 0), 0);
	EXPECT_TRUE(!strncmp(links, p.name, strlen(p.name)));
	EXPECT_EQ(showLinks(e, links, 3, 0), -1);
	EXPECT_EQ(removeLocalSegment(e, p.name), 0);
	EXPECT_EQ(removeLocalSegment(e, p.name), -1);
	destroyTransferEngine(e);
	peer_stop(&p, 0);
	free(here);
}

/* LOCAL_SEGMENT is this engine's own memory. */
TEST(its_own_memory)
{
	uint8_t a[64] = "from here", b[64] = "";
	transfer_engine_t e = engine_here();
	buffer_entry_t both[] = { { a, sizeof(a) }, { b, sizeof(b) } };
	void *addrs[] = { a, b };
	char name[128];
	notify_msg_t *n;
	int nr = -1;

	EXPECT_EQ(registerLocalMemoryBatch(e, both, 2, "*"), 0);
	EXPECT_EQ(registerLocalMemoryBatch(e, both, 0, "*"), 0);
	EXPECT_EQ(getLocalIpAndPort(e, name, sizeof(name)), 0);
	EXPECT_EQ(openSegment(e, name), LOCAL_SEGMENT);
	EXPECT_EQ(closeSegment(e, LOCAL_SEGMENT), 0);
	EXPECT_EQ(transfer(e, OPCODE_WRITE, a, LOCAL_SEGMENT, (uintptr_t)b, sizeof(a)), STATUS_COMPLETED);
	EXPECT_MEMEQ(a, b, sizeof(a));
	EXPECT_TRUE(!getNotifsFromEngine(e, &nr) && nr == 0);
	EXPECT_EQ(genNotifyInEngine(e, LOCAL_SEGMENT, (notify_msg_t){ name, name }), 0);
	n = getNotifsFromEngine(e, &nr);
	ASSERT_TRUE(n && nr == 1);
	EXPECT_STREQ(n->msg, name);
	EXPECT_EQ(freeNotifsMsgBuf(n, nr), 0);
	EXPECT_EQ(unregisterLocalMemoryBatch(e, addrs, 2), 0);
	EXPECT_EQ(transfer(e, OPCODE_WRITE, a, LOCAL_SEGMENT, (uintptr_t)b, sizeof(a)), STATUS_FAILED);
	destroyTransferEngine(e);
}

TEST(names)
{
	static const char *const same[] = { "127.0.0.1", "127.0.0.1:77" };
	char name[64] = "", tail[64];
	transfer_engine_t e;

	for (int i = 0; i < 4; i++) { /* with and without a port, with and without a host of its own */
		e = createTransferEngine("P2PHANDSHAKE", i < 2 ? same[i] : "worker-7", i < 2 ? "" : same[i - 2], 0, 0);
		ASSERT_TRUE(e != NULL);
		EXPECT_EQ(getLocalIpAndPort(e, name, sizeof(name)), 0);
		EXPECT_TRUE(!strncmp(name, "127.0.0.1:1", 11));
		destroyTransferEngine(e);
	}
	e = createTransferEngine("P2PHANDSHAKE", "[::1]:77", NULL, 0, 0);
	if (!e)
		SKIP("no IPv6 here");
	EXPECT_EQ(getLocalIpAndPort(e, name, sizeof(name)), 0);
	EXPECT_EQ(sscanf(name, "[::1]:%63s", tail), 1);
	EXPECT_EQ(openSegment(e, name), LOCAL_SEGMENT);
	destroyTransferEngine(e);
}

/* Every call with @e, which is no engine. */
static void refused_everywhere(transfer_engine_t e)
{
	struct transfer_request r = { OPCODE_READ, &r, LOCAL_SEGMENT, 0, 1 };
	struct transfer_status s;
	buffer_entry_t entry = { &r, 8 };
	void *addr = &r;
	nic_load_stat_t stat;
	notify_msg_t msg = { (char *)"a", (char *)"b" };
	char buf[64];
	size_t count = 1;
	int nr = -1;

	EXPECT_EQ(getLocalIpAndPort(e, buf, sizeof(buf)), -1);
	EXPECT_TRUE(!installTransport(e, "tcp", NULL));
	EXPECT_EQ(uninstallTransport(e, "tcp"), -1);
	EXPECT_EQ(discoverTopology(e), -1);
	EXPECT_EQ(getNicLoadStats(e, &stat, &count), -1);
	EXPECT_EQ(showLinks(e, buf, sizeof(buf), 0), -1);
	EXPECT_EQ(enableGracefulShutdown(e), -1);
	EXPECT_EQ(registerLocalMemory(e, &r, 8, "*", 1), -1);
	EXPECT_EQ(unregisterLocalMemory(e, &r), -1);
	EXPECT_EQ(registerLocalMemoryBatch(e, &entry, 1, "*"), -1);
	EXPECT_EQ(unregisterLocalMemoryBatch(e, &addr, 1), -1);
	EXPECT_EQ(openSegment(e, "127.0.0.1:1"), -1);
	EXPECT_EQ(openSegmentNoCache(e, "127.0.0.1:1"), -1);
	EXPECT_EQ(closeSegment(e, 1), -1);
	EXPECT_EQ(removeLocalSegment(e, "127.0.0.1:1"), -1);
	EXPECT_EQ(syncSegmentCache(e), -1);
	EXPECT_EQ(warmupEfaSegment(e, "127.0.0.1:1"), -1);
	EXPECT_TRUE(allocateBatchID(e, 1) == INVALID_BATCH);
	EXPECT_EQ(submitTransfer(e, 1, &r, 1), -1);
	EXPECT_EQ(submitTransferWithNotify(e, 1, &r, 1, msg), -1);
	EXPECT_EQ(getTransferStatus(e, 1, 0, &s), -1);
	EXPECT_EQ(freeBatchID(e, 1), -1);
	EXPECT_EQ(genNotifyInEngine(e, 0, msg), -1);
	EXPECT_TRUE(!getNotifsFromEngine(e, &nr) && nr == 0);
	destroyTransferEngine(e);
}

TEST(no_engine)
{
	transfer_engine_t e = engine_here(), other = engine_here();

	refused_everywhere(NULL);
	refused_everywhere((transfer_engine_t)&other);
	destroyTransferEngine(e);
	refused_everywhere(e);
	e = engine_here(); /* in the place of the one before */
	destroyTransferEngine(other);
	EXPECT_TRUE(allocateBatchID(e, 1) != INVALID_BATCH);
	destroyTransferEngine(e);
	EXPECT_TRUE(!createTransferEngine(NULL, "127.0.0.1", "", 0, 0));
	EXPECT_TRUE(!createTransferEngine("P2PHANDSHAKE", NULL, "", 0, 0));
	EXPECT_TRUE(!createTransferEngine("zookeeper://127.0.0.1", "127.0.0.1", "", 0, 0));
	EXPECT_TRUE(!createTransferEngine("http://127.0.0.1:1/metadata", "127.0.0.1", NULL, 0, 0));
}

/* "rdma" is there, and what takes its place is said: in one line of stderr, however often it is asked for. */
static void says_once(transfer_engine_t e)
{
	FILE *log = tmpfile();
	int was = dup(2), lines = 0;
	char line[512];

	dup2(fileno(log), 2);
	for (int i = 0; i < 3; i++)
		EXPECT_TRUE(installTransport(e, "rdma", NULL) != NULL);
	dup2(was, 2);
	close(was);
	rewind(log);
	while (fgets(line, sizeof(line), log))
		lines += strstr(line, "no RDMA") != NULL;
	EXPECT_EQ(lines, 1);
	fclose(log);
}

TEST(wrong_arguments)
{
	uint8_t mem[4096];
	transfer_engine_t e = engine_here(), other = engine_here();
	struct transfer_request r = { OPCODE_READ, mem, LOCAL_SEGMENT, (uintptr_t)mem, 8 };
	struct transfer_request bad[] = { { 2, mem, 0, 1, 8 },	   { OPCODE_READ, mem, 77, 1, 8 },
					  { OPCODE_READ, mem, -1, 1, 8 }, { OPCODE_READ, mem, 0, 1, UINT64_MAX },
					  { OPCODE_READ, mem, 0, UINT64_MAX, 8 } };
	notify_msg_t none = { NULL, NULL };
	struct transfer_status s;
	nic_load_stat_t stat[2];
	size_t count = 2;
	char tiny[4];
	batch_id_t b;

	EXPECT_EQ(registerLocalMemory(e, NULL, 8, "*", 1), -1);
	EXPECT_EQ(registerLocalMemory(e, mem, 0, "*", 1), -1);
	EXPECT_EQ(registerLocalMemory(e, mem, sizeof(mem), NULL, 1), 0);
	EXPECT_EQ(registerLocalMemory(e, mem + 100, 8, "*", 1), -7);
	EXPECT_EQ(registerLocalMemoryBatch(e, NULL, 1, "*"), -1);
	EXPECT_EQ(unregisterLocalMemory(e, mem + 1), -3);
	EXPECT_EQ(unregisterLocalMemoryBatch(e, NULL, 1), -1);
	EXPECT_EQ(unregisterLocalMemory(e, mem), 0);
	EXPECT_EQ(unregisterLocalMemory(e, mem), -3);
	EXPECT_EQ(registerLocalMemory(e, mem, 8, "*", 0), 0); /* for nobody else */
	EXPECT_EQ(registerLocalMemory(e, mem + 4, 8, "*", 0), -7);
	EXPECT_EQ(transfer(e, OPCODE_READ, mem + 64, LOCAL_SEGMENT, (uintptr_t)mem, 8), STATUS_FAILED);
	EXPECT_EQ(transfer(e, OPCODE_READ, mem + 64, LOCAL_SEGMENT, (uintptr_t)mem, 0), STATUS_COMPLETED);
	EXPECT_EQ(unregisterLocalMemory(e, mem), 0);
	EXPECT_EQ(unregisterLocalMemory(e, mem), -3);

	EXPECT_TRUE(openSegment(e, "127.0.0.1:1") < 0);
	EXPECT_TRUE(openSegment(e, "no address") < 0);
	EXPECT_TRUE(openSegment(e, "") < 0);
	EXPECT_EQ(openSegment(e, NULL), -1);
	EXPECT_EQ(closeSegment(e, -5), -1);
	EXPECT_EQ(closeSegment(e, 5), -1);

	EXPECT_TRUE(allocateBatchID(e, 0) == INVALID_BATCH);
	EXPECT_TRUE(allocateBatchID(e, SIZE_MAX) == INVALID_BATCH);
	b = allocateBatchID(e, 2);
	ASSERT_TRUE(b != INVALID_BATCH);
	EXPECT_EQ(submitTransfer(e, b, NULL, 1), -1);
	EXPECT_EQ(submitTransfer(e, b, &r, 0), 0);
	EXPECT_EQ(submitTransfer(e, b, bad, 3), -2);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_EQ(submitTransfer(e, b, &bad[i], 1), -1);
	EXPECT_EQ(submitTransferWithNotify(e, b, &r, 1, none), -1);
	EXPECT_EQ(getTransferStatus(e, b, 0, &s), -1); /* none of them started */
	EXPECT_EQ(submitTransfer(other, b, &r, 1), -1);
	EXPECT_EQ(submitTransfer(e, b, &r, 1), 0);
	EXPECT_EQ(getTransferStatus(e, b, 0, NULL), -1);
	EXPECT_EQ(getTransferStatus(e, b, 1, &s), -1);
	EXPECT_EQ(wait_all(e, b, 1), STATUS_FAILED); /* not registered */
	EXPECT_EQ(freeBatchID(other, b), -1);
	EXPECT_EQ(freeBatchID(e, b), 0);
	EXPECT_EQ(freeBatchID(e, b), -1);
	EXPECT_EQ(submitTransfer(e, b, &r, 1), -1);
	EXPECT_EQ(getTransferStatus(e, b, 0, &s), -1);
	EXPECT_EQ(freeBatchID(e, INVALID_BATCH), -1);

	EXPECT_EQ(genNotifyInEngine(e, 0, none), -1);
	EXPECT_EQ(genNotifyInEngine(e, 99, (notify_msg_t){ tiny, tiny }), -1);
	EXPECT_EQ(genNotifyInEngine(e, UINT64_MAX, (notify_msg_t){ tiny, tiny }), -1);
	EXPECT_TRUE(!getNotifsFromEngine(e, NULL));
	EXPECT_EQ(freeNotifsMsgBuf(NULL, 0), 0);
	EXPECT_EQ(freeNotifsMsgBuf(NULL, 3), -1);
	EXPECT_TRUE(!installTransport(e, "pigeon", NULL));
	EXPECT_TRUE(!installTransport(e, NULL, NULL));
	EXPECT_EQ(uninstallTransport(e, "pigeon"), -1);
	EXPECT_EQ(uninstallTransport(e, "tcp"), 0);
	says_once(e);
	EXPECT_EQ(discoverTopology(e), 0);
	EXPECT_EQ(getNicLoadStats(e, NULL, &count), -1);
	EXPECT_EQ(getNicLoadStats(e, stat, NULL), -1);
	EXPECT_EQ(getNicLoadStats(e, stat, &count), 0);
	EXPECT_EQ(count, 0);
	EXPECT_EQ(getLocalIpAndPort(e, tiny, sizeof(tiny)), -1);
	EXPECT_EQ(getLocalIpAndPort(e, NULL, 100), -1);
	EXPECT_EQ(warmupEfaSegment(e, "x"), 0);
	destroyTransferEngine(other);
	destroyTransferEngine(e);
}

/* Killed in the middle: each request ends once, the batch can be freed, nothing hangs. */
TEST(a_peer_that_dies)
{
	struct transfer_request r[8];
	uint8_t *here = malloc(SIZE);
	transfer_engine_t e;
	batch_id_t b;
	struct peer p;
	segment_id_t seg;

	ASSERT_TRUE(peer_start(&p));
	e = engine_here();
	seg = openSegment(e, p.name);
	b = allocateBatchID(e, 8);
	for (int i = 0; i < 8; i++)
		r[i] = (struct transfer_request){ OPCODE_READ, here, seg, p.addr, SIZE };
	peer_stop(&p, SIGKILL);
	EXPECT_EQ(submitTransfer(e, b, r, 8), 0);
	EXPECT_EQ(wait_all(e, b, 8), STATUS_FAILED);
	EXPECT_EQ(freeBatchID(e, b), 0);
	EXPECT_TRUE(syncSegmentCache(e) < 0);
	EXPECT_TRUE(genNotifyInEngine(e, (uint64_t)seg, (notify_msg_t){ p.name, p.name }) < 0);
	destroyTransferEngine(e); /* with the segment open */
	free(here);
}

static int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

TEST(nothing_is_left_behind)
{
	uint8_t mem[64] = { 0 };
	struct transfer_request r = { OPCODE_READ, mem, LOCAL_SEGMENT, (uintptr_t)mem, 8 };
	int before = 0;

	for (int i = 0; i < 12; i++) {
		transfer_engine_t e = engine_here();
		batch_id_t b = allocateBatchID(e, 4);

		EXPECT_EQ(registerLocalMemory(e, mem, sizeof(mem), "*", 1), 0);
		EXPECT_EQ(submitTransferWithNotify(e, b, &r, 1, (notify_msg_t){ (char *)"n", (char *)"m" }), 0);
		if (i % 2)
			EXPECT_EQ(enableGracefulShutdown(e), 0);
		destroyTransferEngine(e); /* with all of it under way */
		if (i == 1)
			before = open_files();
	}
	EXPECT_EQ(open_files(), before);
	enableGracefulShutdown(engine_here()); /* exit() takes this one */
}

struct worker {
	pthread_t thread;
	transfer_engine_t e;
	uint8_t *mem;
	int bad;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	uint8_t to[512];

	for (int i = 0; i < 200; i++) {
		struct transfer_request r = { OPCODE_READ, to, LOCAL_SEGMENT, (uintptr_t)w->mem, sizeof(to) };
		batch_id_t b = allocateBatchID(w->e, 1);

		w->bad += submitTransfer(w->e, b, &r, 1) != 0;
		w->bad += wait_all(w->e, b, 1) != STATUS_COMPLETED;
		w->bad += memcmp(to, w->mem, sizeof(to)) != 0;
		w->bad += freeBatchID(w->e, b) != 0;
	}
	return NULL;
}

TEST(several_threads)
{
	struct worker w[4];
	uint8_t mem[4096];
	transfer_engine_t e = engine_here();

	memset(mem, 'm', sizeof(mem));
	EXPECT_EQ(registerLocalMemory(e, mem, sizeof(mem), "*", 1), 0);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){ .e = e, .mem = mem };
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(w[i].bad, 0);
	}
	destroyTransferEngine(e);
}
