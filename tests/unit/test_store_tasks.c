// SPDX-License-Identifier: Apache-2.0
/* Copying and moving objects between pools of several processes: that it is done, what it refuses, every party dying meanwhile. */
#include "mctest.h"
#include "unit/store_rig.h"

#include <mooncake/replicas.h>

#define NAME MC_SEGMENT_NAME_BYTES
#define BIG (8 * MIB)

static int replicas(struct mc_store *s, const char *key, char name[16][NAME])
{
	struct mc_replicas r = { .key = key_of(key) };
	int nr;

	mc_store_replicas(s, &r, 1, SOON);
	nr = r.result;
	for (int i = 0; i < nr; i++)
		strcpy(name[i], r.replica[i].segment);
	mc_replicas_free(&r, 1);
	return nr;
}

static bool lies_in(struct mc_store *s, const char *key, const char *segment)
{
	char name[16][NAME];
	int nr = replicas(s, key, name);
	bool there = false;

	for (int i = 0; i < nr; i++)
		there |= !strcmp(name[i], segment);
	return there;
}

static int copy(struct mc_store *s, const char *key, const char *target, struct mc_uuid *id)
{
	struct mc_key k = key_of(key);

	return mc_store_copy(s, &k, &target, 1, SOON, id);
}

static int move(struct mc_store *s, const char *key, const char *source, const char *target, struct mc_uuid *id)
{
	struct mc_key k = key_of(key);

	return mc_store_move(s, &k, source, target, SOON, id);
}

static int removal(struct mc_store *s, const char *key)
{
	return st_remove(s, key);
}

/* All its threads: the signal alone only says that they shall. */
static void stop(const struct child *c)
{
	int status;

	kill(c->pid, SIGSTOP);
	EXPECT_EQ(waitpid(c->pid, &status, WUNTRACED), c->pid);
	EXPECT_TRUE(WIFSTOPPED(status));
}

/* Waits for the end. */
static int ended(struct mc_store *s, const struct mc_uuid *id, struct mc_task *t)
{
	uint64_t end = SOON;

	while (!mc_store_task(s, id, SOON, t) && t->status < MC_TASK_FAILED && !deadline_passed(end))
		usleep(500);
	return t->status;
}

/* Waits until it is carried out. */
static int begun(struct mc_store *s, const struct mc_uuid *id)
{
	uint64_t end = SOON;
	struct mc_task t;

	while (!mc_store_task(s, id, SOON, &t) && t.status == MC_TASK_PENDING && !deadline_passed(end))
		usleep(500);
	return t.status;
}

#define EXPECT_DONE(s, id)                                                                     \
	do {                                                                                   \
		struct mc_task t_;                                                             \
                                                                                               \
		if (ended(s, id, &t_) != MC_TASK_SUCCESS)                                      \
			MCTEST_FAIL("status %d: %s", t_.status, t_.message);                   \
	} while (0)

#define EXPECT_FAILED(s, id, text)                                                             \
	do {                                                                                   \
		struct mc_task t_;                                                             \
                                                                                               \
		if (ended(s, id, &t_) != MC_TASK_FAILED || !strstr(t_.message, text))          \
			MCTEST_FAIL("status %d: %s", t_.status, t_.message);                   \
	} while (0)

/* A master, a pool here, and two in other processes, "far" and "other". */
struct trio {
	struct mc_store *s;
	struct child far, other;
	char here_name[NAME], far_name[NAME], other_name[NAME];
};

static int name_of_new(struct mc_store *s, const char *known1, const char *known2, char *out)
{
	char name[16][NAME];
	int nr;

	EXPECT_EQ(st_put_opts(s, "probe", "x", 1, (struct mc_put_opts){ .replicas = 3, .flags = MC_PUT_REPLACE }), 0);
	nr = replicas(s, "probe", name);
	for (int i = 0; i < nr; i++)
		if (strcmp(name[i], known1) && strcmp(name[i], known2))
			strcpy(out, name[i]);
	EXPECT_EQ(st_remove(s, "probe"), 0);
	return nr;
}

