// SPDX-License-Identifier: Apache-2.0
/* The master's table of tasks: limits, order, deadlines, pools that go; and what a task does to the index. */
#include "../../daemon/master/tasks.h"

#include "base/clock.h"
#include "unit/objects_rig.h"

#define AT(n) ((struct times){ .now_ns = (n), .ms = 1000 + (n) })

static struct tasks *tasks_new(uint32_t pending, uint32_t processing, uint32_t finished)
{
	struct tasks_opts o = { pending, processing, finished, .pending_ns = 100 };
	struct tasks *ts = NULL;

	EXPECT_EQ(tasks_open(&o, &ts), 0);
	return ts;
}

static struct task_spec spec(unsigned key, uint32_t pool)
{
	return (struct task_spec){ .key = key_of(key), .put_id = 1, .source = pool, .slot = 7, .nr_targets = 1, .target = { 9 } };
}

static int yes(void *arg, const struct task_spec *s)
{
	return 0;
}

static void no_pool(void *arg, uint32_t pool)
{
}

/* Says of each key in turn what @arg has for it. */
static int says(void *arg, const struct task_spec *s)
{
	const int *answer = arg;

	return answer[*(const char *)((const char *)s->key.data + 2) - '0'];
}

static int status(struct tasks *ts, const uint8_t id[16], char *message, struct msg_task *out)
{
	char text[TASK_MESSAGE_BYTES];
	struct msg_task m;

	if (tasks_query(ts, id, &m, text))
		return -1;
	if (message)
		strcpy(message, text);
	if (out)
		*out = m;
	return m.status;
}

TEST(from_pending_to_success)
{
	struct tasks *ts = tasks_new(10, 10, 10);
	struct task_spec s = spec(0, 3);
	struct tasks_stat st;
	struct msg_task m;
	uint8_t id[16];
	struct task *t;
	char text[TASK_MESSAGE_BYTES];

	s.type = TASK_MOVE;
	memcpy(s.pool, "0123456789abcdef", 16);
	ASSERT_EQ(tasks_create(ts, &s, AT(0), id), 0);
	EXPECT_EQ(status(ts, id, text, &m), TASK_PENDING);
	EXPECT_STREQ(text, "");
	EXPECT_EQ(m.created_ms, 1000);
	EXPECT_MEMEQ(m.id, id, 16);
	EXPECT_MEMEQ(m.pool, s.pool, 16);
	EXPECT_EQ(m.type, TASK_MOVE);
	EXPECT_TRUE(!tasks_next(ts, 4, AT(1), yes, NULL));
	t = tasks_next(ts, 3, AT(2), yes, NULL);
	ASSERT_TRUE(t);
	EXPECT_EQ(t->spec.target[0], 9);
	EXPECT_TRUE(t->spec.key.data != s.key.data && t->spec.key.len == s.key.len);
	EXPECT_EQ(status(ts, id, NULL, &m), TASK_PROCESSING);
	EXPECT_EQ(m.updated_ms, 1002);
	EXPECT_TRUE(!tasks_next(ts, 3, AT(2), yes, NULL));
	tasks_end(ts, t, NULL, "fine", AT(5));
	EXPECT_EQ(status(ts, id, text, &m), TASK_SUCCESS);
	EXPECT_STREQ(text, "fine");
	EXPECT_EQ(m.updated_ms, 1005);
	EXPECT_EQ(m.created_ms, 1000);
	tasks_stat(ts, &st);
	EXPECT_EQ(st.pending + st.processing, 0);
	EXPECT_EQ(st.finished, 1);
	EXPECT_EQ(st.succeeded, 1);
	id[0] ^= 1;
	EXPECT_EQ(tasks_query(ts, id, &m, text), -ESRCH);
	tasks_close(ts);
}

