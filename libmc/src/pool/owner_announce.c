// SPDX-License-Identifier: Apache-2.0
/*
 * Objects whose client is still writing them. Nobody tells when it is done: a look at the header does, whenever something else is
 * about to happen, and every millisecond. What takes too long is revoked; its writer finds out by itself.
 */
#include "pool/owner_private.h"

struct writing {
	struct list node; /* of announcer.writing */
	struct client *client;
	struct staged *s;
	uint64_t deadline_ns;
};

static void end(struct writing *w, enum announced how)
{
	struct client *c = w->client;
	struct owner *ow = c->ow;
	const struct publish_item *it = staged_item(w->s);

	if (how == ANNOUNCED_STORED) {
		ow->count.committed++;
		stored_add(ow, &it->key, it->loc.gen);
	} else if (how == ANNOUNCED_GONE) {
		withdraw_add(ow, &it->key, it->loc.gen);
	}
	pool_announced_free(ow->pool, w->s);
	list_del(&w->node);
	free(w);
	c->pending--;
}

static void looked(struct loop_timer *t)
{
	struct owner *ow = container_of(t, struct owner, announce.look);

	announce_look(ow);
	if (!list_empty(&ow->announce.writing) &&
	    loop_timer_set(ow->loop, t, clock_now_ns() + ANNOUNCE_LOOK_NS, looked))
		log_err_limited("owner: no memory for a timer: an announced object waits for the next message");
}

void announce_look(struct owner *ow)
{
	uint64_t now = list_empty(&ow->announce.writing) ? 0 : clock_now_ns();
	struct writing *w, *tmp;

	list_for_each_entry_safe(w, tmp, &ow->announce.writing, node) {
		enum announced how = pool_announced_look(ow->pool, w->s);
		struct client *c = w->client;

		if (how == ANNOUNCED_WRITING && now > w->deadline_ns)
			how = pool_announced_end(ow->pool, w->s, !c->exited);
		if (how == ANNOUNCED_WRITING)
			continue;
		end(w, how);
		if (!c->conn)
			client_release(c);
		owner_check(ow);
	}
}

void announce_add(struct client *c, struct staged *s, uint64_t bytes)
{
	struct owner *ow = c->ow;
	struct announcer *a = &ow->announce;
	struct writing *w = malloc(sizeof(*w));

	pool_publish(ow->pool, s);
	if (!w || (!a->look.slot && loop_timer_set(ow->loop, &a->look, clock_now_ns() + ANNOUNCE_LOOK_NS, looked))) {
		/* Its writer does it again, in the ordinary way. */
		withdraw_add(ow, &staged_item(s)->key, staged_item(s)->loc.gen);
		pool_announced_end(ow->pool, s, !c->exited);
		pool_announced_free(ow->pool, s);
		free(w);
		return;
	}
	*w = (struct writing){
		.client = c,
		.s = s,
		.deadline_ns = deadline_after_ns(a->patience_ns + bytes / MiB * ANNOUNCE_MIB_NS),
	};
	list_append(&a->writing, &w->node);
	c->pending++;
	if (c->exited)
		end(w, pool_announced_end(ow->pool, s, false));
}

void announce_exited(struct client *c)
{
	struct writing *w, *tmp;

	list_for_each_entry_safe(w, tmp, &c->ow->announce.writing, node)
		if (w->client == c)
			end(w, pool_announced_end(c->ow->pool, w->s, false));
}

void announce_forget(struct client *c)
{
	struct writing *w, *tmp;

	list_for_each_entry_safe(w, tmp, &c->ow->announce.writing, node)
		if (w->client == c)
			end(w, ANNOUNCED_WRITING);
}
