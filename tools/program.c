// SPDX-License-Identifier: Apache-2.0
/* A program that is told everything by flags: how it starts, --help and --version. */
#include "program.h"

#include <mooncake/mooncake.h>
#include <stdio.h>

#include "base/log.h"

void program_print_flags(const struct conf *c)
{
	struct buf b = BUF_INIT;

	conf_help(c, &b);
	fwrite(b.data, 1, b.len, stdout);
	buf_fini(&b);
}

static void print_help(const struct program *p, const struct conf *c)
{
	for (size_t i = 0; p->usage[i]; i++)
		printf("%-6s %s %s\n", i ? "" : "usage:", p->name, p->usage[i]);
	printf("\n");
	program_print_flags(c);
}

static int start(const struct program *p, const struct conf *c)
{
	const struct program_flags *asked = c->values;

	if (asked->help)
		print_help(p, c);
	else if (asked->version)
		printf("%s %s\n", p->name, mc_version());
	else
		return p->run(c->values);
	return 0;
}

int program_main(const struct program *p, void *options, int argc, char **argv)
{
	struct conf c;
	int ret;

	if (conf_open(&c, p->items, p->nr_items, options))
		return 1;
	ret = conf_flags(&c, argc, argv);
	if (ret >= 0 && ret < argc)
		log_err("%s: flags only", argv[ret]);
	ret = ret == argc ? start(p, &c) : 2;
	conf_close(&c);
	return ret;
}
