/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a store, and the door every call goes through. */
#include "store/session.h"

#include <linux/futex.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/env.h"
#include "base/fork.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/opts.h"
#include "engine/engine.h"

#define MASTER_DEFAULT "127.0.0.1:50051"
#define NAME_PORT_MIN 12300 /* where clients without a pool take the port of their name from, when that is not said well */
#define NAME_PORT_MAX 14300
#define CACHE_ENTRIES 65536

uint64_t store_deadline(const struct mc_store *s, uint64_t deadline_ns)
{
	return deadline_ns ? deadline_ns : deadline_after_ns(s->timeout_ns);
}

#define PUT_STEP    0x9e3779b97f4a7c15ULL
#define PUT_UNSTEP  0xf1de83e19937733dULL /* times PUT_STEP it is 1 */

uint64_t store_put_id(struct mc_store *s)
{
	uint64_t n = atomic_fetch_add_explicit(&s->next_put, 1, memory_order_relaxed) + 1;
	uint64_t id = (s->put_salt ^ n * PUT_STEP);

	return id ? id : 1;
}

/* Of another store's ids one in 2^64 / next_put looks like ours. */
bool store_put_is_ours(const struct mc_store *s, uint64_t put_id)
{
	uint64_t n = (put_id ^ s->put_salt) * PUT_UNSTEP;

	return n && n <= atomic_load_explicit(&s->next_put, memory_order_relaxed);
}

int store_enter(struct mc_store *s)
{
	if (unlikely(s->fork_gen != fork_generation())) {
		log_err_limited("a store cannot be used in a forked child; open one there after the fork");
		err_note("the store was opened before a fork, by the parent; open one here");
		return -EPERM;
	}
	/* One word for both: who closes sees this call, or is seen by it. */
	if (unlikely(atomic_fetch_add_explicit(&s->users, 1, memory_order_relaxed) & STORE_CLOSING)) {
		store_leave(s);
		err_note("the store is being closed");
		return -ESHUTDOWN;
	}
	return 0;
}

