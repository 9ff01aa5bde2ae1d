// SPDX-License-Identifier: Apache-2.0
/* mooncakectl: options, the table of commands, and how failures are told. */
#include "ctl.h"

#include <ctype.h>
#include <mooncake/compat.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "program.h"

static const struct command commands[] = {
	{ "status", "", "the master and the cache as a whole", cmd_status, 0, 0, "" },
	{ "nodes", "", "machines that contribute memory", cmd_nodes, 0, 0, "" },
	{ "pools", "", "pools, their addresses and how full they are", cmd_pools, 0, 0, "" },
	{ "list", "[REGEX]", "keys in which REGEX is found", cmd_list, 0, 1, " max " },
	{ "stat", "KEY...", "size and number of replicas", cmd_stat, 1, -1, " hex " },
	{ "get", "KEY", "an object's bytes to stdout or --output FILE", cmd_get, 1, 1, " output hex " },
	{ "put", "KEY", "store what stdin or --input FILE holds", cmd_put, 1, 1, " input replace replicas pin hex " },
	{ "rm", "KEY... | --match REGEX | --all", "remove objects", cmd_rm, 0, -1, " match all force hex " },
	{ "copy", "KEY SEGMENT...", "have an object copied into other segments", cmd_copy, 2, 17, " hex " },
	{ "move", "KEY FROM TO", "have it moved from one segment to another", cmd_copy, 3, 3, " hex " },
	{ "task", "ID", "what became of a copy or move", cmd_task, 1, 1, "" },
	{ "region", "list | show|rm|revoke NAME...", "memory that /dev/mooncake keeps", cmd_region, 1, -1, " force " },
	{ "config", "", "settings, where they come from, and limits", cmd_config, 0, 0, "" },
	{ "events", "", "what happens to regions and RDMA devices, as it happens", cmd_events, 0, 0, " max " },
	{ "doctor", "", "look for what is wrong, and how to repair it", cmd_doctor, 0, 0, "" },
};

#define OPT(field) .name = #field, .offset = offsetof(struct options, field)

static const struct conf_item items[] = {
	{ OPT(master), .type = CONF_STRING, .env = "MOONCAKE_MASTER", .deflt = "127.0.0.1:50051",
	  .help = "the master: host:port or unix:/path" },
	{ OPT(tenant), .type = CONF_STRING, .env = "MOONCAKE_TENANT_ID", .deflt = "default", .help = "whose keys" },
	{ OPT(metadata), .type = CONF_STRING, .env = "MOONCAKE_TE_META_DATA_SERVER", .deflt = "P2PHANDSHAKE",
	  .help = "where nodes publish their segments: P2PHANDSHAKE, http://host:port/metadata, etcd://, redis://" },
	{ OPT(protocol), .type = CONF_STRING, .env = "MOONCAKE_PROTOCOL", .deflt = "tcp", .help = "how to read from other nodes" },
	{ OPT(local_name), .type = CONF_STRING, .env = "MOONCAKE_LOCAL_HOSTNAME", .deflt = "127.0.0.1",
	  .help = "this machine's address" },
	{ .name = "timeout", .offset = offsetof(struct options, timeout_ns), .type = CONF_DURATION, .unit_ns = NSEC_PER_SEC,
	  .deflt = "10s", .help = "of the whole command; plain numbers are seconds" },
	{ OPT(json), .type = CONF_BOOL, .deflt = "false", .help = "one JSON value for programs" },
	{ OPT(help), .alias = "h", .type = CONF_BOOL, .deflt = "false", .help = "this text" },
	{ OPT(version), .type = CONF_BOOL, .deflt = "false", .help = "print the version" },

	{ OPT(output), .alias = "o", .type = CONF_STRING, .deflt = "-", .help = "get: write to this file; -: stdout" },
	{ OPT(input), .alias = "i", .type = CONF_STRING, .deflt = "-", .help = "put: read this file; -: stdin" },
	{ OPT(replace), .type = CONF_BOOL, .deflt = "false", .help = "put: take the place of an object under this key" },
	{ OPT(replicas), .type = CONF_INT, .min = 1, .max = 16, .deflt = "1", .help = "put: on so many nodes" },
	{ OPT(pin), .type = CONF_STRING, .deflt = "none", .help = "put: none, soft (evicted late) or hard (never evicted)" },
	{ OPT(match), .type = CONF_STRING, .deflt = "", .help = "rm: every key in which this expression is found" },
	{ OPT(all), .type = CONF_BOOL, .deflt = "false", .help = "rm: every key of the tenant" },
	{ OPT(force), .type = CONF_BOOL, .deflt = "false", .help = "rm: leases do not protect; region rm: though a process serves it" },
	{ OPT(max), .type = CONF_INT, .min = 1, .max = 1e15, .deflt = "1000000000", .help = "list, events: at most so many" },
	{ OPT(hex), .type = CONF_BOOL, .deflt = "false", .help = "keys are given in hexadecimal" },
};
#define NR_COMMON 9 /* the first ones, which every command takes */

