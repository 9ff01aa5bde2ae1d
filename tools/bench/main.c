// SPDX-License-Identifier: Apache-2.0
/* transfer_engine_bench: flags as upstream's, and some of its own; then one of the two roles. */
#include <unistd.h>

#include "base/log.h"
#include "bench.h"
#include "program.h"

#define ITEM(...) { CONF_ITEM(struct options, __VA_ARGS__) }
#define ITEM_INT(field, def, low, high, text) \
	{ CONF_ITEM(struct options, field, CONF_INT, def, text), .min = low, .max = high }
#define ITEM_LATER(...) { CONF_ITEM(struct options, __VA_ARGS__), .unimplemented = true }

static const struct conf_item items[] = {
	ITEM(mode, CONF_STRING, "initiator", "initiator, which transfers and measures, or target, which waits"),
	ITEM(segment_id, CONF_STRING, "", "initiator: the target's name, as the target prints it"),
	ITEM(local_server_name, CONF_STRING, "", "this process's name, host or host:port (default this machine's)"),
	ITEM(metadata_server, CONF_STRING, "P2PHANDSHAKE", "P2PHANDSHAKE, http://host:port/metadata, etcd://... or redis://..."),
	ITEM(operation, CONF_STRING, "read", "read or write"),
	ITEM(protocol, CONF_STRING, "rdma", "rdma (any way there is, when there is no RDMA), tcp: only that, local: only that"),
	ITEM(auto_discovery, CONF_BOOL, "false", "the best way to the target, whatever --protocol says"),
	ITEM(device_name, CONF_STRING, "", "comma list of RDMA devices; empty: all"),
	ITEM(block_size, CONF_SIZE, "65536", "bytes of a request"),
	ITEM_INT(batch_size, "128", 1, 65536, "requests submitted at a time by each thread"),
	ITEM_INT(threads, "12", 1, 1024, "threads that submit"),
	{ .name = "duration", .type = CONF_DOUBLE, .offset = offsetof(struct options, duration), .deflt = "10", .min = 0.01,
	  .max = 1e6, .help = "seconds of transfers; the comparison takes half as much again" },
	ITEM(buffer_size, CONF_SIZE, "1073741824", "bytes registered for each NUMA node; raised where blocks need more"),
	ITEM(report_unit, CONF_STRING, "GB", "GB GiB Gb MB MiB Mb KB KiB Kb"),
	ITEM_INT(report_precision, "2", 0, 15, "digits behind the point"),
	ITEM(limit, CONF_BOOL, "true", "measure in turn what the machine can do: bare streams, or memcpy on the same host"),
	ITEM(json, CONF_BOOL, "false", "the result as one JSON object"),
	ITEM(progress, CONF_BOOL, "true", "a line each second on stderr"),
	ITEM(backend, CONF_STRING, "classic", "classic; tent means the same here"),
	ITEM_LATER(nic_priority_matrix, CONF_STRING, "", "file with a topology for RDMA"),
	ITEM_LATER(use_vram, CONF_BOOL, "false", "buffers in device memory"),
	ITEM_LATER(init_mem, CONF_BOOL, "true", "fill device memory first"),
	ITEM_LATER(gpu_id, CONF_INT, "0", "which device; -1: all"),
	PROGRAM_ITEMS,
};

static bool is_one_of(const char *flag, const char *value, const char *words)
{
	if (*value && list_has(words, value))
		return true;
	log_err("--%s=%s: it takes one of %s", flag, value, words);
	return false;
}

static bool make_sense(struct options *o)
{
	if (!is_one_of("mode", o->mode, "initiator,target") || !is_one_of("operation", o->operation, "read,write") ||
	    !is_one_of("backend", o->backend, "classic,tent") || !is_one_of("protocol", o->protocol, "rdma,tcp,local"))
		return false;
	if (!o->block_size) {
		log_err("--block_size=0: a request has at least one byte");
		return false;
	}
	if (!strcmp(o->mode, "initiator") && !*o->segment_id) {
		log_err("--segment_id is missing: the name the target prints");
		return false;
	}
	return true;
}

/* What has a default that is no constant. */
static int fill_in(struct options *o)
{
	char host[256] = "";

	if (!unit_known(o->report_unit)) {
		log_warn("report_unit %s is unknown; GB is used", o->report_unit);
		free(o->report_unit);
		o->report_unit = strdup("GB");
		if (!o->report_unit)
			return -ENOMEM;
	}
	if (*o->local_server_name)
		return 0;
	gethostname(host, sizeof(host) - 1);
	free(o->local_server_name);
	o->local_server_name = strdup(host);
	return o->local_server_name ? 0 : -ENOMEM;
}

static int run(void *options)
{
	struct options *o = options;

	if (!make_sense(o) || fill_in(o))
		return 1;
	return (strcmp(o->mode, "target") ? run_initiator : run_target)(o) ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const char *const usage[] = { "--mode=target [FLAG...]", "--segment_id=NAME [FLAG...]", NULL };
	static const struct program bench = { "transfer_engine_bench", usage, items, ARRAY_SIZE(items), run };
	struct options o = { 0 };

	return program_main(&bench, &o, argc, argv);
}
