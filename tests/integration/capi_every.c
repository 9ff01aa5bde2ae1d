/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function of upstream's C interface, once, between two engines, in C and in C++: with our header, or, with OWN_HEADER, with
 * one written from upstream's tables. capi_every_test.sh builds it against what is installed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef OWN_HEADER
#include "capi_table.h"
#else
#include <transfer_engine_c.h>
#endif
#include <unistd.h>

#define SIZE (3u << 20)

static int nr, bad;

static void is(int good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++nr, what);
	bad |= !good;
}

/* A request of a batch has ended within a while. */
static int ended(transfer_engine_t e, batch_id_t b, size_t task, uint64_t bytes)
{
	transfer_status_t s;
	int i;

	for (i = 0; i < 20000; i++) {
		if (getTransferStatus(e, b, task, &s))
			return 0;
		if (s.status == STATUS_COMPLETED)
			return s.transferred_bytes == bytes;
		if (s.status != STATUS_WAITING && s.status != STATUS_PENDING)
			return 0;
		usleep(500);
	}
	return 0;
}

static void layouts(void)
{
	is(sizeof(transfer_request_t) == 40 && offsetof(transfer_request_t, opcode) == 0 && offsetof(transfer_request_t, source) == 8 &&
		   offsetof(transfer_request_t, target_id) == 16 && offsetof(transfer_request_t, target_offset) == 24 &&
		   offsetof(transfer_request_t, length) == 32, "requests");
	is(sizeof(transfer_status_t) == 16 && offsetof(transfer_status_t, status) == 0 &&
		   offsetof(transfer_status_t, transferred_bytes) == 8, "statuses");
	is(sizeof(notify_msg_t) == 16 && offsetof(notify_msg_t, name) == 0 && offsetof(notify_msg_t, msg) == 8, "messages");
	is(sizeof(buffer_entry_t) == 16 && offsetof(buffer_entry_t, addr) == 0 && offsetof(buffer_entry_t, length) == 8, "ranges");
	is(sizeof(nic_load_stat_t) == 80 && offsetof(nic_load_stat_t, device_name) == 0 &&
		   offsetof(nic_load_stat_t, inflight_bytes) == 64 && offsetof(nic_load_stat_t, ewma_bandwidth_bps) == 72, "loads");
	is(sizeof(segment_id_t) == 4 && sizeof(batch_id_t) == 8 && sizeof(transfer_engine_t) == 8 && sizeof(transport_t) == 8, "handles");
	is(OPCODE_READ == 0 && OPCODE_WRITE == 1 && LOCAL_SEGMENT == 0 && INVALID_BATCH == UINT64_MAX, "names of numbers");
	is(STATUS_WAITING == 0 && STATUS_PENDING == 1 && STATUS_INVALID == 2 && STATUS_CANCELED == 3 && STATUS_COMPLETED == 4 &&
		   STATUS_TIMEOUT == 5 && STATUS_FAILED == 6, "names of statuses");
}

static void transfers(transfer_engine_t e, const char *name, char *mine, char *theirs)
{
	transfer_request_t r[2];
	notify_msg_t note;
	char kind[] = "kind", text[] = "text";
	segment_id_t seg = openSegment(e, name);
	batch_id_t b = allocateBatchID(e, 3);

	is(seg > 0 && openSegmentNoCache(e, name) == seg && warmupEfaSegment(e, name) == 0, "a segment");
	memset(r, 0, sizeof(r));
	r[0].opcode = OPCODE_WRITE;
	r[0].source = mine;
	r[0].target_id = seg;
	r[0].target_offset = (uint64_t)(uintptr_t)theirs;
	r[0].length = SIZE / 2;
	r[1] = r[0];
	r[1].opcode = OPCODE_READ;
	r[1].source = mine + SIZE / 2;
	r[1].target_offset += SIZE / 2;
	is(b != INVALID_BATCH && submitTransfer(e, b, r, 2) == 0 && ended(e, b, 0, SIZE / 2) && ended(e, b, 1, SIZE / 2), "a batch");
	is(!memcmp(mine, theirs, SIZE), "the bytes");
	note.name = kind;
	note.msg = text;
	r[0].length = 8;
	is(submitTransferWithNotify(e, b, r, 1, note) == 0 && ended(e, b, 2, 8) && freeBatchID(e, b) == 0, "and a message behind it");
	is(genNotifyInEngine(e, (uint64_t)seg, note) == 0, "a message alone");
	is(syncSegmentCache(e) == 0 && closeSegment(e, seg) == 0 && closeSegment(e, seg) == 0, "closed");
	is(openSegment(e, name) > 0 && removeLocalSegment(e, name) == 0, "forgotten");
}

static void messages(transfer_engine_t e)
{
	notify_msg_t *list;
	int got = 0, nr_got = 0, good = 1, i, k;

	for (i = 0; i < 5000 && got < 2; i++, usleep(1000)) {
		list = getNotifsFromEngine(e, &nr_got);
		for (k = 0; k < nr_got; k++)
			good &= !strcmp(list[k].name, "kind") && !strcmp(list[k].msg, "text");
		got += nr_got;
		good &= freeNotifsMsgBuf(list, nr_got) == 0;
	}
	is(good && got == 2, "messages");
}

int main(void)
{
	transfer_engine_t a = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "127.0.0.1", 0, 1);
	transfer_engine_t b = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 0);
	char *mine = (char *)malloc(SIZE), *theirs = (char *)malloc(SIZE), name[128] = "", text[4096] = "";
	buffer_entry_t halves[2];
	void *starts[2];
	nic_load_stat_t loads[4];
	size_t nr_loads = 4, i;

	layouts();
	for (i = 0; i < SIZE; i++) {
		mine[i] = (char)(i * 7 + (i >> 9));
		theirs[i] = (char)(i * 5 + (i >> 10));
	}
	is(a && b && installTransport(a, "tcp", NULL) && installTransport(b, "tcp", NULL), "two engines");
	is(discoverTopology(a) == 0 && enableGracefulShutdown(b) == 0, "at home");
	is(getLocalIpAndPort(b, name, sizeof(name)) == 0 && !strncmp(name, "127.0.0.1:", 10), "a name");
	halves[0].addr = theirs;
	halves[1].addr = theirs + SIZE / 2;
	halves[0].length = halves[1].length = SIZE / 2;
	starts[0] = halves[0].addr;
	starts[1] = halves[1].addr;
	is(registerLocalMemory(a, mine, SIZE, "*", 1) == 0 && registerLocalMemoryBatch(b, halves, 2, "cpu:0") == 0, "memory");
	transfers(a, name, mine, theirs);
	messages(b);
	is(getNicLoadStats(a, loads, &nr_loads) == 0 && nr_loads <= 4, "loads of NICs");
	is(showLinks(a, text, sizeof(text), 0) == 0 && showLinks(a, text, sizeof(text), 1) == 0 && strchr("[{", text[0]), "links");
	is(unregisterLocalMemory(a, mine) == 0 && unregisterLocalMemoryBatch(b, starts, 2) == 0, "memory given back");
	is(uninstallTransport(a, "tcp") == 0, "a transport given back");
	destroyTransferEngine(a);
	printf("1..%d\n", nr);
	free(mine);
	free(theirs);
	return bad; /* the other one goes with exit() */
}
