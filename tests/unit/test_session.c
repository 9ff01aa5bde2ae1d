// SPDX-License-Identifier: Apache-2.0
/* Objects read and written in parts: what is seen when, what a session outlives and what it does not, and who ends it. */
#include <mooncake/session.h>
#include <pthread.h>
#include <signal.h>

#include "store_rig.h"

#include "base/clock.h"
#include "mctest.h"

#define LAYERS 16
#define LAYER  (64 << 10)
#define OBJECT (LAYERS * LAYER)

static int read_start(struct mc_store *s, const char *key)
{
	struct mc_session x = { .key = key_of(key) };
	int ok = mc_session_read_start(s, &x, 1, SOON);

	EXPECT_EQ(ok, !x.result);
	return x.result ? x.result : (int)x.bytes;
}

static int64_t read_part(struct mc_store *s, const char *key, void *to, uint64_t off, uint64_t len)
{
	struct mc_part p = { to, off, len };
	struct mc_session_move m = { .key = key_of(key), .parts = &p, .nr = 1 };

	mc_session_read(s, &m, 1, SOON);
	return m.result;
}

static void read_end(struct mc_store *s, const char *key)
{
	struct mc_key k = key_of(key);

	mc_session_read_end(s, &k, 1);
}

static int write_start_opts(struct mc_store *s, const char *key, uint64_t bytes, struct mc_put_opts o)
{
	struct mc_session x = { .key = key_of(key), .bytes = bytes };

	o.size = sizeof(o);
	mc_session_write_start(s, &x, 1, &o, SOON);
	return x.result;
}

static int write_start(struct mc_store *s, const char *key, uint64_t bytes)
{
	return write_start_opts(s, key, bytes, (struct mc_put_opts){ 0 });
}

static int64_t write_part(struct mc_store *s, const char *key, const void *from, uint64_t off, uint64_t len)
{
	struct mc_part p = { (void *)(uintptr_t)from, off, len };
	struct mc_session_move m = { .key = key_of(key), .parts = &p, .nr = 1 };

	mc_session_write(s, &m, 1);
	return m.result;
}

static int write_end(struct mc_store *s, const char *key)
{
	struct mc_session x = { .key = key_of(key) };

	mc_session_write_end(s, &x, 1, SOON);
	return x.result;
}

static int write_revoke(struct mc_store *s, const char *key)
{
	struct mc_session x = { .key = key_of(key) };

	mc_session_write_revoke(s, &x, 1, SOON);
	return x.result;
}

static uint8_t bytes[OBJECT], got[OBJECT];

/* Layer by layer, the last one first; then read in the same way, and whole. */
static void through(struct mc_store *w, struct mc_store *r)
{
	fill(bytes, OBJECT, 1);
	memset(got, 0, OBJECT);
	ASSERT_EQ(write_start(w, "k", OBJECT), 0);
	for (int i = LAYERS; i-- > 0;)
		EXPECT_EQ(write_part(w, "k", bytes + i * LAYER, (uint64_t)i * LAYER, LAYER), LAYER);
	EXPECT_EQ(st_exists(r, "k"), 0);
	EXPECT_EQ(read_start(r, "k"), -ENOENT);
	EXPECT_EQ(write_end(w, "k"), 0);
	EXPECT_EQ(write_end(w, "k"), -EINVAL);
	EXPECT_EQ(write_part(w, "k", bytes, 0, 1), -EINVAL);
	EXPECT_EQ(st_exists(r, "k"), 1);
	EXPECT_EQ(st_get(r, "k", got, OBJECT), OBJECT);
	EXPECT_TRUE(filled(got, OBJECT, 1));

	memset(got, 0, OBJECT);
	ASSERT_EQ(read_start(r, "k"), OBJECT);
	for (int i = 0; i < LAYERS; i++)
		EXPECT_EQ(read_part(r, "k", got + i * LAYER, (uint64_t)i * LAYER, LAYER), LAYER);
	EXPECT_TRUE(filled(got, OBJECT, 1));
	EXPECT_EQ(read_part(r, "k", got, OBJECT, 0), 0);
	EXPECT_EQ(read_part(r, "k", got, OBJECT, 1), -ERANGE);
	EXPECT_EQ(read_part(r, "k", got, UINT64_MAX, 2), -ERANGE);
	EXPECT_EQ(read_part(r, "k", NULL, 0, 2), -EINVAL);
	read_end(r, "k");
	read_end(r, "k");
	EXPECT_EQ(read_part(r, "k", got, 0, 1), -EINVAL);
}