TEST(limits)
{
	struct tasks *ts = tasks_new(6, 5, 2);
	struct task_spec s[7];
	uint8_t id[7][16];
	struct task *t[6];

	for (unsigned i = 0; i < 7; i++)
		s[i] = spec(i, i == 6 ? 4 : 3);
	for (unsigned i = 0; i < 6; i++)
		ASSERT_EQ(tasks_create(ts, &s[i], AT(i), id[i]), 0);
	EXPECT_EQ(tasks_create(ts, &s[6], AT(6), id[6]), -EDQUOT);
	for (unsigned i = 0; i < TASKS_PER_POOL; i++) {
		t[i] = tasks_next(ts, 3, AT(7), yes, NULL);
		ASSERT_TRUE(t[i]);
		EXPECT_MEMEQ(t[i]->id, id[i], 16); /* first come, first served */
	}
	EXPECT_TRUE(!tasks_next(ts, 3, AT(7), yes, NULL)); /* enough for one owner */
	ASSERT_EQ(tasks_create(ts, &s[6], AT(7), id[6]), 0);
	t[4] = tasks_next(ts, 4, AT(7), yes, NULL);
	ASSERT_TRUE(t[4]);
	tasks_end(ts, t[0], NULL, "", AT(8));
	t[5] = tasks_next(ts, 3, AT(8), yes, NULL);
	ASSERT_TRUE(t[5]);
	EXPECT_TRUE(!tasks_next(ts, 3, AT(8), yes, NULL)); /* max_processing */
	for (unsigned i = 1; i < 6; i++)
		tasks_end(ts, t[i], i == 2 ? "broke" : NULL, "", AT(9));
	/* Two ended ones are remembered. */
	EXPECT_EQ(status(ts, id[0], NULL, NULL), -1);
	EXPECT_EQ(status(ts, id[6], NULL, NULL), TASK_SUCCESS);
	EXPECT_EQ(status(ts, id[4], NULL, NULL), TASK_SUCCESS);
	EXPECT_EQ(status(ts, id[5], NULL, NULL), TASK_PENDING);
	tasks_close(ts); /* with one waiting */
}

/* What may pass is tried again, later each time, and not for ever. */
TEST(again)
{
	const struct tasks_opts o = { 10, 10, 10, .pending_ns = 100, .max_retries = 2 };
	const uint64_t first = 50 * NSEC_PER_MSEC, second = 100 * NSEC_PER_MSEC;
	struct task_spec s = spec(0, 3);
	struct tasks *ts = NULL;
	struct tasks_stat st;
	uint8_t id[16];
	struct task *t;

	ASSERT_EQ(tasks_open(&o, &ts), 0);
	ASSERT_EQ(tasks_create(ts, &s, AT(0), id), 0);
	t = tasks_next(ts, 3, AT(1), yes, NULL);
	ASSERT_TRUE(t);
	EXPECT_TRUE(tasks_retry(ts, t, AT(2)));
	EXPECT_EQ(status(ts, id, NULL, NULL), TASK_PENDING);
	tasks_tick(ts, AT(150), no_pool, NULL); /* what it waits now is not its own doing */
	EXPECT_TRUE(!tasks_next(ts, 3, AT(first), yes, NULL));
	t = tasks_next(ts, 3, AT(2 + first), yes, NULL);
	ASSERT_TRUE(t);
	EXPECT_TRUE(tasks_retry(ts, t, AT(2 + first)));
	EXPECT_TRUE(!tasks_next(ts, 3, AT(1 + first + second), yes, NULL));
	t = tasks_next(ts, 3, AT(2 + first + second), yes, NULL);
	ASSERT_TRUE(t);
	EXPECT_TRUE(!tasks_retry(ts, t, AT(2 + first + second)));
	EXPECT_EQ(status(ts, id, NULL, NULL), TASK_PROCESSING);
	tasks_end(ts, t, "busy", NULL, AT(3 + first + second));
	tasks_stat(ts, &st);
	EXPECT_EQ(st.failed, 1);
	EXPECT_EQ(st.pending + st.processing, 0);
	tasks_close(ts);
}

