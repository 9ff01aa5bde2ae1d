/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions of one store: found by key, counted, sealed, and given up when nobody uses them. */
#include "store/session.h"

#include "base/env.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "dev/dev.h"

const struct mc_key *session_key(const void *items, unsigned i)
{
	return &((const struct mc_session *)items)[i].key;
}

const struct mc_key *session_move_key(const void *items, unsigned i)
{
	return &((const struct mc_session_move *)items)[i].key;
}

/* ---- those that nobody uses ---------------------------------------------------------------------------------------- */

#define LOOKS 4 /* within the time that a session may idle */
#define GIVE_NS NSEC_PER_SEC /* for owners to hear of what goes back to them */

struct idling {
	struct sessions *ss;
	uint64_t now_ns;
	struct session *found;
	unsigned reads, writes;
};

static int take_idle(struct hnode *n, void *arg)
{
	struct session *x = container_of(n, struct session, node);
	struct idling *i = arg;

	if (x->refs > 1 || i->now_ns < x->used_ns || i->now_ns - x->used_ns < i->ss->idle_ns)
		return 0;
	htab_del(&i->ss->table, n);
	x->listed = false;
	x->next = i->found;
	i->found = x;
	i->reads += x->kind == SESSION_READ;
	i->writes += x->kind == SESSION_WRITE;
	return 0;
}

/* What was granted for them goes back to the owners: this client may write no more for a long time. */
void sessions_trim(struct mc_store *s, uint64_t deadline_ns)
{
	struct pool_set *set = pools_get(s);

	for (unsigned i = 0; i < set->nr; i++)
		if (set->pool[i]->attached && set->pool[i]->owner)
			grant_trim(set->pool[i], deadline_ns);
	pools_put(set);
}

static void give_up_idle(struct sessions *ss)
{
	struct idling idling = { .ss = ss, .now_ns = clock_now_ns() };
	struct session *x;

	pthread_mutex_lock(&ss->lock);
	htab_walk(&ss->table, take_idle, &idling);
	pthread_mutex_unlock(&ss->lock);
	if (!idling.found)
		return;
	log_warn_limited("%u put and %u get sessions that nobody used for %llu s are given up; end, or revoke, what is started",
			 idling.writes, idling.reads, (unsigned long long)(ss->idle_ns / NSEC_PER_SEC));
	while ((x = idling.found)) {
		idling.found = x->next;
		session_put(ss->store, x);
	}
	if (idling.writes)
		sessions_trim(ss->store, deadline_after_ns(GIVE_NS));
}

static void look_again(struct loop_timer *t)
{
	struct sessions *ss = container_of(t, struct sessions, again);

	give_up_idle(ss);
	pthread_mutex_lock(&ss->lock);
	/* Without memory for a timer the next session starts it anew. */
	ss->looking = ss->table.count && !loop_timer_set(ss->store->loop, t, clock_now_ns() + ss->idle_ns / LOOKS, look_again);
	pthread_mutex_unlock(&ss->lock);
}

static void look(struct loop_work *w)
{
	look_again(&container_of(w, struct sessions, look)->again);
}

static int stop_looking(void *arg)
{
	struct mc_store *s = arg;

	loop_timer_del(s->loop, &s->sessions->again);
	return 0;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------- */

/* What the program says counts more than the environment. */
static int take_limits(struct sessions *ss, const struct mc_store_opts *o)
{
	struct env env;
	int ret = env_open(&env);

	if (ret)
		return ret;
	ss->idle_ns = o->session_idle_ns ? o->session_idle_ns : env.store_session_idle_ns;
	ss->memory_max = o->session_bytes ? o->session_bytes : env.store_session_bytes;
	if (!ss->idle_ns)
		ss->idle_ns = SESSION_IDLE_NS;
	ss->idle_ns = MIN(ss->idle_ns, SESSION_IDLE_MAX_NS);
	env_close(&env);
	return 0;
}

int sessions_open(struct mc_store *s, const struct mc_store_opts *o)
{
	struct sessions *ss = calloc(1, sizeof(*ss));
	int ret = ss ? take_limits(ss, o) : -ENOMEM;

	if (ret) {
		free(ss);
		return ret;
	}
	ss->store = s;
	ss->look.fn = look;
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
	if (s->loop)
		loop_call(s->loop, stop_looking, s);
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
	bool look_after = false;
	int ret = -EEXIST;

	pthread_mutex_lock(&ss->lock);
	if (!find(ss, x->kind, &x->key, hash))
		ret = ss->table.count < SESSIONS_MAX ? htab_add(&ss->table, &x->node, hash) : -ENOMEM;
	if (!ret) {
		x->listed = true;
		x->refs++;
		look_after = !ss->looking;
		ss->looking = true;
	}
	pthread_mutex_unlock(&ss->lock);
	if (look_after)
		loop_post(s->loop, &ss->look);
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
	x->used_ns = clock_now_ns();
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

/* Looked up once, by who needs it first. */
static uint64_t memory_max(struct sessions *ss)
{
	uint64_t max;

	pthread_mutex_lock(&ss->lock);
	max = ss->memory_max;
	pthread_mutex_unlock(&ss->lock);
	if (max)
		return max;
	max = MAX(mem_available_bytes() / 4, (uint64_t)64 * MiB);
	pthread_mutex_lock(&ss->lock);
	ss->memory_max = max;
	pthread_mutex_unlock(&ss->lock);
	return max;
}

int session_memory_take(struct mc_store *s, uint64_t bytes, void **out)
{
	struct sessions *ss = s->sessions;
	uint64_t max = memory_max(ss), sum;
	bool fits;

	pthread_mutex_lock(&ss->lock);
	fits = !check_add(ss->memory, bytes, &sum) && sum <= max;
	if (fits)
		ss->memory = sum;
	pthread_mutex_unlock(&ss->lock);
	if (!fits)
		return -ENOSPC;
	*out = calloc(1, bytes);
	if (*out)
		return 0;
	session_memory_free(s, bytes, NULL);
	return -ENOMEM;
}

void session_memory_free(struct mc_store *s, uint64_t bytes, void *memory)
{
	free(memory);
	pthread_mutex_lock(&s->sessions->lock);
	s->sessions->memory -= bytes;
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

static void tell(struct mc_store *s, const char *what, const struct mc_key *key, int err)
{
	if (s->of_node)
		err_note("a client of a node has no sessions; setup() makes one that has");
	else
		note_session(what, key, err);
}

void session_tell(struct mc_store *s, const char *what, const struct mc_session *items, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (items[i].result) {
			tell(s, what, &items[i].key, items[i].result);
			return;
		}
}

void session_tell_moves(struct mc_store *s, const char *what, const struct mc_session_move *items, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (items[i].result < 0) {
			tell(s, what, &items[i].key, (int)items[i].result);
			return;
		}
}

int sessions_enter(struct mc_store *s, const void *items, unsigned nr, const struct mc_key *(*at)(const void *, unsigned),
		   struct keys *out)
{
	return s->of_node ? -EINVAL : keys_enter(s, items, nr, at, out);
}