/* Somebody else's put, a removal: the session's object or none. */
static void overtaken(struct mc_store *s)
{
	uint8_t a[64];

	memset(bytes, 'a', OBJECT);
	ASSERT_EQ(st_put(s, "o", bytes, 4096), 0);
	ASSERT_EQ(read_start(s, "o"), 4096);
	EXPECT_EQ(read_part(s, "o", a, 100, 64), 64);
	memset(bytes, 'b', OBJECT);
	ASSERT_EQ(st_put_opts(s, "o", bytes, 4096, (struct mc_put_opts){ .flags = MC_PUT_REPLACE }), 0);
	EXPECT_EQ(read_part(s, "o", a, 100, 64), -EKEYEXPIRED);
	EXPECT_EQ(read_part(s, "o", a, 100, 64), -EINVAL); /* that ended it */
	ASSERT_EQ(read_start(s, "o"), 4096);
	EXPECT_EQ(read_part(s, "o", a, 100, 64), 64);
	EXPECT_EQ(a[0], 'b');
	EXPECT_EQ(st_remove(s, "o"), 0);
	EXPECT_EQ(read_part(s, "o", a, 100, 64), -EKEYEXPIRED);
	EXPECT_EQ(read_start(s, "o"), -ENOENT);
	EXPECT_EQ(read_part(s, "o", a, 100, 64), -EINVAL);
}

static void refusals(struct mc_store *s)
{
	struct mc_session two[2] = { { .key = key_of("t"), .bytes = 100 }, { .key = key_of("t"), .bytes = 100 } };
	struct mc_put_opts o = { .size = sizeof(o), .flags = MC_PUT_REPLACE };
	char far[KEY_MAX + 2];

	memset(far, 'k', sizeof(far) - 1);
	far[sizeof(far) - 1] = 0;
	EXPECT_EQ(read_start(s, ""), -EINVAL);
	EXPECT_EQ(read_start(s, far), -EINVAL);
	EXPECT_EQ(write_start(s, "", 1), -EINVAL);
	EXPECT_EQ(write_start(s, far, 1), -EINVAL);
	EXPECT_EQ(write_start(s, "e", 0), -EINVAL);
	EXPECT_EQ(write_start(s, "e", UINT64_MAX), -EINVAL);
	EXPECT_EQ(write_start_opts(s, "e", 1, o), -EINVAL);
	EXPECT_EQ(write_part(s, "e", bytes, 0, 1), -EINVAL);
	EXPECT_EQ(write_end(s, "e"), -EINVAL);
	EXPECT_EQ(write_revoke(s, "e"), -EINVAL);

	ASSERT_EQ(st_put(s, "there", bytes, 100), 0);
	EXPECT_EQ(write_start(s, "there", 100), -EEXIST);
	EXPECT_EQ(mc_session_write_start(s, two, 2, NULL, SOON), 1);
	EXPECT_EQ(two[0].result, 0);
	EXPECT_EQ(two[1].result, -EINVAL);
	EXPECT_EQ(write_start(s, "t", 100), -EINVAL);
	EXPECT_EQ(write_part(s, "t", bytes, 99, 2), -ERANGE);
	EXPECT_EQ(write_part(s, "t", bytes, UINT64_MAX, 2), -ERANGE);
	EXPECT_EQ(write_part(s, "t", NULL, 0, 1), -EINVAL);
	EXPECT_EQ(write_part(s, "t", NULL, 0, 0), 0);
	EXPECT_EQ(write_revoke(s, "t"), 0);
	EXPECT_EQ(write_revoke(s, "t"), -EINVAL);
	EXPECT_EQ(st_exists(s, "t"), 0);
	EXPECT_EQ(write_start(s, "t", 100), 0); /* free again */
	EXPECT_EQ(write_part(s, "t", bytes, 0, 100), 100);
	/* Somebody puts it meanwhile: he was first, and both are content. */
	memset(bytes, 'f', 100);
	EXPECT_EQ(st_put(s, "t", bytes, 50), 0);
	EXPECT_EQ(write_end(s, "t"), 0);
	EXPECT_EQ(st_get(s, "t", got, 100), 50);
	EXPECT_EQ(got[0], 'f');
}