TEST(later_and_never)
{
	int answer[] = { -EBUSY, -ENOENT, 0 };
	struct tasks *ts = tasks_new(10, 10, 10);
	struct task_spec s[3] = { spec(0, 3), spec(1, 3), spec(2, 3) };
	uint8_t id[3][16];
	char text[TASK_MESSAGE_BYTES];
	struct task *t;

	for (unsigned i = 0; i < 3; i++)
		ASSERT_EQ(tasks_create(ts, &s[i], AT(i), id[i]), 0);
	t = tasks_next(ts, 3, AT(5), says, answer);
	ASSERT_TRUE(t);
	EXPECT_MEMEQ(t->id, id[2], 16);
	EXPECT_EQ(status(ts, id[0], NULL, NULL), TASK_PENDING);
	EXPECT_EQ(status(ts, id[1], text, NULL), TASK_FAILED);
	EXPECT_TRUE(strstr(text, "not there"));
	tasks_end(ts, t, NULL, "", AT(6));
	answer[0] = 0;
	t = tasks_next(ts, 3, AT(7), says, answer);
	ASSERT_TRUE(t);
	EXPECT_MEMEQ(t->id, id[0], 16);
	tasks_end(ts, t, NULL, "", AT(8));
	tasks_close(ts);
}

static void note(void *arg, uint32_t pool)
{
	*(unsigned *)arg = *(unsigned *)arg * 10 + pool;
}

TEST(time_passes_and_pools_go)
{
	struct tasks *ts = tasks_new(10, 10, 10);
	struct task_spec s[3] = { spec(0, 3), spec(1, 5), spec(2, 3) };
	uint8_t id[3][16];
	unsigned pools = 0;
	char text[TASK_MESSAGE_BYTES];
	struct task *t;

	for (unsigned i = 0; i < 3; i++)
		ASSERT_EQ(tasks_create(ts, &s[i], AT(i * 10), id[i]), 0);
	tasks_tick(ts, AT(99), note, &pools);
	EXPECT_EQ(pools, 35);
	t = tasks_next(ts, 5, AT(99), yes, NULL);
	tasks_tick(ts, AT(115), note, &pools);
	EXPECT_EQ(pools, 353);
	EXPECT_EQ(status(ts, id[0], text, NULL), TASK_FAILED);
	EXPECT_TRUE(strstr(text, "too long"));
	EXPECT_EQ(status(ts, id[1], NULL, NULL), TASK_PROCESSING); /* its own deadline is another matter */
	tasks_pool_gone(ts, 3, 8, AT(116)); /* another life */
	EXPECT_EQ(status(ts, id[2], NULL, NULL), TASK_PENDING);
	tasks_pool_gone(ts, 3, 7, AT(116));
	EXPECT_EQ(status(ts, id[2], text, NULL), TASK_FAILED);
	EXPECT_TRUE(strstr(text, "went away"));
	tasks_pool_gone(ts, 5, 7, AT(117));
	EXPECT_EQ(status(ts, id[1], NULL, NULL), TASK_PROCESSING);
	tasks_end(ts, t, "its owner died", NULL, AT(118));
	EXPECT_EQ(status(ts, id[1], text, NULL), TASK_FAILED);
	EXPECT_STREQ(text, "its owner died");
	tasks_tick(ts, AT(1000), note, &pools);
	EXPECT_EQ(pools, 353);
	tasks_close(ts);
}

/* ---- the index ---- */

