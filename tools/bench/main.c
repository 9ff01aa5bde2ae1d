// SPDX-License-Identifier: Apache-2.0
/* transfer_engine_bench: flags as upstream's, and some of its own; then one of the two roles. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "bench.h"

#define ITEM(field, kind, def, text) \
	{ .name = #field, .type = kind, .offset = offsetof(struct options, field), .deflt = def, .help = text }
#define ITEM_INT(field, def, low, high, text)                                                      \
	{ .name = #field, .type = CONF_INT, .offset = offsetof(struct options, field), .deflt = def, \
	  .min = low, .max = high, .help = text }
#define ITEM_LATER(field, kind, def, text)                                                                   \
	{ .name = #field, .type = kind, .offset = offsetof(struct options, field), .deflt = def, .help = text, \
	  .unimplemented = true }

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
	ITEM(help, CONF_BOOL, "false", "this text"),
	ITEM(version, CONF_BOOL, "false", "the version"),
};

static void print_help(const struct conf *c)
{
	struct buf b = BUF_INIT;

	printf("usage: transfer_engine_bench --mode=target [FLAG...]\n"
	       "       transfer_engine_bench --segment_id=NAME [FLAG...]\n\n");
	conf_help(c, &b);
	fwrite(b.data, 1, b.len, stdout);
	buf_fini(&b);
}

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

static int run(struct options *o)
{
	if (!make_sense(o) || fill_in(o))
		return 1;
	return (strcmp(o->mode, "target") ? run_initiator : run_target)(o) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct conf c;
	int ret = 2;

	if (conf_open(&c, items, ARRAY_SIZE(items), &o))
		return 1;
	ret = conf_flags(&c, argc, argv);
	if (ret >= 0 && ret < argc)
		log_err("%s: flags only", argv[ret]);
	if (ret != argc) {
		ret = 2;
	} else if (o.help) {
		print_help(&c);
		ret = 0;
	} else if (o.version) {
		printf("transfer_engine_bench %s\n", mc_version());
		ret = 0;
	} else {
		ret = run(&o);
	}
	conf_close(&c);
	return ret;
}