static void all(struct mc_store *s, struct mc_store *other)
{
	through(s, other);
	EXPECT_EQ(st_remove(s, "k"), 0);
	overtaken(s);
	st_remove(s, "there");
	st_remove(s, "t");
}

TEST(embedded)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 8 * MiB };
	struct mc_store *s;

	ASSERT_EQ(mc_store_open(&o, &s), 0);
	all(s, s);
	refusals(s);
	mc_store_close(s);
}

/* Granted space of another process's pool; and, with TCP only, memory of ours that is put at the end. */
TEST(mapped_and_not)
{
	struct mc_store *s, *t;
	struct child c;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 32 * MiB), 0);
	s = st_open(master.port, 0, NULL);
	t = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && t);
	all(s, s);
	all(s, t);
	all(t, s);
	all(t, t);
	refusals(s);
	mc_store_close(s);
	mc_store_close(t);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

/* Space of sessions that nobody ends is there again when their store is closed, or its process is dead. */
TEST(what_is_left_open)
{
	struct mc_store *s, *t;
	struct child c, dead;
	char name[16];

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 16 * MiB), 0);
	s = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s);
	for (int round = 0; round < 20; round++) { /* far more than the pool has */
		t = st_open(master.port, 0, NULL);
		ASSERT_TRUE(t);
		for (int i = 0; i < 3; i++) { /* a fourth had more than half of the pool */
			snprintf(name, sizeof(name), "open%d", i);
			ASSERT_EQ(write_start(t, name, 2 * MiB), 0);
			EXPECT_EQ(write_part(t, name, bytes, MiB, OBJECT / 2), OBJECT / 2);
		}
		EXPECT_EQ(st_put(t, "other", bytes, 1000), 0); /* others' space is not mixed up with theirs */
		mc_store_close(t);
	}
	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(child_start(&dead, "writer", master.port, 0), 0);
		child_stop(&dead, SIGKILL);
	}
	fill(bytes, OBJECT, 7);
	for (int i = 0; i < 8; i++) { /* evicts what is there, but not what is granted */
		snprintf(name, sizeof(name), "put%d", i);
		EXPECT_EQ(st_put(s, name, bytes, OBJECT), 0);
	}
	EXPECT_EQ(st_get(s, "put7", got, OBJECT), OBJECT);
	EXPECT_TRUE(filled(got, OBJECT, 7));
	mc_store_close(s);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

static int role_writer(uint16_t port)
{
	struct mc_store *s = st_open(port, 0, NULL);
	uint64_t by = deadline_after_ms(8000);
	int ret;

	do /* what the one before had comes back when the owner sees that it is dead */
		ret = write_start(s, "dead", 10 * MiB);
	while (ret == -ENOSPC && !deadline_passed(by) && !usleep(2000));
	if (ret || write_part(s, "dead", bytes, 0, OBJECT) != OBJECT) {
		fprintf(stderr, "writer: %s\n", strerror(-ret));
		return 4;
	}
	say_ready();
	pause();
	return 0;
}

