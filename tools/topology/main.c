// SPDX-License-Identifier: Apache-2.0
/* transfer_engine_topology_dump: where memory of this machine can be, and which RDMA devices are near each place. */
#include <mooncake/engine.h>
#include <stdio.h>
#include <unistd.h>

#include "base/env.h"
#include "program.h"

struct options {
	struct program_flags flags;
	char *device_name, *backend, *custom_topo_json;
	bool use_custom_topo;
};

#define ITEM(...) { CONF_ITEM(struct options, __VA_ARGS__) }

static const struct conf_item items[] = {
	ITEM(device_name, CONF_STRING, "", "comma list of RDMA devices to look at; empty: all"),
	ITEM(use_custom_topo, CONF_BOOL, "false", "what MC_CUSTOM_TOPO_JSON names, not what is found"),
	ITEM(custom_topo_json, CONF_STRING, "", "what this file says, not what is found"),
	ITEM(backend, CONF_STRING, "auto", "auto or te"),
	PROGRAM_ITEMS,
};

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

static int dump(void *options)
{
	const struct options *o = options;
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
	static const char *const usage[] = { "[FLAG...]", NULL };
	static const struct program dumper = { "transfer_engine_topology_dump", usage, items, ARRAY_SIZE(items), dump };
	struct options o = { 0 };

	return program_main(&dumper, &o, argc, argv);
}