/* ---- telling ---- */

static bool told; /* an error went to stderr already, with its cause */

static void log_line(void *arg, enum mc_log_level level, const char *text)
{
	told |= level == MC_LOG_ERR;
	fprintf(stderr, "mooncakectl: %s%s\n", level == MC_LOG_WARN ? "warning: " : "", text);
}

static void json_failure(int err, const char *text)
{
	struct json_object *o = json_object_new_object();
	int code = err ? (int)mc_store_code(err) : -1;

	json_object_object_add(o, "error", json_object_new_string(text));
	json_object_object_add(o, "code", json_object_new_int(code));
	json_object_object_add(o, "name", json_object_new_string(mc_store_code_name(code)));
	json_print(o);
}

int fail(struct ctl *c, int err, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_printf(&b, "%s%s%s", text, err ? ": " : "", err ? strerror(-err) : "");
	buf_put_u8(&b, 0);
	if (!told && !b.err)
		fprintf(stderr, "mooncakectl: %s\n", (char *)b.data);
	if (c->opt.json && !b.err)
		json_failure(err, (char *)b.data);
	told = false;
	buf_fini(&b);
	return EXIT_FAILED;
}

int usage(const struct ctl *c, const char *fmt, ...)
{
	va_list ap;

	fputs("mooncakectl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nusage: mooncakectl [options] %s%s%s; mooncakectl --help tells more\n", c->cmd ? c->cmd->name : "COMMAND",
		c->cmd && *c->cmd->args ? " " : "", c->cmd ? c->cmd->args : "");
	return EXIT_USAGE;
}

static int print_help(const struct ctl *c)
{
	printf("usage: mooncakectl [options] COMMAND [...]\n\ncommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
		printf("  %-37s %s\n", left, commands[i].help);
	}
	printf("\noptions, anywhere before \"--\":\n");
	program_print_flags(&c->conf);
	printf("\nExit status: 0, 1 when something failed or was not found, 2 for wrong usage. See mooncakectl(1).\n");
	return EXIT_OK;
}

/* ---- the command line ---- */

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int unknown_command(const struct ctl *c, const char *word)
{
	const char *names[ARRAY_SIZE(commands)], *close;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	close = suggest(word, names, ARRAY_SIZE(names));
	if (close)
		return usage(c, "unknown command %s; did you mean %s?", word, close);
	return usage(c, "unknown command %s", word);
}

/* Options and words in any order; behind "--" only words. */
static int read_line(struct ctl *c, int argc, char **argv)
{
	int at = 0, next;

	c->words = calloc((size_t)argc + 1, sizeof(*c->words));
	if (!c->words)
		return EXIT_FAILED;
	while (at + 1 < argc) {
		next = conf_flags(&c->conf, argc - at, argv + at);
		if (next < 0)
			return EXIT_USAGE;
		at += next;
		if (at >= argc)
			break;
		if (next > 1 && !strcmp(argv[at - 1], "--")) {
			while (at < argc)
				c->words[c->nr_words++] = argv[at++];
			break;
		}
		c->words[c->nr_words++] = argv[at];
	}
	return conf_env(&c->conf) ? EXIT_USAGE : EXIT_OK;
}