/* No room for more: told at the start. */
TEST(no_room)
{
	struct mc_store *s;
	struct child c;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 4 * MiB), 0);
	s = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s);
	EXPECT_EQ(write_start(s, "a", 64 * MiB), -ENOSPC);
	EXPECT_EQ(write_start(s, "a", 3 * MiB), 0);
	EXPECT_EQ(write_start(s, "b", 3 * MiB), -ENOSPC);
	EXPECT_EQ(write_revoke(s, "a"), 0);
	EXPECT_EQ(write_start(s, "b", 3 * MiB), 0);
	EXPECT_EQ(write_end(s, "b"), 0);
	mc_store_close(s);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

static struct mc_store *open_limited(const char *transports)
{
	struct mc_store_opts o = { .transports = transports, .session_idle_ns = 200 * NSEC_PER_MSEC, .session_bytes = 2 * MiB };
	struct mc_store *s;

	return st_open_opts(master.port, o, &s) ? NULL : s;
}

/* A client that lives and forgets its sessions: they end, those in use do not. Their memory: of the client, and of a pool. */
TEST(forgotten)
{
	uint64_t by = deadline_after_ms(20000);
	struct mc_store *far, *near, *other;
	struct child c;
	int ret;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MiB), 0);
	far = open_limited("tcp");
	near = open_limited(NULL);
	other = st_open(master.port, 0, NULL);
	ASSERT_TRUE(far && near && other);
	ASSERT_EQ(st_put(far, "there", bytes, 1000), 0);
	ASSERT_EQ(read_start(far, "there"), 1000);
	ASSERT_EQ(write_start(far, "used", MiB / 2), 0);
	ASSERT_EQ(write_start(far, "forgotten", 3 * MiB / 2), 0);
	EXPECT_EQ(write_start(far, "next", MiB), -ENOSPC);
	ASSERT_EQ(write_start(near, "granted", 6 * MiB), 0);
	EXPECT_EQ(st_put(other, "large", bytes, OBJECT) + st_put(other, "larger", bytes, OBJECT), 0);
	EXPECT_EQ(write_start(other, "room", 5 * MiB), -ENOSPC);

	while ((ret = write_start(far, "next", MiB)) == -ENOSPC && !deadline_passed(by))
		EXPECT_EQ(write_part(far, "used", bytes, 0, 100), 100);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(write_end(far, "forgotten"), -EINVAL);
	EXPECT_EQ(write_end(far, "used"), 0);
	EXPECT_EQ(read_part(far, "there", got, 0, 1), -EINVAL);
	EXPECT_EQ(write_revoke(far, "next"), 0);
	while ((ret = write_start(other, "room", 5 * MiB)) == -ENOSPC && !deadline_passed(by))
		usleep(1000);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(write_part(near, "granted", bytes, 0, 1), -EINVAL);
	mc_store_close(far);
	mc_store_close(near);
	mc_store_close(other);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

static struct mc_store *open_embedded(uint64_t idle_ns)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 8 * MiB,
				   .session_idle_ns = idle_ns, .session_bytes = MiB };
	struct mc_store *s;

	return mc_store_open(&o, &s) ? NULL : s;
}

/* A session of all the memory there may be starts, and in vain another until the first was forgotten. */
static int forget_one(void)
{
	struct mc_store *s = open_embedded(20 * NSEC_PER_MSEC);
	uint64_t by = deadline_after_ms(20000);
	int ret = s ? write_start(s, "a", MiB) : -ENOMEM;

	if (!ret)
		while ((ret = write_start(s, "b", MiB)) == -ENOSPC && !deadline_passed(by))
			usleep(1000);
	mc_store_close(s);
	return ret;
}

TEST(forgotten_embedded)
{
	EXPECT_EQ(forget_one(), 0);
}

