// SPDX-License-Identifier: Apache-2.0
/* Handles of the C interface: what one stands for, and how many there can be. */
#include "mctest.h"

#include <errno.h>

#include "capi/capi.h"

static unsigned ended;

static void end(struct object *o)
{
	(void)o;
	ended++;
}

TEST(an_id_stands_for_one_object)
{
	struct table t = TABLE_INIT(GEN_ANY);
	struct object a, b, *o;
	uint64_t first;

	ended = 0;
	object_init(&a, end);
	object_init(&b, end);
	ASSERT_EQ(table_add(&t, &a), 0);
	first = a.id;
	o = table_get(&t, first);
	EXPECT_TRUE(o == &a);
	object_put(o);
	object_put(table_take(&t, first));
	EXPECT_EQ(ended, 1);
	EXPECT_TRUE(!table_get(&t, first));
	ASSERT_EQ(table_add(&t, &b), 0); /* in the same place */
	EXPECT_TRUE(b.id != first && !table_get(&t, first) && !table_get(&t, 0));
	table_drop(&t);
	EXPECT_EQ(ended, 2);
	EXPECT_EQ(table_add(&t, &a), -ESHUTDOWN);
	table_fini(&t);
}

/* The last place has an id too, and behind it there is none: its number would be another generation's. */
TEST(as_many_as_there_are_ids)
{
	enum { MANY = (1 << 20) - 1 };
	struct object *o = calloc(MANY + 1, sizeof(*o));
	struct table t = TABLE_INIT(GEN_ANY);

	ASSERT_TRUE(o);
	ended = 0;
	for (unsigned i = 0; i <= MANY; i++) {
		object_init(&o[i], end);
		EXPECT_EQ(table_add(&t, &o[i]), i < MANY ? 0 : -ENOMEM);
		if (mctest_failed)
			break;
	}
	EXPECT_TRUE(table_take(&t, o[MANY - 1].id) == &o[MANY - 1]);
	EXPECT_EQ(table_add(&t, &o[MANY]), 0);
	table_drop(&t);
	EXPECT_EQ(ended, MANY);
	table_fini(&t);
	free(o);
}
