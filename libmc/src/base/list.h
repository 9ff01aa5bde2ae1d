/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked lists: the node lives in the object, so nothing is allocated and removal is O(1). */
#ifndef MC_LIST_H
#define MC_LIST_H

#include <stdbool.h>

#include "base/base.h"

/*
 * A node is read as part of whatever it is in, and the head is in something else: gcc 12 takes these for
 * different memory at -O2, and keeps what it read of a list over a change of it.
 */
struct list {
	struct list *next, *prev;
} __attribute__((may_alias));

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_(struct list *node, struct list *prev, struct list *next)
{
	node->prev = prev;
	node->next = next;
	prev->next = node;
	next->prev = node;
}

/* At the front of @head. */
static inline void list_push(struct list *head, struct list *node)
{
	list_insert_(node, head, head->next);
}

/* At the back of @head. */
static inline void list_append(struct list *head, struct list *node)
{
	list_insert_(node, head->prev, head);
}

/* Out of whatever list it is in. The node is left as an empty list, so a second call does nothing. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* All of @from to the back of @to; @from is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)

#define list_first(head, type, member) \
	(list_empty(head) ? NULL : list_entry((head)->next, type, member))

#define list_for_each_entry(pos, head, member)                                         \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head); \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* @pos may be removed or freed in the body; @tmp is a second cursor of the same type. */
#define list_for_each_entry_safe(pos, tmp, head, member)                                   \
	for (pos = list_entry((head)->next, __typeof__(*pos), member),                     \
	    tmp = list_entry(pos->member.next, __typeof__(*pos), member);                  \
	     &pos->member != (head);                                                       \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))

#endif
