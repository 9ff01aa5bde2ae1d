/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl: a table of commands (main.c), one file each, on the public API. Every command prints for people, or with --json
 * one JSON value, and returns its exit status: 0, 1 failure, 2 wrong usage.
 */
#ifndef MC_CTL_H
#define MC_CTL_H

#include <json-c/json.h>
#include <mooncake/mooncake.h>
#include <mooncake/store.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/conf.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

struct ctl;

struct command {
	const char *name, *args, *help;
	int (*run)(struct ctl *c);
	int min_words, max_words; /* that follow the command; max -1: any number */
	const char *options;	  /* " name name ": those that not all commands take */
};

struct options {
	char *master, *tenant, *metadata, *protocol, *local_name;
	uint64_t timeout_ns;
	bool json, help, version;
	/* of single commands */
	char *output, *input, *match, *pin;
	int64_t replicas, max;
	bool force, all, replace, hex;
};

struct ctl {
	struct options opt;
	struct conf conf;
	const struct command *cmd;
	char **words; /* what follows the command */
	int nr_words;
	struct mc_store *store;
	uint64_t deadline_ns; /* of everything this command does */
};

#define CTL_SETTINGS 6 /* the first options: those that "config" shows */

/* ---- main.c ---- */

/* Says what went wrong, to stderr and with --json as an object too. @err a negative errno, or 0. Return: EXIT_FAILED. */
int fail(struct ctl *c, int err, const char *fmt, ...) mc_printf(3, 4);
int usage(const struct ctl *c, const char *fmt, ...) mc_printf(2, 3); /* EXIT_USAGE */

/*
 * Opens c->store; EXIT_*, after a message. Without @bytes this node's pools are not mapped and every question goes to the master,
 * which knows all replicas.
 */
int store_connect(struct ctl *c, bool bytes);

/* The @i-th word as a key, decoded when --hex was given. The caller frees *out with free((void *)out->data). EXIT_*. */
int word_key(struct ctl *c, int i, struct mc_key *out);

/* ---- show.c: what people and programs read ---- */

struct human {
	char text[24];
};
struct human human_bytes(uint64_t bytes);   /* "1.5 GiB" */
struct human human_time(uint64_t ms);	    /* "3 d 4 h", "12.5 s" */
struct human human_count(uint64_t n);	    /* 1,234,567 */
struct human human_percent(uint64_t part, uint64_t whole);

/* Columns as wide as their widest cell; those whose heading starts with '>' are set to the right. */
struct table {
	unsigned nr_cols;
	char **cells;
	size_t nr, cap;
	bool failed;
};
void table_open(struct table *t, unsigned nr_cols, const char *const *heads);
void table_cell(struct table *t, const char *fmt, ...) mc_printf(2, 3); /* the next one, row by row */
void table_print(struct table *t);					/* and frees */

void key_text(const void *key, size_t len, struct buf *out); /* printable: other bytes as \xNN */
/* Members "key", and "key_hex" when the key is no UTF-8. */
void key_json(struct json_object *o, const void *key, size_t len);
void json_print(struct json_object *o); /* and releases it */

/* Members of what the master says; absent ones read as 0, false and "". */
uint64_t get_u64(struct json_object *o, const char *name);
const char *get_text(struct json_object *o, const char *name);
bool get_bool(struct json_object *o, const char *name);

/* ---- status.c ---- */

/* The master's STATUS, parsed. EXIT_*. */
int master_status(struct ctl *c, struct json_object **out);

/* ---- commands ---- */

int cmd_status(struct ctl *c);
int cmd_nodes(struct ctl *c);
int cmd_pools(struct ctl *c);
int cmd_stat(struct ctl *c);
int cmd_get(struct ctl *c);
int cmd_put(struct ctl *c);
int cmd_rm(struct ctl *c);
int cmd_list(struct ctl *c);
int cmd_copy(struct ctl *c); /* move, too */
int cmd_task(struct ctl *c);
int cmd_config(struct ctl *c);
int cmd_events(struct ctl *c);
int cmd_doctor(struct ctl *c);
int cmd_region(struct ctl *c);

#endif