static void trio_open(struct trio *t, uint64_t far_bytes, const char *transports)
{
	memset(t, 0, sizeof(*t));
	t->s = st_open(master.port, 64 * MIB, transports);
	ASSERT_TRUE(t->s);
	strcpy(t->here_name, mc_store_name(t->s));
	ASSERT_EQ(child_start(&t->far, "provider", master.port, far_bytes), 0);
	EXPECT_EQ(name_of_new(t->s, t->here_name, "", t->far_name), 2);
	ASSERT_EQ(child_start(&t->other, "provider", master.port, 64 * MIB), 0);
	EXPECT_EQ(name_of_new(t->s, t->here_name, t->far_name, t->other_name), 3);
}

static void trio_close(struct trio *t)
{
	mc_store_close(t->s);
	if (t->far.pid)
		child_stop(&t->far, 0);
	if (t->other.pid)
		child_stop(&t->other, 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

static int put_in(struct trio *t, const char *key, const char *segment, size_t len, uint64_t seed)
{
	uint8_t *data = malloc(len);
	int ret;

	fill(data, len, seed);
	ret = st_put_opts(t->s, key, data, len, (struct mc_put_opts){ .preferred = &segment, .nr_preferred = 1 });
	free(data);
	return ret;
}

static bool reads(struct mc_store *s, const char *key, size_t len, uint64_t seed)
{
	uint8_t *data = malloc(len);
	bool ok = st_get(s, key, data, len) == (int64_t)len && filled(data, len, seed);

	free(data);
	return ok;
}

/* Opens a trio in which "k" is on its way from here to the far pool, whose process stands still. */
static void trio_open_halfway(struct trio *t, bool moves, struct mc_uuid *id)
{
	trio_open(t, 64 * MIB, NULL);
	EXPECT_EQ(put_in(t, "k", t->here_name, BIG, 1), 0);
	stop(&t->far);
	EXPECT_EQ(moves ? move(t->s, "k", t->here_name, t->far_name, id) : copy(t->s, "k", t->far_name, id), 0);
	EXPECT_EQ(begun(t->s, id), MC_TASK_PROCESSING);
}

TEST(copies_and_moves)
{
	struct mc_store *reader;
	char name[16][NAME];
	struct mc_task t;
	struct trio x;
	struct mc_uuid id, id2;

	NEED_MASTER();
	trio_open(&x, 64 * MIB, NULL);
	reader = st_open(master.port, 0, "tcp");
	ASSERT_EQ(put_in(&x, "k", x.here_name, 100000, 1), 0);
	ASSERT_EQ(replicas(x.s, "k", name), 1);
	EXPECT_STREQ(name[0], x.here_name);

	ASSERT_EQ(copy(x.s, "k", x.far_name, &id), 0);
	EXPECT_DONE(x.s, &id);
	ASSERT_EQ(mc_store_task(x.s, &id, SOON, &t), 0);
	EXPECT_EQ(t.type, MC_TASK_COPY);
	EXPECT_TRUE(t.id.hi == id.hi && t.id.lo == id.lo && (t.assigned.hi || t.assigned.lo));
	EXPECT_TRUE(t.created_ms > 1600000000000ull && t.updated_ms >= t.created_ms);
	EXPECT_STREQ(t.message, "");
	EXPECT_EQ(replicas(x.s, "k", name), 2);
	EXPECT_TRUE(lies_in(x.s, "k", x.far_name));

	/* Again: it is there. A batch of targets, of which one has it. */
	ASSERT_EQ(copy(x.s, "k", x.far_name, &id2), 0);
	EXPECT_TRUE(id2.lo != id.lo);
	EXPECT_DONE(x.s, &id2);
	mc_store_task(x.s, &id2, SOON, &t);
	EXPECT_STREQ(t.message, "1 of 1 targets held it already");
	EXPECT_EQ(replicas(x.s, "k", name), 2);

	ASSERT_EQ(move(x.s, "k", x.here_name, x.other_name, &id), 0);
	EXPECT_DONE(x.s, &id);
	EXPECT_EQ(replicas(x.s, "k", name), 2);
	EXPECT_TRUE(!lies_in(x.s, "k", x.here_name) && lies_in(x.s, "k", x.other_name));
	EXPECT_TRUE(reads(x.s, "k", 100000, 1) && reads(reader, "k", 100000, 1));

	/* From a process that is not this one, to where it is already: the source lets go all the same. */
	ASSERT_EQ(move(x.s, "k", x.other_name, x.far_name, &id), 0);
	EXPECT_DONE(x.s, &id);
	ASSERT_EQ(replicas(x.s, "k", name), 1);
	EXPECT_STREQ(name[0], x.far_name);
	EXPECT_TRUE(reads(reader, "k", 100000, 1));
	EXPECT_EQ(removal(x.s, "k"), 0);

	/* Pins travel, sizes of all kinds do. */
	for (unsigned i = 0; i < 6; i++) {
		static const size_t size[] = { 1, 63, 4096, 65537, 3 * MIB, 20 * MIB };
		char key[16];

		snprintf(key, sizeof(key), "s%u", i);
		ASSERT_EQ(put_in(&x, key, x.far_name, size[i], i), 0);
		ASSERT_EQ(move(x.s, key, x.far_name, x.other_name, &id), 0);
		EXPECT_DONE(x.s, &id);
		EXPECT_TRUE(lies_in(x.s, key, x.other_name) && !lies_in(x.s, key, x.far_name));
		EXPECT_TRUE(reads(reader, key, size[i], i));
	}
	mc_store_close(reader);
	trio_close(&x);
}

TEST(refusals)
{
	const char *two[17];
	struct mc_key k = key_of("k"), empty = key_of("");
	struct mc_store_opts eo = { .size = sizeof(eo), .master = "embedded", .pool_bytes = 4 * MIB };
	struct mc_store *alone;
	struct mc_uuid id = { 1, 2 };
	struct mc_task t;
	struct trio x;

	NEED_MASTER();
	trio_open(&x, 64 * MIB, NULL);
	ASSERT_EQ(put_in(&x, "k", x.here_name, 10, 1), 0);
	EXPECT_EQ(copy(x.s, "none", x.far_name, &id), -ENOENT);
	EXPECT_EQ(copy(x.s, "k", "nobody:1", &id), -EINVAL);
	EXPECT_EQ(copy(x.s, "k", "", &id), -EINVAL);
	EXPECT_EQ(mc_store_copy(x.s, &k, two, 0, SOON, &id), -EINVAL);
	EXPECT_EQ(mc_store_copy(x.s, &empty, &(const char *){ x.far_name }, 1, SOON, &id), -EINVAL);
	for (unsigned i = 0; i < 17; i++)
		two[i] = x.far_name;
	EXPECT_EQ(mc_store_copy(x.s, &k, two, 17, SOON, &id), -E2BIG);
	EXPECT_EQ(move(x.s, "k", x.here_name, x.here_name, &id), -EINVAL);
	EXPECT_EQ(move(x.s, "k", x.far_name, x.other_name, &id), -EINVAL);
	EXPECT_EQ(move(x.s, "k", "nobody:1", x.other_name, &id), -EINVAL);
	EXPECT_EQ(move(x.s, "k", "", x.other_name, &id), -EINVAL);
	EXPECT_EQ(move(x.s, "none", x.here_name, x.other_name, &id), -ENOENT);
	EXPECT_EQ(mc_store_task(x.s, &id, SOON, &t), -ESRCH);
	EXPECT_EQ(id.hi, 1);

	ASSERT_EQ(mc_store_open(&eo, &alone), 0);
	EXPECT_EQ(copy(alone, "k", x.far_name, &id), -EOPNOTSUPP);
	EXPECT_EQ(mc_store_task(alone, &id, SOON, &t), -ESRCH);
	mc_store_shutdown(alone);
	EXPECT_EQ(copy(alone, "k", x.far_name, &id), -ESHUTDOWN);
	EXPECT_EQ(mc_store_task(alone, &id, SOON, &t), -ESHUTDOWN);
	mc_store_close(alone);
	trio_close(&x);
}

/* The target's process stands still: what is under way stays under way until somebody decides. */
TEST(while_it_runs)
{
	struct mc_remove r = { .key = key_of("k") };
	char name[16][NAME];
	struct mc_uuid id, id2;
	struct mc_task t;
	struct trio x;

	NEED_MASTER();
	trio_open_halfway(&x, true, &id);
	ASSERT_EQ(copy(x.s, "k", x.other_name, &id2), 0);
	ASSERT_EQ(put_in(&x, "free", x.here_name, 10, 1), 0);
	mc_store_remove(x.s, &r, 1, 0, SOON);
	EXPECT_EQ(r.result, -ETXTBSY);
	mc_store_remove(x.s, &r, 1, MC_REMOVE_FORCE, SOON);
	EXPECT_EQ(r.result, -ETXTBSY);
	EXPECT_EQ(mc_store_remove_matching(x.s, "k", MC_REMOVE_FORCE, SOON), 0);
	EXPECT_EQ(mc_store_remove_matching(x.s, "", MC_REMOVE_FORCE, SOON), 1); /* "free" alone */
	mc_store_clear(x.s, &r, 1, NULL, SOON);
	EXPECT_TRUE(r.result == -ETXTBSY);
	EXPECT_TRUE(reads(x.s, "k", BIG, 1));
	/* One task at a time for an object. */
	ASSERT_EQ(mc_store_task(x.s, &id2, SOON, &t), 0);
	EXPECT_EQ(t.status, MC_TASK_PENDING);
	/* A full pool evicts everything else, not this. */
	for (unsigned i = 0; i < 12; i++) {
		char key[16];

		snprintf(key, sizeof(key), "e%u", i);
		put_in(&x, key, x.here_name, 6 * MIB, i);
	}
	EXPECT_TRUE(lies_in(x.s, "k", x.here_name));
	kill(x.far.pid, SIGCONT);
	EXPECT_DONE(x.s, &id);
	EXPECT_DONE(x.s, &id2);
	EXPECT_EQ(replicas(x.s, "k", name), 2);
	EXPECT_TRUE(!lies_in(x.s, "k", x.here_name));
	EXPECT_TRUE(reads(x.s, "k", BIG, 1));
	EXPECT_EQ(removal(x.s, "k"), 0);
	trio_close(&x);
}

TEST(replaced_while_it_runs)
{
	struct mc_uuid id;
	struct trio x;

	NEED_MASTER();
	trio_open_halfway(&x, false, &id);
	ASSERT_EQ(st_put_opts(x.s, "k", "new", 3, (struct mc_put_opts){ .flags = MC_PUT_REPLACE,
			      .preferred = &(const char *){ x.here_name }, .nr_preferred = 1 }), 0);
	kill(x.far.pid, SIGCONT);
	EXPECT_FAILED(x.s, &id, "another object took its place");
	EXPECT_TRUE(!lies_in(x.s, "k", x.far_name));
	EXPECT_EQ(st_remove(x.s, "k"), 0);
	EXPECT_EQ(st_exists(x.s, "k"), 0);
	trio_close(&x);
}

TEST(the_target_dies)
{
	struct mc_uuid id;
	struct trio x;

	NEED_MASTER();
	trio_open_halfway(&x, true, &id);
	EXPECT_EQ(child_stop(&x.far, SIGKILL), 128 + SIGKILL);
	x.far.pid = 0;
	EXPECT_FAILED(x.s, &id, "");
	EXPECT_TRUE(reads(x.s, "k", BIG, 1));
	EXPECT_EQ(removal(x.s, "k"), 0);
	trio_close(&x);
}

TEST(the_source_dies)
{
	struct mc_uuid id, waits[TASK_TARGETS_MAX];
	struct trio x;
	char key[16];

	NEED_MASTER();
	trio_open(&x, 64 * MIB, NULL);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		ASSERT_EQ(put_in(&x, key, x.far_name, 6 * MIB, i), 0);
	}
	stop(&x.other);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		ASSERT_EQ(copy(x.s, key, x.other_name, &waits[i]), 0);
	}
	EXPECT_EQ(child_stop(&x.far, SIGKILL), 128 + SIGKILL);
	x.far.pid = 0;
	for (unsigned i = 0; i < 6; i++) /* four ran, two waited */
		EXPECT_FAILED(x.s, &waits[i], "");
	EXPECT_EQ(copy(x.s, "k0", x.other_name, &id), -ENOENT);
	kill(x.other.pid, SIGCONT);
	EXPECT_EQ(put_in(&x, "k0", x.here_name, 100, 9), 0);
	EXPECT_TRUE(reads(x.s, "k0", 100, 9));
	trio_close(&x);
}