TEST(a_bound_object_stays)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2);
	struct holder h[REPLICAS_MAX];
	struct key k = key_of(0), k2 = key_of(1);
	unsigned nr;

	EXPECT_EQ(objects_bind(ix, &k, 1), -ENOENT);
	EXPECT_EQ(put(ix, a, k, 1, OBJ_PENDING, 10, NULL), 0);
	EXPECT_EQ(objects_bind(ix, &k, 1), -EBUSY); /* soon */
	EXPECT_TRUE(objects_stored(ix, a, &k, 10));
	EXPECT_EQ(objects_bind(ix, &k, 2), -ENOENT);
	EXPECT_TRUE(!objects_bound(ix));
	EXPECT_EQ(objects_bind(ix, &k, 1), 0);
	EXPECT_EQ(objects_bind(ix, &k, 1), -EBUSY);
	EXPECT_TRUE(objects_bound(ix));
	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), -ETXTBSY);
	EXPECT_EQ(objects_holders(ix, &k, false, 0, h, &nr), -ETXTBSY);
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 0, h, &nr), -ETXTBSY);
	EXPECT_EQ(nr, 0);
	EXPECT_EQ(objects_replica(ix, &k, 1, 2, h), -ENOENT);
	EXPECT_EQ(objects_spare(ix, &k, 1, 1, 2, h), -EAGAIN);
	EXPECT_EQ(put(ix, b, k, 1, 0, 20, NULL), 0); /* the copy */
	EXPECT_EQ(objects_replica(ix, &k, 1, 2, h), 0);
	EXPECT_EQ(h->gen, 20);
	EXPECT_EQ(objects_spare(ix, &k, 1, 1, 2, h), 0);
	EXPECT_EQ(h->gen, 10);
	EXPECT_EQ(h->slot, a);
	objects_slot_set(ix, b, SLOT_HIDDEN);
	EXPECT_EQ(objects_spare(ix, &k, 1, 1, 2, h), -EAGAIN); /* who would drop the other now? */
	objects_slot_set(ix, b, SLOT_LIVE);
	objects_unbind(ix, &k, 1, false);
	EXPECT_TRUE(!objects_bound(ix));
	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), 0);
	EXPECT_EQ(nr, 2);

	/* All it had are pools that are gone: nothing to keep. */
	EXPECT_EQ(put(ix, a, k2, 1, 0, 30, NULL), 0);
	EXPECT_EQ(objects_bind(ix, &k2, 1), 0);
	objects_slot_set(ix, a, SLOT_GONE);
	EXPECT_EQ(objects_holders(ix, &k2, true, 0, h, &nr), -ENOENT);
	objects_close(ix);
}

/* A copy that comes when the object was replaced or removed is not it any more. */
TEST(late_copies_are_refused)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2);
	struct holder h[REPLICAS_MAX];
	struct key k = key_of(0), k2 = key_of(1), k3 = key_of(2);
	unsigned nr;

	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(objects_bind(ix, &k, 1), 0);
	EXPECT_EQ(put(ix, a, k, 2, OBJ_REPLACE, 12, NULL), 0);
	EXPECT_EQ(put(ix, b, k, 1, 0, 20, NULL), -EEXIST);
	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), 0); /* the new one is nobody's */
	EXPECT_TRUE(objects_withdraw(ix, a, &k, 12));
	EXPECT_EQ(put(ix, b, k, 1, 0, 20, NULL), -EEXIST);
	EXPECT_EQ(put(ix, b, k, 3, 0, 22, NULL), 0);
	objects_unbind(ix, &k, 1, true);
	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), 0);

	/* The task gave up; removed after it; then the copy comes. */
	EXPECT_EQ(put(ix, a, k2, 5, 0, 14, NULL), 0);
	EXPECT_EQ(objects_bind(ix, &k2, 5), 0);
	objects_unbind(ix, &k2, 5, true);
	EXPECT_EQ(put(ix, b, k2, 5, 0, 24, NULL), 0); /* still there: one more replica */
	EXPECT_TRUE(objects_withdraw(ix, b, &k2, 24));
	EXPECT_EQ(objects_holders(ix, &k2, true, 0, h, &nr), 0);
	EXPECT_TRUE(objects_withdraw(ix, a, &k2, 14));
	EXPECT_EQ(put(ix, b, k2, 5, 0, 24, NULL), -EEXIST);
	EXPECT_EQ(put(ix, b, k2, 6, 0, 26, NULL), 0);

	/* The same when it went with everything else. */
	EXPECT_EQ(put(ix, a, k3, 7, 0, 16, NULL), 0);
	EXPECT_EQ(objects_bind(ix, &k3, 7), 0);
	objects_unbind(ix, &k3, 7, true);
	objects_slot_set(ix, a, SLOT_GONE);
	while (objects_slot_purge(ix, a, 10))
		;
	EXPECT_EQ(put(ix, b, k3, 7, 0, 28, NULL), -EEXIST);
	EXPECT_TRUE(!objects_bound(ix));
	objects_close(ix);
}
