// SPDX-License-Identifier: Apache-2.0
/* Calls that no memory is left for: each of a call's allocations fails in turn. It says so or does without; the next call works. */
#include "mctest.h"
#include "unit/store_rig.h"

#include <mooncake/replicas.h>
#include <mooncake/session.h>

/* This thread's allocations until one fails; none does while it is 0. */
static _Thread_local unsigned countdown;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NEED_ALLOCATOR() SKIP("the sanitizer's allocator does not fail")
#else
#define NEED_ALLOCATOR() ((void)0)

static bool fails(void)
{
	return countdown && !--countdown;
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nr, size_t size);
void *__libc_realloc(void *p, size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t nr, size_t size)
{
	return fails() ? NULL : __libc_calloc(nr, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}
#endif

#define NR   20 /* more than calls have room for without an allocation */
#define SIZE 5000

static uint8_t data[NR][SIZE], got[NR][SIZE];
static char name[NR][16];
static struct mc_iov from[NR], to[NR];

static int put(struct mc_store *s)
{
	struct mc_put items[NR];

	for (int i = 0; i < NR; i++)
		items[i] = (struct mc_put){ .key = key_of(name[i]), .iov = &from[i], .nr_iov = 1 };
	return mc_store_put(s, items, NR, NULL, SOON);
}

static int replace(struct mc_store *s)
{
	struct mc_put_opts o = { .size = sizeof(o), .flags = MC_PUT_REPLACE };
	struct mc_put items[NR];

	for (int i = 0; i < NR; i++)
		items[i] = (struct mc_put){ .key = key_of(name[i]), .iov = &from[i], .nr_iov = 1 };
	return mc_store_put(s, items, NR, &o, SOON);
}

static int get(struct mc_store *s)
{
	struct mc_get items[NR];
	int ok;

	memset(got, 0, sizeof(got));
	for (int i = 0; i < NR; i++)
		items[i] = (struct mc_get){ .key = key_of(name[i]), .iov = &to[i], .nr_iov = 1 };
	ok = mc_store_get(s, items, NR, SOON);
	for (int i = 0; i < NR; i++)
		EXPECT_TRUE(items[i].result < 0 || !memcmp(got[i], data[i], SIZE));
	return ok;
}

static int get_slices(struct mc_store *s)
{
	struct mc_get_slices items[NR];
	struct mc_slice slice[NR];

	for (int i = 0; i < NR; i++) {
		slice[i] = (struct mc_slice){ .dst = got[i], .src_off = 100, .len = 1000 };
		items[i] = (struct mc_get_slices){ .key = key_of(name[i]), .slices = &slice[i], .nr = 1 };
	}
	return mc_store_get_slices(s, items, NR, SOON);
}

static int exists(struct mc_store *s)
{
	struct mc_query items[NR];

	for (int i = 0; i < NR; i++)
		items[i] = (struct mc_query){ .key = key_of(name[i]) };
	return mc_store_exists(s, items, NR, SOON);
}

static int replicas(struct mc_store *s)
{
	struct mc_replicas items[NR];
	int nr;

	for (int i = 0; i < NR; i++)
		items[i] = (struct mc_replicas){ .key = key_of(name[i]) };
	nr = mc_store_replicas(s, items, NR, SOON);
	mc_replicas_free(items, NR);
	return nr;
}

static int read_parts(struct mc_store *s)
{
	struct mc_session items[NR];
	struct mc_session_move moves[NR];
	struct mc_part part[NR];
	struct mc_key key[NR];
	int ok;

	for (int i = 0; i < NR; i++) {
		key[i] = key_of(name[i]);
		items[i] = (struct mc_session){ .key = key[i] };
		part[i] = (struct mc_part){ got[i], 100, 1000 };
		moves[i] = (struct mc_session_move){ .key = key[i], .parts = &part[i], .nr = 1 };
	}
	ok = mc_session_read_start(s, items, NR, SOON);
	ok = ok == NR ? mc_session_read(s, moves, NR, SOON) : ok;
	mc_session_read_end(s, key, NR);
	return ok;
}

static int write_parts(struct mc_store *s)
{
	struct mc_session items[NR];
	struct mc_session_move moves[NR];
	struct mc_part part[NR];
	int ok, all;

	for (int i = 0; i < NR; i++) {
		items[i] = (struct mc_session){ .key = key_of(name[i]), .bytes = SIZE };
		part[i] = (struct mc_part){ data[i], 0, SIZE };
		moves[i] = (struct mc_session_move){ .key = items[i].key, .parts = &part[i], .nr = 1 };
	}
	ok = mc_session_write_start(s, items, NR, NULL, SOON);
	ok = ok == NR ? mc_session_write(s, moves, NR) : ok;
	all = ok == NR ? mc_session_write_end(s, items, NR, SOON) : ok;
	if (all != NR)
		mc_session_write_revoke(s, items, NR, SOON);
	return all;
}

static int drop(struct mc_store *s)
{
	struct mc_remove items[NR];

	for (int i = 0; i < NR; i++)
		items[i] = (struct mc_remove){ .key = key_of(name[i]) };
	return mc_store_remove(s, items, NR, MC_REMOVE_FORCE, SOON);
}

static void nothing(void *arg, enum mc_log_level level, const char *text)
{
}

static const struct {
	const char *what;
	int (*call)(struct mc_store *s);
	bool there; /* before it, or else gone */
} calls[] = {
	{ "put", put, false },
	{ "put that replaces", replace, true },
	{ "get", get, true },
	{ "get of slices", get_slices, true },
	{ "exists", exists, true },
	{ "replicas", replicas, true },
	{ "session of reads", read_parts, true },
	{ "session of writes", write_parts, false },
	{ "remove", drop, true },
};

/* With the @nr-th allocation failing. Return: false when there are not so many. */
static bool try(struct mc_store *s, size_t c, unsigned nr)
{
	uint64_t end = SOON;
	int ok;

	/* A connection that was not made is tried again a little later. */
	while (exists(s) != (calls[c].there ? NR : 0) && !deadline_passed(end))
		calls[c].there ? put(s) : drop(s);
	if (deadline_passed(end))
		MCTEST_FAIL("nothing works before %s, allocation %u", calls[c].what, nr);
	countdown = nr;
	ok = calls[c].call(s);
	nr = countdown;
	countdown = 0;
	if (ok > NR || (ok < 0 && ok != -ENOMEM))
		MCTEST_FAIL("%s: %d", calls[c].what, ok);
	return !nr;
}

static void all_of(struct mc_store *s)
{
	unsigned nr, all = 0;

	for (int i = 0; i < NR; i++) {
		snprintf(name[i], sizeof(name[i]), "key-%d", i);
		fill(data[i], SIZE, (uint64_t)i);
		from[i] = (struct mc_iov){ data[i], SIZE };
		to[i] = (struct mc_iov){ got[i], SIZE };
	}
	mc_log_set(nothing, NULL, MC_LOG_ERR);
	for (size_t c = 0; c < ARRAY_SIZE(calls); c++) {
		for (nr = 1; try(s, c, nr) && !mctest_failed && nr < 1000; nr++)
			;
		EXPECT_LT(nr, 1000);
		all += nr - 1;
	}
	printf("# %u allocations failed\n", all);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	put(s);
	EXPECT_EQ(get(s), NR);
	EXPECT_EQ(drop(s), NR);
}

TEST(of_a_pool_here)
{
	struct mc_store *s;

	NEED_ALLOCATOR();
	NEED_MASTER();
	s = st_open(master.port, 16 * MIB, NULL);
	ASSERT_TRUE(s);
	all_of(s);
	mc_store_close(s);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(of_a_pool_elsewhere)
{
	struct mc_store *s, *far;

	NEED_ALLOCATOR();
	NEED_MASTER();
	far = st_open(master.port, 16 * MIB, "tcp");
	s = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && far);
	all_of(s);
	mc_store_close(s);
	mc_store_close(far);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}
