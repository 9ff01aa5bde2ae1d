/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions of one store: found by key, counted, sealed. */
#include "store/session.h"

#include "base/hash.h"
#include "base/thread.h"

const struct mc_key *session_key(const void *items, unsigned i)
{
	return &((const struct mc_session *)items)[i].key;
}

const struct mc_key *session_move_key(const void *items, unsigned i)
{
	return &((const struct mc_session_move *)items)[i].key;
}

int sessions_open(struct mc_store *s)
{
	struct sessions *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return -ENOMEM;
	random_bytes(&ss->hash, sizeof(ss->hash));
	pthread_mutex_init(&ss->lock, NULL);
	pthread_cond_init(&ss->idle, NULL);
	s->sessions = ss;
	return 0;
}

struct closing {
	struct mc_store *s;
	struct htab *table;
};

static int close_one(struct hnode *n, void *arg)
{
	struct session *x = container_of(n, struct session, node);
	struct closing *c = arg;

	htab_del(c->table, n);
	x->listed = false;
	session_put(c->s, x);
	return 0;
}

void sessions_close(struct mc_store *s)
{
	struct sessions *ss = s->sessions;

	if (!ss)
		return;
	htab_walk(&ss->table, close_one, &(struct closing){ s, &ss->table });
	htab_fini(&ss->table);
	pthread_cond_destroy(&ss->idle);
	pthread_mutex_destroy(&ss->lock);
	free(ss);
	s->sessions = NULL;
}

int session_init(struct session *x, enum session_kind kind, const struct key *key,
		 void (*free_fn)(struct mc_store *s, struct session *x))
{
	void *copy = malloc(key->len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, key->data, key->len);
	x->key = (struct key){ copy, key->len };
	x->kind = kind;
	x->refs = 1;
	x->free = free_fn;
	return 0;
}

/* With the lock. */
static struct session *find(struct sessions *ss, enum session_kind kind, const struct key *key, uint64_t hash)
{
	for (struct hnode *n = htab_first(&ss->table, hash); n; n = htab_next(n)) {
		struct session *x = container_of(n, struct session, node);

		if (x->kind == kind && x->key.len == key->len && !memcmp(x->key.data, key->data, key->len))
			return x;
	}
	return NULL;
}

static uint64_t hash_of(const struct sessions *ss, const struct key *key)
{
	return siphash64(&ss->hash, key->data, key->len);
}

int session_add(struct mc_store *s, struct session *x)
{
	struct sessions *ss = s->sessions;
	uint64_t hash = hash_of(ss, &x->key);
	int ret = -EEXIST;

	pthread_mutex_lock(&ss->lock);
	if (!find(ss, x->kind, &x->key, hash))
		ret = htab_add(&ss->table, &x->node, hash);
	if (!ret) {
		x->listed = true;
		x->refs++;
	}
	pthread_mutex_unlock(&ss->lock);
	return ret;
}

struct session *session_get(struct mc_store *s, enum session_kind kind, const struct key *key)
{
	struct sessions *ss = s->sessions;
	struct session *x;

	pthread_mutex_lock(&ss->lock);
	x = find(ss, kind, key, hash_of(ss, key));
	if (x)
		x->refs++;
	pthread_mutex_unlock(&ss->lock);
	return x;
}

void session_put(struct mc_store *s, struct session *x)
{
	void *key;
	bool last;

	if (!x)
		return;
	pthread_mutex_lock(&s->sessions->lock);
	last = !--x->refs;
	pthread_mutex_unlock(&s->sessions->lock);
	if (!last)
		return;
	key = (void *)x->key.data;
	x->free(s, x);
	free(key);
}

void session_drop(struct mc_store *s, struct session *x)
{
	struct sessions *ss = s->sessions;
	bool was;

	pthread_mutex_lock(&ss->lock);
	was = x->listed;
	if (was)
		htab_del(&ss->table, &x->node);
	x->listed = false;
	pthread_mutex_unlock(&ss->lock);
	if (was)
		session_put(s, x);
}

bool session_enter(struct mc_store *s, struct session *x)
{
	bool ok;

	pthread_mutex_lock(&s->sessions->lock);
	ok = !x->sealed;
	x->writers += ok;
	pthread_mutex_unlock(&s->sessions->lock);
	return ok;
}

void session_leave(struct mc_store *s, struct session *x)
{
	pthread_mutex_lock(&s->sessions->lock);
	if (!--x->writers && x->sealed)
		pthread_cond_broadcast(&s->sessions->idle);
	pthread_mutex_unlock(&s->sessions->lock);
}

int session_seal(struct mc_store *s, struct session *x, uint64_t deadline_ns)
{
	struct sessions *ss = s->sessions;
	int ret = 0;

	pthread_mutex_lock(&ss->lock);
	if (x->sealed || !x->listed) {
		ret = -EINVAL;
	} else {
		x->sealed = true;
		while (x->writers && !ret)
			ret = cond_wait_until(&ss->idle, &ss->lock, deadline_ns);
		x->sealed = !ret;
	}
	pthread_mutex_unlock(&ss->lock);
	return ret;
}

void session_unseal(struct mc_store *s, struct session *x)
{
	pthread_mutex_lock(&s->sessions->lock);
	x->sealed = false;
	pthread_mutex_unlock(&s->sessions->lock);
}

int session_parts(const struct mc_session_move *m, uint64_t size, uint64_t *sum)
{
	*sum = 0;
	for (unsigned i = 0; i < m->nr; i++) {
		const struct mc_part *p = &m->parts[i];

		if (p->len && !p->addr)
			return -EINVAL;
		if (!range_inside(p->off, p->len, size) || check_add(*sum, p->len, sum) || *sum > INT64_MAX)
			return -ERANGE;
	}
	return 0;
}

void session_tell(const char *what, const struct mc_session *items, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (items[i].result) {
			note_session(what, &items[i].key, items[i].result);
			return;
		}
}

void session_tell_moves(const char *what, const struct mc_session_move *items, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (items[i].result < 0) {
			note_session(what, &items[i].key, (int)items[i].result);
			return;
		}
}
