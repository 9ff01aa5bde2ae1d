// SPDX-License-Identifier: Apache-2.0
/* The table of the master's flags. */
#include "settings.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"

#define S(member) offsetof(struct settings, member)
#define PORT .type = CONF_INT, .min = 0, .max = 65535
#define COUNT .type = CONF_INT, .min = 0, .max = 1000000
#define X(kind, flag, text, why) \
	{ .name = #flag, .type = CONF_##kind, .offset = S(ignored.flag), .deflt = text, .help = WHY_##why, .unimplemented = true },

#define WHY_CLEANUP "a metadata server forgets who does not tell it anything any more"
#define WHY_COPIES "objects get more copies when they are asked for: mooncakectl copy"
#define WHY_CXL "memory of this kind is not used"
#define WHY_DELAY "small messages are never delayed"
#define WHY_DISK "objects are not written to disks"
#define WHY_EVENTS "nobody is told of single objects"
#define WHY_EVICTION "a pool makes room when it is needed, as much as is needed"
#define WHY_FLAGS "use config_path"
#define WHY_HA "a master that is started anew is told everything; start one elsewhere when a machine is lost"
#define WHY_IDLE "connections that idle cost nothing, and those to machines that are gone end by themselves"
#define WHY_LOG "messages go to standard error; log_level says which"
#define WHY_NOF "NVMe-oF is not used"
#define WHY_PLACE "each put goes to this machine, then to the pool with the most room"
#define WHY_PUTS "a put that does not end keeps no key from others, and its space for less than that"
#define WHY_SNAPSHOT "owners tell a new master what they have"
#define WHY_TENANTS "tenants have names of their own anyway, and no quota"

const struct conf_item settings_items[] = {
	{ .name = "config_path", .type = CONF_STRING, .offset = S(config_path), .deflt = "",
	  .help = "settings from this file (.json, .yaml, or key = value); flags win" },
	{ .name = "log_level", .type = CONF_STRING, .offset = S(log_level), .deflt = "info",
	  .help = "error, warning, info or debug" },

	{ .name = "rpc_address", .type = CONF_STRING, .offset = S(rpc_address), .deflt = "127.0.0.1",
	  .help = "address to serve on; 0.0.0.0 or [::] for all" },
	{ .name = "rpc_interface", .type = CONF_STRING, .offset = S(rpc_interface), .deflt = "",
	  .help = "serve on this interface's IPv4 address instead" },
	{ .name = "rpc_port", PORT, .offset = S(rpc_port), .deflt = "0", .help = "port to serve on; 0: what --port says" },
	{ .name = "port", PORT, .offset = S(port), .deflt = "50051", .help = "old name of rpc_port" },
	{ .name = "unix_path", .type = CONF_STRING, .offset = S(unix_path), .deflt = "auto",
	  .help = "Unix socket for this machine; auto: @mooncake-master-PORT, none: no such socket" },
	{ .name = "rpc_thread_num", .type = CONF_INT, .min = 0, .max = WORKERS_MAX, .offset = S(rpc_thread_num), .deflt = "0",
	  .help = "worker threads; 0: one per core, at most max_threads" },
	{ .name = "max_threads", .type = CONF_INT, .min = 1, .max = 4096, .offset = S(max_threads), .deflt = "4",
	  .help = "old name of rpc_thread_num, never more than cores" },

	{ .name = "metrics_host", .type = CONF_STRING, .offset = S(metrics_host), .deflt = "127.0.0.1",
	  .help = "address of the admin HTTP server" },
	{ .name = "metrics_port", PORT, .offset = S(metrics_port), .deflt = "9003", .help = "port of the admin HTTP server; 0: any" },
	{ .name = "enable_metric_reporting", .type = CONF_BOOL, .offset = S(report), .deflt = "true",
	  .help = "log a summary every 10 s while there is something to say" },

	{ .name = "default_kv_lease_ttl", .type = CONF_DURATION, .offset = S(lease_ns), .deflt = "10000",
	  .help = "lease that get and exist grant" },
	{ .name = "client_ttl", .alias = "client_live_ttl_sec", .type = CONF_DURATION, .unit_ns = NSEC_PER_SEC,
	  .offset = S(client_ttl_ns), .deflt = "10", .help = "silence after which a pool is lost; plain numbers are seconds" },
	{ .name = "default_kv_soft_pin_ttl", .type = CONF_DURATION, .offset = S(soft_pin_ns), .deflt = "1800000",
	  .help = "soft pins of puts that do not say how long" },
	{ .name = "allow_evict_soft_pinned_objects", .type = CONF_BOOL, .offset = S(soft_pins_go), .deflt = "true",
	  .help = "evict soft pins when nothing else is left; false: not before they end" },
	{ .name = "max_kv_soft_pin_ttl", .type = CONF_DURATION, .offset = S(soft_pin_max_ns), .deflt = "86400000",
	  .help = "the longest soft pin a put may ask for" },
	{ .name = "settle_time", .type = CONF_DURATION, .offset = S(settle_ns), .deflt = "1s",
	  .help = "how long a fresh master waits for pools before it is ready" },

	{ .name = "max_total_pending_tasks", COUNT, .offset = S(tasks_pending), .deflt = "10000",
	  .help = "copy and move tasks that may wait; more are refused" },
	{ .name = "max_total_processing_tasks", COUNT, .offset = S(tasks_processing), .deflt = "10000",
	  .help = "tasks that may run at a time, a few of them per node" },
	{ .name = "max_total_finished_tasks", COUNT, .offset = S(tasks_finished), .deflt = "10000",
	  .help = "ended tasks that can still be asked for" },
	{ .name = "pending_task_timeout_sec", .type = CONF_DURATION, .unit_ns = NSEC_PER_SEC, .offset = S(task_wait_ns),
	  .deflt = "300", .help = "a task that has not begun by then fails; plain numbers are seconds" },
	{ .name = "processing_task_timeout_sec", .type = CONF_DURATION, .unit_ns = NSEC_PER_SEC, .offset = S(task_ns),
	  .deflt = "300", .help = "a copy that has not ended by then fails; plain numbers are seconds" },

	{ .name = "max_retry_attempts", COUNT, .offset = S(task_retries), .deflt = "10",
	  .help = "how often a copy is tried again when an owner is busy or cannot be reached" },

	{ .name = "enable_http_metadata_server", .type = CONF_BOOL, .offset = S(metadata_on), .deflt = "false",
	  .help = "serve engine metadata too" },
	{ .name = "http_metadata_server_host", .type = CONF_STRING, .offset = S(metadata_host), .deflt = "127.0.0.1",
	  .help = "its address" },
	{ .name = "http_metadata_server_port", PORT, .offset = S(metadata_port), .deflt = "8080", .help = "its port" },

	SETTINGS_IGNORED(X)
};
const size_t settings_nr = ARRAY_SIZE(settings_items);

static int interface_address(const char *name, char *out, size_t size)
{
	struct ifaddrs *all, *a;
	char text[INET_ADDRSTRLEN];
	int ret = -EINVAL;

	if (getifaddrs(&all))
		return -errno;
	for (a = all; a && ret; a = a->ifa_next) {
		if (strcmp(a->ifa_name, name) || !a->ifa_addr || a->ifa_addr->sa_family != AF_INET)
			continue;
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr, text, sizeof(text));
		snprintf(out, size, "%s", text);
		ret = 0;
	}
	freeifaddrs(all);
	if (ret)
		log_err("rpc_interface %s does not exist or has no IPv4 address", name);
	return ret;
}

int settings_rpc_host(const struct settings *s, char *out, size_t size)
{
	const char *a = s->rpc_address;

	if (*s->rpc_interface)
		return interface_address(s->rpc_interface, out, size);
	/* A bare IPv6 address would look like host:port. */
	snprintf(out, size, strchr(a, ':') && *a != '[' ? "[%s]" : "%s", a);
	return 0;
}

struct pool_rules settings_rules(const struct settings *s)
{
	uint64_t ms = MIN(s->soft_pin_ns, s->soft_pin_max_ns) / NSEC_PER_MSEC;

	return (struct pool_rules){
		.soft_pin_ms = (uint32_t)MIN(ms, (uint64_t)UINT32_MAX),
		.flags = s->soft_pins_go ? 0 : POOL_RULE_SOFT_STAYS,
	};
}

int64_t settings_rpc_port(const struct settings *s)
{
	return s->rpc_port ? s->rpc_port : s->port;
}

unsigned settings_workers(const struct settings *s)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (s->rpc_thread_num)
		return (unsigned)s->rpc_thread_num;
	if (cores < 1)
		cores = 1;
	cores = MIN(cores, s->max_threads);
	return (unsigned)MIN(cores, (long)WORKERS_MAX);
}
