// SPDX-License-Identifier: Apache-2.0
/* transfer_engine_topology_dump: where memory of this machine can be, and which RDMA devices are near each place. */
#include <mooncake/engine.h>
#include <stdio.h>
#include <unistd.h>

#include "base/env.h"
#include "base/log.h"

struct options {
	char *device_name, *backend, *custom_topo_json;
	bool use_custom_topo, help, version;
};

#define ITEM(field, kind, def, text) \
	{ .name = #field, .type = kind, .offset = offsetof(struct options, field), .deflt = def, .help = text }

static const struct conf_item items[] = {
	ITEM(device_name, CONF_STRING, "", "comma list of RDMA devices to look at; empty: all"),
	ITEM(use_custom_topo, CONF_BOOL, "false", "what MC_CUSTOM_TOPO_JSON names, not what is found"),
	ITEM(custom_topo_json, CONF_STRING, "", "what this file says, not what is found"),
	ITEM(backend, CONF_STRING, "auto", "auto or te"),
	ITEM(help, CONF_BOOL, "false", "this text"),
	ITEM(version, CONF_BOOL, "false", "the version"),
};

static void print_help(const struct conf *c)
{
	struct buf b = BUF_INIT;

	printf("usage: transfer_engine_topology_dump [FLAG...]\n\n");
	conf_help(c, &b);
	fwrite(b.data, 1, b.len, stdout);
	buf_fini(&b);
}

static int fail(const char *text)
{
	fprintf(stderr, "error: %s\n", text);
	return 1;
}

/* Whose topology: the library takes a file from the environment. NULL: what is found. */
static const char *choose_file(const struct options *o, const struct env *env)
{
	if (*o->custom_topo_json)
		return o->custom_topo_json;
	return o->use_custom_topo ? env->custom_topo_json : NULL;
}

static int dump_from(const struct options *o, const char *file)
{
	char *text;

	if (file && !*file)
		return fail("--use-custom-topo needs MC_CUSTOM_TOPO_JSON, or --custom-topo-json=FILE");
	if (file && access(file, R_OK))
		return fail("the custom topology cannot be read");
	if (file)
		setenv("MC_CUSTOM_TOPO_JSON", file, 1);
	else
		unsetenv("MC_CUSTOM_TOPO_JSON");
	text = mc_topology_json(*o->device_name ? o->device_name : NULL);
	if (!text)
		return fail(mc_last_error());
	if (file)
		printf("Local topology [te/custom (%s)]: %s", file, text);
	else
		printf("Local topology [te/discover]: %s", text);
	free(text);
	return 0;
}

static int dump(const struct options *o)
{
	struct env env;
	int ret;

	if (strcmp(o->backend, "auto") && strcmp(o->backend, "te"))
		return fail("--backend takes auto or te");
	if (env_open(&env))
		return fail("out of memory");
	ret = dump_from(o, choose_file(o, &env));
	env_close(&env);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct conf c;
	int ret;

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
		printf("transfer_engine_topology_dump %s\n", mc_version());
		ret = 0;
	} else {
		ret = dump(&o);
	}
	conf_close(&c);
	return ret;
}
