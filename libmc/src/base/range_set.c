// SPDX-License-Identifier: Apache-2.0
/* Small sets of ranges: a sorted array of disjoint ranges that never touch. */
#include "base/range.h"

void range_set_fini(struct range_set *s)
{
	free(s->r);
	*s = (struct range_set){ 0 };
}

static uint64_t end_of(const struct range *r)
{
	return r->off + r->len;
}

/* Index of the first range that ends after @off. */
static size_t first_after(const struct range_set *s, uint64_t off)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (end_of(&s->r[mid]) > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static int insert_at(struct range_set *s, size_t i, uint64_t off, uint64_t len)
{
	size_t cap = s->cap ? s->cap * 2 : 8;
	struct range *r;

	if (s->count == s->cap) {
		r = realloc(s->r, cap * sizeof(*r));
		if (!r)
			return -ENOMEM;
		s->r = r;
		s->cap = cap;
	}
	memmove(&s->r[i + 1], &s->r[i], (s->count - i) * sizeof(*s->r));
	s->r[i] = (struct range){ off, len };
	s->count++;
	return 0;
}

static void remove_at(struct range_set *s, size_t i)
{
	s->count--;
	memmove(&s->r[i], &s->r[i + 1], (s->count - i) * sizeof(*s->r));
}

int range_set_add(struct range_set *s, uint64_t off, uint64_t len)
{
	bool joins_prev, joins_next;
	uint64_t end;
	size_t i;
	int ret;

	if (check_add(off, len, &end))
		return -EINVAL;
	if (!len)
		return 0;
	i = first_after(s, off);
	if (i < s->count && s->r[i].off < end)
		return -EEXIST;
	joins_prev = i && end_of(&s->r[i - 1]) == off;
	joins_next = i < s->count && s->r[i].off == end;
	if (joins_prev) {
		s->r[i - 1].len += len + (joins_next ? s->r[i].len : 0);
		if (joins_next)
			remove_at(s, i);
	} else if (joins_next) {
		s->r[i].off = off;
		s->r[i].len += len;
	} else {
		ret = insert_at(s, i, off, len);
		if (ret)
			return ret;
	}
	s->bytes += len;
	return 0;
}

bool range_set_has(const struct range_set *s, uint64_t off, uint64_t len)
{
	size_t i = first_after(s, off);

	return !len || (i < s->count && off >= s->r[i].off &&
			range_inside(off - s->r[i].off, len, s->r[i].len));
}

int range_set_del(struct range_set *s, uint64_t off, uint64_t len)
{
	uint64_t head, tail;
	size_t i;
	int ret;

	if (!len)
		return 0;
	if (!range_set_has(s, off, len))
		return -ENOENT;
	i = first_after(s, off);
	head = off - s->r[i].off;
	tail = s->r[i].len - head - len;
	if (head && tail) {
		ret = insert_at(s, i + 1, off + len, tail);
		if (ret)
			return ret;
		s->r[i].len = head;
	} else if (head) {
		s->r[i].len = head;
	} else if (tail) {
		s->r[i] = (struct range){ off + len, tail };
	} else {
		remove_at(s, i);
	}
	s->bytes -= len;
	return 0;
}

/* The shortest range that is long enough, else the longest. */
static struct range *best_for(const struct range_set *s, uint64_t len)
{
	struct range *best = NULL;

	for (size_t i = 0; i < s->count; i++) {
		struct range *r = &s->r[i];
		bool enough = r->len >= len;

		if (!best || (enough ? best->len < len || r->len < best->len : r->len > best->len))
			best = r;
	}
	return best;
}

uint64_t range_set_cut(struct range_set *s, uint64_t len, uint64_t *off)
{
	struct range *r = best_for(s, len);

	if (!r || !len)
		return 0;
	len = MIN(len, r->len);
	*off = r->off;
	r->off += len;
	r->len -= len;
	s->bytes -= len;
	if (!r->len)
		remove_at(s, (size_t)(r - s->r));
	return len;
}
