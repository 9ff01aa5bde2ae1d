// SPDX-License-Identifier: Apache-2.0
/*
 * The ledger: a page per writer with its process and the space it may write to. It lies in memory that outlives the owner, so that
 * after a crash the next one gives none of that space to others while the process lives. What it says is never less than the truth:
 * a page is written before its client is told of a grant, and commits are not noted at all, because the objects themselves show
 * which part is no longer the writer's.
 */
#include <unistd.h>

#include "pool/owner_private.h"

#define LEDGER_MAGIC 0x31304745444c434dULL /* "MCLEDG01" */
#define LEDGER_RUNS 256

struct ledger_half {
	uint32_t nr, pad;
	struct {
		uint64_t place, len;
	} run[LEDGER_RUNS];
};

/* Two halves, so that one is whole whenever the owner is killed. */
struct ledger_page {
	struct process_id who;
	_Atomic uint32_t live; /* 1, 2: which half holds; 0: nothing */
	uint32_t pad;
	struct ledger_half half[2];
};

struct ledger_file {
	uint64_t magic, pages;
	struct ledger_page page[LEDGER_PAGES];
};

int owner_ledger_region(unsigned flags, struct region *out)
{
	struct ledger_file *f;
	int ret;

	ret = region_create("mc-ledger", sizeof(*f), flags, -1, out);
	if (ret)
		return ret;
	f = out->base;
	f->magic = LEDGER_MAGIC;
	f->pages = LEDGER_PAGES;
	return 0;
}

int owner_ledger_create(int *fd)
{
	struct region r;
	int ret;

	ret = owner_ledger_region(0, &r);
	if (ret)
		return ret;
	*fd = dup(r.fd);
	ret = *fd < 0 ? -errno : 0;
	region_close(&r);
	return ret;
}

/* ---- writing ---- */

/* More runs than fit: neighbours are taken together with what lies between them. Too much is safe, too little is not. */
static void fill(struct ledger_half *half, const struct pool_holder *h)
{
	size_t count = 0, each;

	for (unsigned r = 0; r < POOL_REGIONS_MAX; r++)
		count += h->held[r].count + h->announced[r].count;
	each = count / (LEDGER_RUNS - 2 * POOL_REGIONS_MAX) + 1; /* a rest per set */
	half->nr = 0;
	for (unsigned r = 0; r < 2 * POOL_REGIONS_MAX; r++) {
		const struct range_set *s = r % 2 ? &h->announced[r / 2] : &h->held[r / 2];

		for (size_t i = 0; i < s->count; i += each) {
			size_t last = MIN(i + each, s->count) - 1;

			half->run[half->nr].place = place_pack((uint16_t)(r / 2), s->r[i].off);
			half->run[half->nr++].len = s->r[last].off + s->r[last].len - s->r[i].off;
		}
	}
}

void ledger_note(struct client *c)
{
	struct ledger *l = &c->ow->ledger;
	struct ledger_page *p;
	uint32_t next;

	if (c->page < 0)
		return;
	p = &l->file->page[c->page];
	next = atomic_load_explicit(&p->live, memory_order_relaxed) == 1 ? 2 : 1;
	fill(&p->half[next - 1], c->holder);
	/* Release: whoever finds the number finds what was filled. Its reader comes after our death, so this is for the compiler. */
	atomic_store_explicit(&p->live, p->half[next - 1].nr ? next : 0, memory_order_release);
}

int ledger_enter(struct client *c)
{
	struct ledger *l = &c->ow->ledger;
	struct ledger_page *p;
	int ret;

	if (!l->file)
		return 0;
	if (!l->nr_unused)
		return -EMFILE;
	p = &l->file->page[l->unused[l->nr_unused - 1]];
	atomic_store_explicit(&p->live, 0, memory_order_release);
	ret = process_identify(c->cred.pid, &p->who); /* its pidfd is open: should the number pass on, that one tells first */
	if (ret)
		return ret;
	c->page = l->unused[--l->nr_unused];
	return 0;
}

void ledger_leave(struct client *c)
{
	struct ledger *l = &c->ow->ledger;

	if (c->page < 0)
		return;
	atomic_store_explicit(&l->file->page[c->page].live, 0, memory_order_release);
	l->unused[l->nr_unused++] = (uint16_t)c->page;
	c->page = -1;
}

/* ---- reading what an earlier owner wrote ---- */

static int hold_runs(struct client *c, const struct ledger_half *half)
{
	uint32_t nr = MIN(half->nr, (uint32_t)LEDGER_RUNS);

	for (uint32_t i = 0; i < nr; i++) {
		struct grant_run run = { place_region(half->run[i].place), place_off(half->run[i].place), half->run[i].len };
		int ret = pool_hold(c->ow->pool, c->holder, &run);

		if (ret)
			return ret;
	}
	return 0;
}

/* What a client leaves behind whose stream ended; only the stream is an earlier owner's. */
static int inherit(struct owner *ow, unsigned page, uint32_t live)
{
	const struct ledger_page *p = &ow->ledger.file->page[page];
	struct client *c;
	int fd, ret;

	ret = process_pidfd(p->who.pid, &fd);
	if (ret)
		return ret == -ESRCH ? 0 : ret;
	if (!process_alive(&p->who)) { /* asked after its number was pinned */
		close(fd);
		return 0;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = (struct client){ .ow = ow, .local = true, .page = (int)page, .cred.pid = p->who.pid, .exit.fd = -1 };
	list_append(&ow->clients, &c->node);
	ow->nr_clients++;
	ret = client_watch(c, fd);
	if (!ret) {
		c->holder = malloc(sizeof(*c->holder));
		ret = c->holder ? 0 : -ENOMEM;
	}
	if (!ret) {
		pool_holder_init(c->holder);
		ret = hold_runs(c, &p->half[live - 1]);
	}
	if (!ret) {
		log_info("owner: process %d may still write to %llu bytes that an earlier owner granted it", c->cred.pid,
			 (unsigned long long)client_held_bytes(c));
		client_release(c); /* all of it was committed: nothing to wait for */
	}
	return ret;
}

static bool page_in_use(const struct owner *ow, unsigned page)
{
	const struct client *c;

	list_for_each_entry(c, &ow->clients, node)
		if (c->page == (int)page)
			return true;
	return false;
}

int ledger_open(struct owner *ow, int fd)
{
	struct ledger *l = &ow->ledger;
	int copy, ret = 0;

	if (!fd)
		return 0;
	copy = dup(fd);
	if (copy < 0)
		return -errno;
	ret = region_map(copy, sizeof(*l->file), true, &l->region);
	if (ret)
		return ret;
	l->file = l->region.base;
	if (l->file->magic != LEDGER_MAGIC || l->file->pages != LEDGER_PAGES)
		return -EPROTO;
	for (unsigned i = 0; !ret && i < LEDGER_PAGES; i++) {
		uint32_t live = atomic_load_explicit(&l->file->page[i].live, memory_order_acquire);

		if (live == 1 || live == 2)
			ret = inherit(ow, i, live);
	}
	if (ret)
		return ret;
	l->nr_unused = 0;
	for (unsigned i = LEDGER_PAGES; i--;) {
		if (page_in_use(ow, i))
			continue;
		atomic_store_explicit(&l->file->page[i].live, 0, memory_order_release);
		l->unused[l->nr_unused++] = (uint16_t)i;
	}
	return 0;
}

void ledger_close(struct owner *ow)
{
	if (ow->ledger.file)
		region_close(&ow->ledger.region);
	ow->ledger.file = NULL;
}
