/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and stopping an engine, and what it publishes about itself. */
#include "engine/engine.h"

#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/opts.h"
#include "dev/dev.h"
#include "engine/topology.h"
#include "net/net.h"

_Atomic uint64_t engine_fork_gen;

static void in_child(void)
{
	atomic_fetch_add_explicit(&engine_fork_gen, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, in_child);
}

int engine_refuse_fork(void)
{
	log_err_limited("the engine was opened before fork(): it cannot be used in the child, open "
			"one there");
	return -EPERM;
}

/* ---- what others see ------------------------------------------------------------------------- */

/* Local time with microseconds, as upstream writes it; informative only. */
static int set_timestamp(struct segment_desc *d)
{
	struct timeval tv;
	struct tm tm;
	char day[32], text[48];

	gettimeofday(&tv, NULL);
	localtime_r(&tv.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%06ld", day, (long)tv.tv_usec);
	free(d->timestamp);
	d->timestamp = strdup(text);
	return d->timestamp ? 0 : -ENOMEM;
}

int engine_describe(struct mc_engine *eng, struct segment_desc *out)
{
	int ret;

	pthread_mutex_lock(&eng->desc_lock);
	ret = segment_desc_copy(&eng->desc, out);
	pthread_mutex_unlock(&eng->desc_lock);
	return ret;
}

int engine_publish(struct mc_engine *eng, uint64_t deadline_ns)
{
	struct segment_desc copy;
	int ret;

	if (!eng->loop)
		return 0;
	pthread_mutex_lock(&eng->desc_lock);
	ret = set_timestamp(&eng->desc);
	if (!ret)
		ret = segment_desc_copy(&eng->desc, &copy);
	pthread_mutex_unlock(&eng->desc_lock);
	if (ret)
		return ret;
	ret = meta_put_segment(eng->meta, &copy, deadline_ns);
	segment_desc_fini(&copy);
	return ret;
}

static int build_desc(struct mc_engine *eng)
{
	struct segment_desc *d = &eng->desc;
	struct process_id self;
	int ret = process_self(&self);

	if (ret)
		return ret;
	d->name = strdup(eng->address.name);
	d->protocol = strdup("tcp");
	d->host = strdup(eng->address.advertise);
	d->tcp_proto_version = 2;
	d->mc.present = true;
	d->mc.version = PROTO_VERSION;
	node_id(d->mc.node);
	d->mc.pid = self.pid;
	d->mc.start_time = self.start_time;
	d->mc.pid_ns = self.pid_ns;
	d->mc.reach_fd = -1;
	if (!d->name || !d->protocol || !d->host)
		return -ENOMEM;
	for (unsigned i = 0; i < eng->nr_transports; i++)
		eng->transport[i]->ops->describe(eng->transport[i], d);
	return set_timestamp(d);
}

static int announce(struct mc_engine *eng, uint64_t deadline_ns)
{
	struct rpc_meta rpc = { .port = eng->rpc_port };
	int ret;

	if (!eng->loop)
		return 0;
	snprintf(rpc.host, sizeof(rpc.host), "%s", eng->address.advertise);
	ret = engine_publish(eng, deadline_ns);
	if (ret)
		return ret;
	eng->published = true;
	return meta_put_rpc(eng->meta, eng->address.name, &rpc, deadline_ns);
}

static void withdraw(struct mc_engine *eng, uint64_t deadline_ns)
{
	if (!eng->published)
		return;
	meta_del_rpc(eng->meta, eng->address.name, deadline_ns);
	meta_del_segment(eng->meta, eng->address.name, deadline_ns);
}

/* ---- transports ------------------------------------------------------------------------------ */

static int open_transports(struct mc_engine *eng, const char *list, const char *devices)
{
	const struct transport_env env = {
		.loop = eng->loop,
		.reach = eng->reach,
		.bind_host = eng->address.bind,
		.min_port = eng->address.min_port,
		.max_port = eng->address.max_port,
		.name = eng->address.name,
		.devices = devices,
		.places = topology_find,
		.pair = pairs_ask,
		.arg = eng,
	};

	for (int i = 0; transports[i]; i++) {
		int ret;

		if (!list_has(list, transports[i]->name))
			continue;
		ret = transports[i]->open(&env, &eng->transport[eng->nr_transports]);
		if (ret == -ENODEV) {
			log_info("transport %s: this machine has no device for it", transports[i]->name);
			continue;
		}
		if (ret)
			return ret;
		eng->nr_transports++;
	}
	if (eng->nr_transports)
		return 0;
	log_err("transports \"%s\": none of them is known and has what it needs; \"local\", \"module\" and \"tcp\" are known", list);
	return -EINVAL;
}

static bool has_transport(const char *name)
{
	for (int i = 0; transports[i]; i++)
		if (!strcmp(transports[i]->name, name))
			return true;
	return false;
}

int mc_engine_protocol(const char *protocol)
{
	static atomic_bool told;

	if (!protocol || !*protocol || !strcmp(protocol, "tcp"))
		return 0;
	if (strcmp(protocol, "rdma")) {
		log_warn("protocol \"%s\" is unknown: \"tcp\" and \"rdma\" are known", protocol);
		err_note("protocol \"%s\" is unknown: use \"tcp\" or \"rdma\"", protocol);
		return -EPROTONOSUPPORT;
	}
	if (has_transport(protocol))
		return 0;
	if (!atomic_exchange(&told, true))
		log_warn("protocol \"rdma\": no RDMA in this build, memory of this host and tcp take its place");
	return -EOPNOTSUPP;
}

/* ---- open and close -------------------------------------------------------------------------- */

struct serve_args {
	struct mc_engine *eng;
	int fd;
};

static int serve_here(void *arg)
{
	struct serve_args *a = arg;

	return handshake_serve(a->eng->loop, a->fd, &engine_handshake_ops, a->eng,
			       &a->eng->handshake);
}

static int unserve_here(void *arg)
{
	struct mc_engine *eng = arg;

	handshake_close(eng->handshake);
	eng->handshake = NULL;
	return 0;
}

/* The handshake port is bound first: in P2P mode it is part of the name. */
static int start_serving(struct mc_engine *eng, int *fd)
{
	const struct address *a = &eng->address;
	int ret = loop_open(&eng->loop);

	if (ret)
		return ret;
	ret = loop_start(eng->loop, "mc-engine");
	if (!ret)
		ret = net_listen_range(a->bind, a->rpc_port ?: a->min_port,
				       a->rpc_port ?: a->max_port, fd, &eng->rpc_port);
	if (ret == -EADDRNOTAVAIL)
		log_err("\"%s\" is no address of this machine; set MC_TCP_BIND_ADDRESS to listen "
			"on another one",
			a->bind);
	return ret;
}

static int start(struct mc_engine *eng, const struct mc_engine_opts *o)
{
	struct serve_args a = { .eng = eng, .fd = -1 };
	int ret = 0;

	if (!(o->flags & MC_ENGINE_CLIENT))
		ret = start_serving(eng, &a.fd);
	if (!ret && meta_is_p2p(eng->meta))
		ret = address_name_with_port(&eng->address, eng->rpc_port);
	if (!ret)
		ret = open_transports(eng, o->transports, o->devices);
	if (!ret)
		ret = build_desc(eng);
	if (!ret && eng->loop) {
		ret = loop_call(eng->loop, serve_here, &a);
		if (!ret)
			a.fd = -1;
	}
	if (a.fd >= 0)
		close(a.fd);
	return ret ? ret : announce(eng, o->deadline_ns);
}

static int read_opts(const struct mc_engine_opts *in, struct mc_engine_opts *out)
{
	int ret;

	*out = (struct mc_engine_opts){ .size = sizeof(*out) };
	ret = in ? opts_take(in, sizeof(in->size), out, sizeof(*out)) : 0;
	if (ret) {
		log_err("engine options: %s",
			ret == -EINVAL ? "size is not set" : "something that this version of the library does not know");
		return ret;
	}
	return out->flags & ~MC_ENGINE_CLIENT ? -EINVAL : 0;
}

/* What the environment says where the program says nothing; and that there shall be no RDMA. */
static int add_env(const struct env *env, struct mc_engine_opts *o)
{
	int ret;

	if (env->force_tcp)
		o->protocol = "tcp";
	if (!o->transports)
		o->transports = env->transports;
	if (!o->deadline_ns)
		o->deadline_ns = deadline_after_ns(ENGINE_OPEN_NS);
	ret = mc_engine_protocol(o->protocol);
	return ret == -EOPNOTSUPP ? 0 : ret;
}

static struct mc_engine *engine_alloc(void)
{
	struct mc_engine *eng = calloc(1, sizeof(*eng));

	if (!eng)
		return NULL;
	eng->fork_gen = atomic_load(&engine_fork_gen);
	pthread_mutex_init(&eng->region_lock, NULL);
	pthread_mutex_init(&eng->desc_lock, NULL);
	pthread_mutex_init(&eng->seg_lock, NULL);
	pthread_mutex_init(&eng->notify_lock, NULL);
	pthread_mutex_init(&eng->background.lock, NULL);
	driver_init(&eng->driver);
	list_init(&eng->regions);
	list_init(&eng->segments);
	list_init(&eng->notifies);
	return eng;
}

/* In reverse order of start(); anything may not be there yet. @deadline_ns: of what the metadata service is to be told. */
static void engine_free(struct mc_engine *eng, uint64_t deadline_ns)
{
	driver_fini(&eng->driver);
	if (eng->handshake)
		loop_call(eng->loop, unserve_here, eng);
	regions_free(eng);
	while (eng->nr_transports) {
		struct transport *t = eng->transport[--eng->nr_transports];

		t->ops->close(t);
	}
	loop_close(eng->loop);
	reach_close(eng->reach);
	meta_close(eng->meta, deadline_ns);
	notifies_free(eng);
	segment_desc_fini(&eng->desc);
	pthread_mutex_destroy(&eng->background.lock);
	pthread_mutex_destroy(&eng->notify_lock);
	pthread_mutex_destroy(&eng->seg_lock);
	pthread_mutex_destroy(&eng->desc_lock);
	pthread_mutex_destroy(&eng->region_lock);
	free(eng);
}

static int open_with(const struct mc_engine_opts *o, const struct env *env, struct mc_engine **out)
{
	struct mc_engine *eng = engine_alloc();
	int ret;

	if (!eng)
		return -ENOMEM;
	ret = meta_open(o->metadata && *o->metadata ? o->metadata : "P2PHANDSHAKE", &eng->meta);
	if (!ret)
		ret = address_find(o, env, meta_is_p2p(eng->meta), &eng->address);
	if (!ret)
		ret = reach_open(&eng->reach);
	if (!ret)
		ret = start(eng, o);
	if (ret) {
		withdraw(eng, o->deadline_ns);
		engine_free(eng, o->deadline_ns);
		return ret;
	}
	*out = eng;
	return 0;
}

int mc_engine_open(const struct mc_engine_opts *opts, struct mc_engine **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct mc_engine_opts o;
	struct env env;
	int ret = read_opts(opts, &o);

	if (!ret)
		ret = env_open(&env);
	if (ret)
		return ret;
	pthread_once(&once, watch_forks);
	ret = add_env(&env, &o);
	if (!ret)
		ret = open_with(&o, &env, out);
	env_close(&env);
	return ret;
}

void mc_engine_close(struct mc_engine *eng)
{
	uint64_t deadline_ns = deadline_after_ns(ENGINE_WITHDRAW_NS);

	if (!eng)
		return;
	if (engine_forked(eng)) {
		engine_refuse_fork();
		return;
	}
	withdraw(eng, deadline_ns);
	engine_free(eng, deadline_ns);
}

const char *mc_engine_name(const struct mc_engine *eng)
{
	return eng->address.name;
}

uint16_t mc_engine_rpc_port(const struct mc_engine *eng)
{
	return eng->rpc_port;
}

uint64_t mc_engine_timeout_ns(void)
{
	struct env env;
	uint64_t ns;

	if (env_open(&env))
		return ENGINE_TIMEOUT_NS;
	ns = env.transfer_timeout_ns;
	env_close(&env);
	ns = MAX(ns, ENGINE_TIMEOUT_MIN_NS);
	return MIN(ns, ENGINE_TIMEOUT_MAX_NS);
}