TEST(no_room_at_the_target)
{
	struct mc_put_opts pinned = { .flags = MC_PUT_HARD_PIN, .nr_preferred = 1 };
	struct mc_uuid id;
	struct trio x;
	const char *far;
	uint8_t *data;

	NEED_MASTER();
	data = calloc(1, BIG);
	trio_open(&x, 12 * MIB, NULL);
	far = x.far_name;
	pinned.preferred = &far;
	ASSERT_EQ(put_in(&x, "k", x.here_name, BIG, 1), 0);
	ASSERT_EQ(st_put_opts(x.s, "pin", data, BIG, pinned), 0);
	ASSERT_TRUE(lies_in(x.s, "pin", far));
	ASSERT_EQ(move(x.s, "k", x.here_name, far, &id), 0);
	EXPECT_FAILED(x.s, &id, "no room");
	EXPECT_TRUE(lies_in(x.s, "k", x.here_name) && reads(x.s, "k", BIG, 1));
	EXPECT_EQ(removal(x.s, "k"), 0);
	free(data);
	trio_close(&x);
}

/* Tasks go with the master; bytes do not. */
TEST(the_master_restarts)
{
	char port[32];
	struct mc_uuid id;
	struct mc_task t;
	struct trio x;
	uint64_t end;

	NEED_MASTER();
	trio_open_halfway(&x, true, &id);
	snprintf(port, sizeof(port), "--port=%u", master.port);
	EXPECT_EQ(rig_stop(&master, SIGKILL), 128 + SIGKILL);
	{
		const char *argv[] = { "mooncake-master", port, "--metrics_port=0", NULL };

		ASSERT_EQ(rig_start(&master, argv), 0);
	}
	kill(x.far.pid, SIGCONT);
	end = SOON;
	while (mc_store_task(x.s, &id, SOON, &t) != -ESRCH && !deadline_passed(end))
		usleep(1000);
	EXPECT_EQ(mc_store_task(x.s, &id, SOON, &t), -ESRCH);
	EXPECT_TRUE(reads(x.s, "k", BIG, 1));
	while (!lies_in(x.s, "k", x.here_name) && !deadline_passed(end))
		usleep(1000);
	while (removal(x.s, "k") && !deadline_passed(end))
		usleep(1000);
	EXPECT_EQ(st_exists(x.s, "k"), 0);
	trio_close(&x);
}