/* An option that the command does not know is a mistake, not something to ignore. */
static int check_options(const struct ctl *c)
{
	char word[32];

	for (size_t i = NR_COMMON; i < ARRAY_SIZE(items); i++) {
		if (c->conf.source[i] != CONF_FLAG)
			continue;
		snprintf(word, sizeof(word), " %s ", items[i].name);
		if (!strstr(c->cmd->options, word))
			return usage(c, "%s takes no --%s", c->cmd->name, items[i].name);
	}
	return EXIT_OK;
}

static int choose_command(struct ctl *c)
{
	const char *word = c->nr_words ? c->words[0] : NULL;

	if (!word)
		return usage(c, "no command");
	c->cmd = find_command(word);
	if (!c->cmd)
		return unknown_command(c, word);
	c->words++;
	c->nr_words--;
	if (c->nr_words < c->cmd->min_words)
		return usage(c, "%s needs %s", c->cmd->name, c->cmd->args);
	if (c->cmd->max_words >= 0 && c->nr_words > c->cmd->max_words)
		return usage(c, "%s: one word too many, \"%s\"", c->cmd->name, c->words[c->cmd->max_words]);
	return check_options(c);
}

/* ---- what commands share ---- */

int store_connect(struct ctl *c, bool bytes)
{
	const struct mc_store_opts o = {
		.size = sizeof(o),
		.local_name = c->opt.local_name,
		.metadata = c->opt.metadata,
		.master = c->opt.master,
		.protocol = c->opt.protocol,
		.tenant = c->opt.tenant,
		.transports = bytes ? NULL : "tcp",
		.timeout_ns = c->opt.timeout_ns,
		.deadline_ns = c->deadline_ns,
	};
	int ret;

	if (!strcmp(c->opt.master, "embedded"))
		return usage(c, "an embedded store lives inside its process: there is nothing to ask");
	ret = mc_store_open(&o, &c->store);
	if (ret)
		return fail(c, ret, "cannot reach the master at %s", c->opt.master);
	return EXIT_OK;
}

int word_key(struct ctl *c, int i, struct mc_key *out)
{
	const char *word = c->words[i];
	size_t len = strlen(word);
	uint8_t *bytes;

	bytes = malloc(len + 1);
	if (!bytes)
		return fail(c, -ENOMEM, "key");
	memcpy(bytes, word, len);
	for (size_t k = 0; c->opt.hex && k < len; k += 2) {
		int high = hex_digit((char)tolower((uint8_t)word[k])), low = hex_digit((char)tolower((uint8_t)word[k + 1]));

		if (high < 0 || low < 0) {
			free(bytes);
			return usage(c, "\"%s\" is not hexadecimal, two digits a byte", word);
		}
		bytes[k / 2] = (uint8_t)(high << 4 | low);
	}
	*out = (struct mc_key){ bytes, c->opt.hex ? len / 2 : len };
	return EXIT_OK;
}

/* ---- from start to end ---- */

static int run(struct ctl *c, int argc, char **argv)
{
	char **words;
	int ret;

	ret = read_line(c, argc, argv);
	if (ret)
		return ret;
	if (c->opt.version) {
		printf("mooncakectl %s\n", MC_VERSION);
		return EXIT_OK;
	}
	if (c->opt.help)
		return print_help(c);
	words = c->words;
	ret = choose_command(c);
	if (!ret) {
		c->deadline_ns = deadline_after_ns(c->opt.timeout_ns);
		ret = c->cmd->run(c);
	}
	c->words = words;
	return ret;
}

int main(int argc, char **argv)
{
	struct ctl c = { 0 };
	int ret = EXIT_FAILED;

	mc_log_set(log_line, NULL, MC_LOG_WARN);
	if (!conf_open(&c.conf, items, ARRAY_SIZE(items), &c.opt))
		ret = run(&c, argc, argv);
	mc_store_close(c.store);
	free(c.words);
	conf_close(&c.conf);
	if (fflush(stdout) || ferror(stdout)) {
		perror("mooncakectl: stdout");
		ret = EXIT_FAILED;
	}
	return ret;
}