/* The last one out when the store closes says so. By then @s may be gone, which the kernel, asked by address, does not mind. */
void store_leave(struct mc_store *s)
{
	if (unlikely(atomic_load_explicit(&s->any_parked, memory_order_relaxed)))
		buffers_unpark(s);
	if (unlikely(atomic_fetch_sub_explicit(&s->users, 1, memory_order_release) == (STORE_CLOSING | 1)))
		syscall(SYS_futex, &s->users, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Return: is everybody out? */
static bool await_leaving(struct mc_store *s, uint64_t deadline_ns)
{
	struct timespec ts = timespec_of(deadline_ns);
	uint32_t users;

	while ((users = atomic_load_explicit(&s->users, memory_order_acquire)) & ~STORE_CLOSING) {
		if (deadline_passed(deadline_ns))
			return false;
		syscall(SYS_futex, &s->users, FUTEX_WAIT_BITSET_PRIVATE, users, &ts, NULL, FUTEX_BITSET_MATCH_ANY);
	}
	return true;
}

/* ---- engine --------------------------------------------------------------------------------------------------------- */

/* Those it was given; or, when it is to look for them itself, those of MC_MS_FILTERS, which may be all. */
static const char *choose_devices(const struct mc_store *s, const struct env *env)
{
	bool look = env_given(env, "MC_MS_AUTO_DISC") ? env->ms_auto_disc : !s->devices[0];

	return look ? env->ms_filters : s->devices;
}

static int open_engine(struct mc_store *s, uint32_t flags, uint64_t deadline_ns, struct mc_engine **out)
{
	struct mc_engine_opts o = {
		.size = sizeof(o),
		.local_name = s->name,
		.metadata = s->metadata[0] ? s->metadata : NULL,
		.protocol = s->protocol[0] ? s->protocol : NULL,
		.flags = flags,
		.deadline_ns = deadline_ns,
	};
	struct env env;
	int ret = env_open(&env);

	if (ret)
		return ret;
	o.devices = choose_devices(s, &env);
	ret = mc_engine_open(&o, out);
	env_close(&env);
	return ret;
}

static int open_first_engine(struct mc_store *s, uint32_t flags, uint64_t deadline_ns)
{
	int ret = open_engine(s, flags, deadline_ns, &s->engine);

	s->engine_ours = !ret;
	return ret;
}

int store_engine(struct mc_store *s, struct mc_engine **out)
{
	int ret = 0;

	pthread_mutex_lock(&s->engine_lock);
	if (!s->engine)
		ret = open_first_engine(s, MC_ENGINE_CLIENT, 0);
	*out = s->engine;
	pthread_mutex_unlock(&s->engine_lock);
	return ret;
}

int store_serving_engine(struct mc_store *s, uint64_t deadline_ns, struct mc_engine **out)
{
	int ret = 0;

	pthread_mutex_lock(&s->engine_lock);
	if (!s->engine)
		ret = open_first_engine(s, 0, deadline_ns);
	else if (!mc_engine_rpc_port(s->engine) && !s->serving)
		ret = open_engine(s, 0, deadline_ns, &s->serving);
	*out = s->serving ? s->serving : s->engine;
	pthread_mutex_unlock(&s->engine_lock);
	return ret;
}

/* ---- opening -------------------------------------------------------------------------------------------------------- */

static int copy_opt(char *to, size_t size, const char *from, const char *deflt, const char *what)
{
	if (!from || !*from)
		from = deflt;
	if (strlen(from) >= size) {
		log_err("%s is longer than %zu characters", what, size - 1);
		return -EINVAL;
	}
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static bool lists(const char *list, const char *word)
{
	size_t n = strlen(word);

	if (!*list)
		return true;
	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

/* Every address of this machine is none that others can use: this client is called by the one from which the master is reached. */
static int concrete_name(struct mc_store *s, uint16_t port)
{
	struct net_addr master;
	bool known;
	int len;

	if (!net_host_is_any(s->host) || s->ops == &embedded_ops)
		return 0;
	known = !net_addr_parse(s->master.addr, MASTER_PORT, &master);
	if (net_own_host(known ? &master : NULL, s->host, sizeof(s->host)))
		strcpy(s->host, "127.0.0.1"); /* there is nobody else then */
	len = snprintf(s->name, sizeof(s->name), strchr(s->host, ':') ? "[%s]" : "%s", s->host);
	if (port)
		len += snprintf(s->name + len, sizeof(s->name) - (size_t)len, ":%u", port);
	log_info("local_name means every address: others are told %s", s->name);
	return len < (int)sizeof(s->name) ? 0 : -EINVAL;
}

static int take_opts(struct mc_store *s, const struct mc_store_opts *o)
{
	uint16_t port;
	int ret;

	ret = copy_opt(s->name, sizeof(s->name), o->local_name, "127.0.0.1", "local_name");
	if (!ret)
		ret = net_split_host_port(s->name, s->host, sizeof(s->host), &port);
	if (!ret)
		ret = concrete_name(s, port);
	if (!ret)
		ret = copy_opt(s->tenant, sizeof(s->tenant), o->tenant, "", "tenant");
	if (!ret && !strcmp(s->tenant, "default"))
		s->tenant[0] = 0;
	if (!ret)
		ret = copy_opt(s->metadata, sizeof(s->metadata), o->metadata, "", "metadata");
	if (!ret)
		ret = copy_opt(s->protocol, sizeof(s->protocol), o->protocol, "", "protocol");
	if (!ret) /* the engine may be opened much later, or never */
		ret = mc_engine_protocol(s->protocol) == -EPROTONOSUPPORT ? -EPROTONOSUPPORT : 0;
	if (!ret)
		ret = copy_opt(s->devices, sizeof(s->devices), o->devices, "", "devices");
	if (!ret)
		ret = copy_opt(s->transports, sizeof(s->transports), o->transports, "", "transports");
	s->map_ok = lists(s->transports, "local");
	s->remote_ok = !*s->transports || lists(s->transports, "tcp");
	s->timeout_ns = o->timeout_ns ? o->timeout_ns : STORE_TIMEOUT_NS;
	return ret;
}

struct ports {
	unsigned min, max;
};

static int name_ports(struct ports *out)
{
	struct env env;
	int ret = env_open(&env);

	if (ret)
		return ret;
	*out = (struct ports){ (unsigned)env.store_client_min_port, (unsigned)env.store_client_max_port };
	env_close(&env);
	if (out->min <= out->max)
		return 0;
	log_warn("MC_STORE_CLIENT_MIN_PORT is above MC_STORE_CLIENT_MAX_PORT; the defaults are used");
	*out = (struct ports){ NAME_PORT_MIN, NAME_PORT_MAX };
	return 0;
}

/*
 * A name nobody else on this host has: a port bound for as long as the store lives, listened on by nobody. Whatever the host part
 * says, it is this host, and its loopback address is where all its clients meet.
 */
static int reserve_name(struct mc_store *s)
{
	struct ports p;
	uint16_t port, r;
	int fd, len, ret;

	if (net_split_host_port(s->name, s->host, sizeof(s->host), &port) || port)
		return 0;
	ret = name_ports(&p);
	if (ret)
		return ret;
	random_bytes(&r, sizeof(r));
	for (unsigned i = 0; i <= p.max - p.min; i++) {
		struct sockaddr_in a = { .sin_family = AF_INET };

		port = (uint16_t)(p.min + (r + i) % (p.max - p.min + 1));
		a.sin_port = htons(port);
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		if (!bind(fd, (struct sockaddr *)&a, sizeof(a))) {
			s->name_fd = fd;
			len = snprintf(s->name, sizeof(s->name), strchr(s->host, ':') ? "[%s]:%u" : "%s:%u", s->host, port);
			return len < (int)sizeof(s->name) ? 0 : -EINVAL;
		}
		close(fd);
	}
	log_err("no free port from %u to %u for the name of this client (MC_STORE_CLIENT_MIN_PORT, MC_STORE_CLIENT_MAX_PORT)", p.min,
		p.max);
	return -EADDRINUSE;
}

/* A pool that outlives this process, where the machine can do that; else @oo stays as it is, and the owner makes one. */
static int open_named_pool(const struct mc_store_opts *o, struct owner_opts *oo)
{
	struct pool_opts po = oo->pool_opts;
	struct pool_found f;
	int fd = -1, ret;

	if (!o->pool_name || !*o->pool_name)
		return 0;
	po.keep = o->pool_name;
	ret = pool_open_kept(&po, &oo->pool, &fd, &f);
	if (!ret) {
		oo->ledger_fd = fd;
		if (f.found)
			log_info("took over %llu objects of pool %s; its last owner %s", (unsigned long long)f.kept, po.keep,
				 f.clean ? "left in order" : "died, so every header was checked");
		return 0;
	}
	if (ret == -EBUSY)
		log_err("pool %s is served by another process", po.keep);
	if (ret == -EBUSY || ret == -EINVAL)
		return ret;
	log_info("pool %s goes with this process: %s", po.keep,
		 ret == -EOPNOTSUPP ? "only /dev/mooncake keeps pools" : strerror(-ret));
	return 0;
}

static int start_owner(struct mc_store *s, const struct mc_store_opts *o, struct owner_opts *oo)
{
	int ret = open_named_pool(o, oo);

	if (!ret)
		ret = owner_open(oo, &s->owner);
	if (oo->ledger_fd)
		close(oo->ledger_fd); /* the owner has its own */
	if (ret && oo->pool)
		pool_close(oo->pool);
	return ret;
}

/* Contributes a pool: an engine that peers can reach, and an owner on a thread of its own. */
static int open_pool(struct mc_store *s, const struct mc_store_opts *o, uint64_t deadline_ns)
{
	char listen[NET_ADDR_TEXT];
	struct owner_opts oo = {
		.pool_opts = { .name = "mooncake-pool", .bytes = o->pool_bytes, .region_flags = REGION_POPULATE | REGION_HUGE,
			       .spread = true },
		.master = s->master.addr,
		.listen = listen,
	};
	const struct pool_view *v;
	struct mc_range ranges[POOL_REGIONS_MAX];
	struct spool *p;
	int ret;

	if (!s->engine) {
		ret = open_first_engine(s, 0, deadline_ns);
		if (ret)
			return ret;
	}
	snprintf(s->name, sizeof(s->name), "%s", mc_engine_name(s->engine));
	snprintf(listen, sizeof(listen), strchr(s->host, ':') ? "[%s]:0" : "%s:0", s->host);
	oo.segment = s->name;
	/* Populating a large pool takes its time, which is not the master's: unless the caller set a deadline, it starts anew. */
	ret = start_owner(s, o, &oo);
	if (ret) {
		log_err("no pool of %llu bytes: %s", (unsigned long long)o->pool_bytes, strerror(-ret));
		return ret;
	}
	deadline_ns = o->deadline_ns ? o->deadline_ns : store_deadline(s, 0);
	v = owner_view(s->owner);
	for (uint32_t i = 0; i < v->nr_regions; i++)
		ranges[i] = (struct mc_range){ v->region[i].base, v->region[i].size };
	ret = mc_region_add_many(s->engine, ranges, v->nr_regions, NULL);
	if (ret) {
		log_err("the pool cannot be registered for other nodes: %s", strerror(-ret));
		return ret;
	}
	for (uint32_t i = 0; i < v->nr_regions; i++)
		s->served[i] = ranges[i].addr;
	s->nr_served = v->nr_regions;
	ret = owner_joined(s->owner, deadline_ns);
	if (ret) {
		log_err("the master at %s does not take the pool in: %s", s->master.addr, strerror(-ret));
		return ret;
	}
	ret = s->map_ok ? pools_attach(s, owner_unix_path(s->owner), &p, deadline_ns) : 0;
	if (ret)
		log_err("this client cannot map its own pool through %s: %s", owner_unix_path(s->owner), strerror(-ret));
	return ret;
}

static int open_cluster(struct mc_store *s, const struct mc_store_opts *o, uint64_t deadline_ns)
{
	struct link_conn *c;
	int ret;

	ret = cache_open(CACHE_ENTRIES, &s->cache);
	if (!ret)
		ret = mounts_open(&s->mounts);
	if (ret)
		return ret;
	ret = link_get(&s->master, deadline_ns, &c);
	if (ret) {
		log_err("no master at %s: %s; start mooncake-master there or name another address", s->master.addr, strerror(-ret));
		return ret;
	}
	link_put(&s->master, c);
	ret = o->pool_bytes ? open_pool(s, o, deadline_ns) : reserve_name(s);
	if (ret)
		return ret;
	ret = pools_refresh(s, true, store_deadline(s, o->deadline_ns));
	if (ret)
		log_err("the master at %s does not say which pools there are: %s", s->master.addr, strerror(-ret));
	return ret;
}

static void init_locks(struct mc_store *s)
{
	pthread_mutex_init(&s->engine_lock, NULL);
	pthread_mutex_init(&s->refresh_lock, NULL);
	pthread_spin_init(&s->set_lock, PTHREAD_PROCESS_PRIVATE);
	pthread_rwlock_init(&s->buffers_lock, NULL);
}

/* Before the memory goes; waits for what peers are reading. The engine may be the caller's, and stay. */
static void unserve(void *arg)
{
	struct mc_store *s = arg;

	if (s->nr_served)
		mc_region_del_many(s->engine, s->served, s->nr_served);
}

static void destroy(struct mc_store *s, uint64_t deadline_ns)
{
	sessions_close(s); /* what they have of pools goes back first */
	pools_fini(s);
	mounts_close(s->mounts);
	owner_close_then(s->owner, deadline_ns, unserve, s);
	embedded_close(s);
	mc_engine_close(s->serving);
	if (s->engine_ours)
		mc_engine_close(s->engine);
	link_fini(&s->master);
	loop_close(s->loop);
	cache_close(s->cache);
	buffers_fini(s);
	stats_close(s->stats);
	if (s->name_fd >= 0)
		close(s->name_fd);
	pthread_rwlock_destroy(&s->buffers_lock);
	pthread_spin_destroy(&s->set_lock);
	pthread_mutex_destroy(&s->refresh_lock);
	pthread_mutex_destroy(&s->engine_lock);
	free(s);
}

/* A caller built against a newer header may know options that this library does not: unless they are zero, say so. */
static int check_size(const struct mc_store_opts *opts, struct mc_store_opts *o)
{
	int ret = opts ? opts_take(opts, offsetof(struct mc_store_opts, metadata), o, sizeof(*o)) : -EINVAL;

	if (!ret && o->flags & ~MC_STORE_OF_NODE)
		ret = -EINVAL;
	if (!ret && o->flags && (o->pool_bytes || (o->master && !strcmp(o->master, "embedded")))) {
		log_err("a client of a node has no memory of its own and needs the node's master");
		ret = -EINVAL;
	}
	return ret;
}

/* A blank master numbers pools anew, and counts its views from the start. */
static void master_renewed(struct link *l)
{
	struct mc_store *s = container_of(l, struct mc_store, master);

	atomic_store(&s->view_known, 0);
}

int mc_store_open(const struct mc_store_opts *opts, struct mc_store **out)
{
	const char *master;
	struct mc_store_opts o;
	struct pool_set *none;
	uint64_t deadline_ns;
	struct mc_store *s;
	int ret;

	ret = check_size(opts, &o);
	if (ret)
		return ret;
	s = calloc(1, sizeof(*s));
	none = calloc(1, sizeof(*none));
	if (!s || !none) {
		free(none);
		free(s);
		return -ENOMEM;
	}
	atomic_init(&none->refs, 1);
	s->set = none;
	s->name_fd = -1;
	s->fork_gen = fork_watch();
	s->engine = o.engine;
	s->of_node = o.flags & MC_STORE_OF_NODE;
	init_locks(s);
	random_bytes(s->id, sizeof(s->id));
	random_bytes(&s->put_salt, sizeof(s->put_salt));
	node_id(s->node);
	master = o.master && *o.master ? o.master : MASTER_DEFAULT;
	s->ops = strcmp(master, "embedded") ? &cluster_ops : &embedded_ops;

	ret = link_init(&s->master, s, master, ROLE_CLIENT);
	s->master.renewed = master_renewed;
	if (!ret)
		ret = stats_open(&s->stats);
	if (!ret)
		ret = sessions_open(s, &o);
	if (!ret)
		ret = take_opts(s, &o);
	if (!ret)
		ret = loop_open(&s->loop);
	if (!ret)
		ret = loop_start(s->loop, "mc-store");
	deadline_ns = store_deadline(s, o.deadline_ns);
	if (!ret && s->ops == &embedded_ops) {
		ret = reserve_name(s);
		if (!ret)
			ret = embedded_open(s, o.pool_bytes);
	} else if (!ret) {
		ret = open_cluster(s, &o, deadline_ns);
	}
	if (ret) {
		destroy(s, deadline_after_ms(1000));
		return ret;
	}
	*out = s;
	return 0;
}

/* An owner that does not answer keeps nobody from closing. What it granted stays ours until this process ends. */
static void cut_owners(const struct pool_set *set)
{
	for (unsigned i = 0; i < set->nr; i++)
		if (set->pool[i]->attached && set->pool[i]->owner)
			shutdown(mux_fd(set->pool[i]->owner), SHUT_RDWR);
}

void mc_store_shutdown(struct mc_store *s)
{
	struct pool_set *set;

	if (s->fork_gen != fork_generation())
		return;
	set = pools_get(s);
	if (atomic_exchange(&s->closing, true)) {
		cut_owners(set);
	} else {
		atomic_fetch_or(&s->users, STORE_CLOSING);
		/* Calls wait on streams: end those, and each call returns. */
		link_shutdown(&s->master);
		for (unsigned i = 0; i < set->nr; i++)
			if (!set->pool[i]->attached)
				link_shutdown(&set->pool[i]->remote);
	}
	pools_put(set);
}

#define CLOSE_NS NSEC_PER_SEC	     /* calls that wait for an owner on this node have so long to hear of it */
#define CLOSE_MAX_NS (30 * NSEC_PER_SEC) /* no call can wait for anything any more */

void mc_store_close(struct mc_store *s)
{
	/* A child has neither the threads nor the right to end its parent's streams. */
	if (!s || s->fork_gen != fork_generation())
		return;
	mc_store_shutdown(s);
	if (!await_leaving(s, deadline_after_ns(CLOSE_NS))) {
		mc_store_shutdown(s);
		if (!await_leaving(s, deadline_after_ns(CLOSE_MAX_NS))) {
			log_err("a call does not leave the store %s that is closed: its memory stays; please report this", s->name);
			return;
		}
	}
	destroy(s, deadline_after_ms(2000));
}

const char *mc_store_name(const struct mc_store *s)
{
	return s->name;
}