TEST(limits_of_the_master)
{
	const char *argv[] = { "mooncake-master", "--port=0", "--metrics_port=0", "--max_total_pending_tasks=2",
			       "--pending_task_timeout_sec=1", "--processing_task_timeout_sec=2", NULL };
	struct mc_uuid id[7];
	struct trio x;
	char key[16];

	if (no_master())
		SKIP("build/bin/mooncake-master is not built");
	ASSERT_EQ(rig_start(&master, argv), 0);
	trio_open(&x, 64 * MIB, NULL);
	for (unsigned i = 0; i < 7; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		ASSERT_EQ(put_in(&x, key, x.here_name, 4 * MIB, i), 0);
	}
	stop(&x.far);
	for (unsigned i = 0; i < 7; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		EXPECT_EQ(copy(x.s, key, x.far_name, &id[i]), i < 6 ? 0 : -EDQUOT);
	}
	EXPECT_FAILED(x.s, &id[4], "too long");
	EXPECT_FAILED(x.s, &id[0], "no answer in time");
	kill(x.far.pid, SIGCONT);
	for (unsigned i = 0; i < 7; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		EXPECT_TRUE(reads(x.s, key, 4 * MIB, i));
	}
	trio_close(&x);
}

/* The owner of the source is this very store, and closes in the middle. */
TEST(the_source_closes)
{
	struct mc_uuid id;
	struct trio x;
	struct mc_store *mine;
	uint64_t end;
	const char *name;

	NEED_MASTER();
	trio_open(&x, 64 * MIB, NULL);
	mine = st_open(master.port, 32 * MIB, NULL);
	name = mc_store_name(mine);
	ASSERT_EQ(put_in(&x, "k", name, BIG, 1), 0);
	ASSERT_TRUE(lies_in(x.s, "k", name));
	stop(&x.far);
	ASSERT_EQ(copy(x.s, "k", x.far_name, &id), 0);
	EXPECT_EQ(begun(x.s, &id), MC_TASK_PROCESSING);
	end = clock_now_ns();
	mc_store_close(mine);
	EXPECT_TRUE(clock_now_ns() - end < 8 * NSEC_PER_SEC);
	EXPECT_FAILED(x.s, &id, "");
	kill(x.far.pid, SIGCONT);
	trio_close(&x);
}
