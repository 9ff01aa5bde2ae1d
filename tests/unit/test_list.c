// SPDX-License-Identifier: Apache-2.0
/* Lists, as optimised code uses them. */
#include "mctest.h"

#include "base/list.h"

struct work {
	struct list node;
	const bool *urgent;
	struct desk *desk;
};

struct desk {
	int number;
	struct work *work;
	char room[40];
};

#define DESKS 5

struct office {
	struct desk desk[DESKS];
	struct list waiting;
	unsigned urgent;
};

static struct work *first_urgent(const struct office *o)
{
	struct work *w;

	if (o->urgent)
		list_for_each_entry(w, &o->waiting, node)
			if (*w->urgent)
				return w;
	return NULL;
}

static struct work *next_for(const struct office *o, int i)
{
	struct work *w = first_urgent(o);

	return w || i == DESKS - 1 ? w : list_first(&o->waiting, struct work, node);
}

static void assign(struct office *o)
{
	for (int i = 0; i < DESKS && !list_empty(&o->waiting); i++) {
		struct desk *d = &o->desk[i];
		struct work *w = d->work ? NULL : next_for(o, i);

		if (!w)
			continue;
		list_del(&w->node);
		w->desk = d;
		d->work = w;
	}
}

/* Two users of next_for(), so that the compiler looks at it as it is, and at this function alone. */
__attribute__((noinline)) static void morning(struct office *o)
{
	bool more;

	do {
		assign(o);
		more = false;
		for (int i = 0; i < DESKS; i++)
			more |= !o->desk[i].work && next_for(o, i);
	} while (more);
}

TEST(what_was_taken_is_not_taken_again)
{
	static const bool no;
	struct work w[8];
	struct office o = { 0 };

	list_init(&o.waiting);
	for (int i = 0; i < 8; i++) {
		w[i] = (struct work){ .urgent = &no };
		list_append(&o.waiting, &w[i].node);
	}
	morning(&o);
	for (int i = 0; i < DESKS - 1; i++) {
		EXPECT_TRUE(o.desk[i].work == &w[i]);
		EXPECT_TRUE(w[i].desk == &o.desk[i]);
	}
	EXPECT_TRUE(!o.desk[DESKS - 1].work);
	EXPECT_TRUE(list_first(&o.waiting, struct work, node) == &w[4]);
}