/* As long as there is: not at once, because a sum wrapped. */
TEST(kept_for_ever)
{
	struct mc_store *s = open_embedded(UINT64_MAX);

	ASSERT_TRUE(s);
	ASSERT_EQ(write_start(s, "a", 100), 0);
	/* A later one has been looked for, and this one long before if ever. */
	EXPECT_EQ(forget_one(), 0);
	EXPECT_EQ(write_part(s, "a", bytes, 0, 100), 100);
	EXPECT_EQ(write_end(s, "a"), 0);
	mc_store_close(s);
}

/* However many a client starts: half of the pool is for others. What is given back is there for them at once. */
TEST(half_of_the_pool)
{
	struct mc_store *s, *other;
	struct child c;
	char name[16];
	int nr = 0;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 16 * MiB), 0);
	s = st_open(master.port, 0, NULL);
	other = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s && other);
	do
		snprintf(name, sizeof(name), "open%d", nr);
	while (nr < 100 && !write_start(s, name, MiB) && ++nr);
	EXPECT_EQ(nr, 7); /* and their headers */
	EXPECT_EQ(st_put(other, "x", bytes, OBJECT), 0);
	EXPECT_EQ(write_start(other, "y", 12 * MiB), -ENOSPC);
	while (nr--) {
		snprintf(name, sizeof(name), "open%d", nr);
		EXPECT_EQ(write_revoke(s, name), 0);
	}
	EXPECT_EQ(write_start(other, "y", 12 * MiB), 0);
	mc_store_close(other);
	mc_store_close(s);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

static bool until_gone(struct mc_store *s, const char *key)
{
	uint64_t by = deadline_after_ms(10000);

	while (st_exists(s, key) == 1 && !deadline_passed(by))
		usleep(1000);
	return st_exists(s, key) != 1;
}

/* The owner dies: reads end, the write is lost and says so, and the store goes on. Without any pool: no replica. */
TEST(the_owner_dies)
{
	uint64_t by = deadline_after_ms(20000);
	struct mc_store *s;
	struct child c;
	int ret;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MiB), 0);
	s = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s);
	ASSERT_EQ(st_put(s, "r", bytes, 4096), 0);
	ASSERT_EQ(read_start(s, "r"), 4096);
	ASSERT_EQ(write_start(s, "w", 4096), 0);
	child_stop(&c, SIGKILL);
	EXPECT_EQ(write_part(s, "w", bytes, 0, 4096), 4096);
	EXPECT_NE(write_end(s, "w"), 0);
	ret = write_revoke(s, "w");
	EXPECT_TRUE(!ret || ret == -EINVAL);
	EXPECT_TRUE(until_gone(s, "r"));
	EXPECT_EQ(read_part(s, "r", got, 0, 64), -EKEYEXPIRED);
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MiB), 0);
	do /* until it heard of the new one */
		ret = write_start(s, "w", 4096);
	while ((ret == -ENOMEDIUM || ret == -ECONNRESET) && !deadline_passed(by) && !usleep(1000));
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(write_part(s, "w", bytes, 0, 4096), 4096);
	EXPECT_EQ(write_end(s, "w"), 0);
	mc_store_close(s);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

TEST(master_dies)
{
	uint8_t byte;
	struct mc_store *s;
	struct child c;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MiB), 0);
	s = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s);
	ASSERT_EQ(st_put(s, "r", bytes, 4096), 0);
	ASSERT_EQ(read_start(s, "r"), 4096);
	ASSERT_EQ(write_start(s, "w", 4096), 0);
	rig_stop(&master, SIGTERM);
	EXPECT_EQ(read_part(s, "r", got, 0, 4096), 4096); /* nobody is asked */
	EXPECT_EQ(write_part(s, "w", bytes, 0, 4096), 4096);
	EXPECT_EQ(read_start(s, "gone"), -ECONNREFUSED);
	EXPECT_EQ(write_start(s, "x", 4096), -ECONNREFUSED);
	EXPECT_NE(write_end(s, "w"), 0);
	EXPECT_EQ(write_part(s, "w", bytes, 0, 1), 1); /* it is still there: to end again, or to revoke */
	EXPECT_EQ(write_revoke(s, "w"), 0);
	mc_store_shutdown(s);
	EXPECT_EQ(read_part(s, "r", &byte, 0, 1), -ESHUTDOWN);
	EXPECT_EQ(write_start(s, "x", 1), -ESHUTDOWN);
	mc_store_close(s);
	child_stop(&c, 0);
}

