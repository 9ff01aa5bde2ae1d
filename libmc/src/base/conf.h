/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed settings. A program declares a table; values come, in rising order of precedence, from the default, a file
 * (JSON, YAML without nesting, or lines `key = value`), the environment and flags, in whatever order these are read. Unknown
 * keys are errors with a suggestion. `-` and `_` in names are the same.
 */
#ifndef MC_CONF_H
#define MC_CONF_H

#include "base/base.h"
#include "base/buf.h"

enum conf_type {
	CONF_BOOL,     /* bool: true/false, yes/no, on/off, 1/0 */
	CONF_INT,      /* int64_t within [min, max] */
	CONF_SIZE,     /* uint64_t bytes: "4gb", "64 MiB", "1e9" */
	CONF_DURATION, /* uint64_t nanoseconds: "10s", "500ms", "5m"; a plain number counts in conf_item.unit_ns */
	CONF_DOUBLE,   /* double within [min, max] */
	CONF_STRING,   /* char *, owned by the table's struct */
	CONF_PRESENCE, /* bool: true by being mentioned, whatever is said */
};

enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_ENV, CONF_FLAG };

struct conf_item {
	const char *name;  /* flag and file key */
	const char *alias; /* a second spelling, or NULL */
	const char *env;   /* or NULL */
	enum conf_type type;
	size_t offset; /* of the value in the caller's struct */
	const char *deflt;
	double min, max;     /* INT and DOUBLE; both 0: no limit */
	const char *words;   /* STRING: a comma list of all it takes, in any case; NULL: any text */
	uint64_t unit_ns;    /* DURATION without a unit; 0: milliseconds */
	const char *help;
	bool secret;	     /* STRING: shown as "***" */
	bool unimplemented; /* accepted so that deployments start; named in one warning when set, with @help as the reason */
};

/* The start of an item that is called like its member of struct @in. */
#define CONF_ITEM(in, field, kind, def, text) \
	.name = #field, .type = kind, .offset = offsetof(in, field), .deflt = def, .help = text

struct conf {
	const struct conf_item *items;
	size_t nr_items;
	void *values;             /* the caller's struct */
	enum conf_source *source; /* one per item */
};

int conf_open(struct conf *c, const struct conf_item *items, size_t nr, void *values); /* sets the defaults */
void conf_close(struct conf *c);                                                      /* frees strings */

/* All of these log one line with cause and fix when they fail: -ENOENT no such setting, -EINVAL bad value, -ERANGE, -ENOMEM. */
int conf_set(struct conf *c, const char *name, const char *text, enum conf_source from);
int conf_env(struct conf *c); /* an empty variable counts as not set */

/* conf_set() without the log line: on failure @why says what the text is and what it should be. */
int conf_try(struct conf *c, const char *name, const char *text, enum conf_source from, char *why, size_t size);

/* The closest known name or alias, or NULL. */
const char *conf_suggest(const struct conf *c, const char *name);

enum conf_format { CONF_LINES, CONF_YAML, CONF_JSON }; /* `key = value`, `key: value`, an object */

#define CONF_FILE_MAX ((size_t)1 << 20)

/* Errors of reading the file too; -EFBIG. The format follows the name: .json, .yaml or .yml, anything else is lines. */
int conf_file(struct conf *c, const char *path);
int conf_text(struct conf *c, const char *text, size_t len, enum conf_format format, const char *path);

/*
 * argv in gflags' ways: -name=v, --name=v, --name v, --bool, --nobool. Stops at the first plain word, or behind `--`, and
 * returns its index (argc when there is none), or -EINVAL after one log line that names the flag and the closest known one.
 * --help is the caller's: an item of its own, then conf_help().
 */
int conf_flags(struct conf *c, int argc, char **argv);
void conf_help(const struct conf *c, struct buf *out);
void conf_print(const struct conf *c, bool json, struct buf *out); /* each effective value and where it came from */
void conf_print_value(const struct conf *c, size_t i, struct buf *out); /* as a file of settings may hold it */
const char *conf_source_name(enum conf_source source);

/* -EINVAL not of that form, -ERANGE too large. Units in any case; fractions of sizes are rounded down to bytes. */
int parse_size(const char *text, uint64_t *out); /* b k kb kib m ... tib, binary; "infinite" */
int parse_duration_ns(const char *text, uint64_t unit_ns, uint64_t *out); /* ns us ms s m h; whole numbers */
int parse_bool(const char *text, bool *out);

/* Is @word one of a comma list's? Blanks around words do not count; an empty list, or none, has every word. */
bool list_has(const char *list, const char *word);

/* The candidate closest to @word within two edits, or NULL: for "did you mean". */
const char *suggest(const char *word, const char *const *candidates, size_t nr);

#endif
