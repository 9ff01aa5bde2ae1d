/* SPDX-License-Identifier: Apache-2.0 */
/* A program that is told everything by flags: how it starts, --help and --version. */
#ifndef MC_PROGRAM_H
#define MC_PROGRAM_H

#include "base/conf.h"

/* The first member of a program's options. */
struct program_flags {
	bool help, version;
};

/* The last lines of its table. */
#define PROGRAM_ITEMS                                                   \
	{ CONF_ITEM(struct program_flags, help, CONF_BOOL, "false", "this text") }, \
	{ CONF_ITEM(struct program_flags, version, CONF_BOOL, "false", "the version") }

struct program {
	const char *name;
	const char *const *usage; /* the flags of each way to call it; NULL behind the last */
	const struct conf_item *items;
	size_t nr_items;
	int (*run)(void *options); /* returns the exit status */
};

/* main(): @options is zeroed memory for the table. Return: the exit status; 2 for what is no flag. */
int program_main(const struct program *p, void *options, int argc, char **argv);

void program_print_flags(const struct conf *c); /* on stdout */

#endif