/* ---- threads -------------------------------------------------------------------------------------------------------- */

#define THREADS 4

struct worker {
	struct mc_store *s;
	int nr;
	atomic_int *stop;
	long bad;
};

/* Each has objects of its own, and writes to its neighbour's while they end. Readers see whole objects or none. */
static void *write_layers(void *arg)
{
	struct worker *w = arg;
	char key[16], next[16];

	for (int k = 0; k < 40; k++) {
		snprintf(key, sizeof(key), "obj%d.%d", w->nr, k % 10);
		snprintf(next, sizeof(next), "obj%d.%d", (w->nr + 1) % THREADS, k % 10);
		if (write_start(w->s, key, OBJECT + LAYER)) { /* it is there */
			st_remove(w->s, key);
			continue;
		}
		for (int i = 0; i < LAYERS; i++) {
			w->bad += write_part(w->s, key, bytes + i * LAYER, (uint64_t)i * LAYER, LAYER) != LAYER;
			write_part(w->s, next, bytes, OBJECT, LAYER); /* behind what its owner writes */
		}
		w->bad += (k % 3 ? write_end(w->s, key) : write_revoke(w->s, key)) != 0;
	}
	return NULL;
}

static void *read_layers(void *arg)
{
	struct worker *w = arg;
	uint8_t *mine = malloc(LAYER);
	char key[16];

	for (int k = 0; !atomic_load(w->stop); k++) {
		int layer = k % LAYERS;

		snprintf(key, sizeof(key), "obj%d.%d", k / 3 % THREADS, k / 17 % 10);
		if (read_start(w->s, key) == OBJECT + LAYER && read_part(w->s, key, mine, (uint64_t)layer * LAYER, LAYER) == LAYER)
			w->bad += memcmp(mine, bytes + layer * LAYER, LAYER) != 0;
		if (k % 5 == 0)
			read_end(w->s, key);
	}
	free(mine);
	return NULL;
}

TEST(threads)
{
	struct worker w[2 * THREADS];
	pthread_t t[2 * THREADS];
	struct mc_store *s, *far;
	atomic_int stop = 0;
	struct child c;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 24 * MiB), 0);
	s = st_open(master.port, 0, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && far);
	fill(bytes, OBJECT, 3);
	for (int i = 0; i < 2 * THREADS; i++) {
		w[i] = (struct worker){ i == 1 || i == THREADS ? far : s, i, &stop, 0 };
		ASSERT_EQ(pthread_create(&t[i], NULL, i < THREADS ? write_layers : read_layers, &w[i]), 0);
	}
	for (int i = 0; i < 2 * THREADS; i++) {
		if (i == THREADS)
			atomic_store(&stop, 1);
		pthread_join(t[i], NULL);
		EXPECT_EQ(w[i].bad, 0);
	}
	mc_store_close(far);
	mc_store_close(s);
	child_stop(&c, 0);
	rig_stop(&master, SIGTERM);
}

/* Before store_rig.h's own. */
__attribute__((constructor(1000))) static void play_writer(void)
{
	const char *role = getenv("STORE_ROLE"), *port = getenv("STORE_PORT");

	if (role && port && !strcmp(role, "writer"))
		_exit(role_writer((uint16_t)atoi(port)));
}
