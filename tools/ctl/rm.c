// SPDX-License-Identifier: Apache-2.0
/* rm: objects by key, by expression, or all of the tenant. */
#include "ctl.h"

#include <stdio.h>

static int print_count(struct ctl *c, int64_t n)
{
	struct json_object *o;

	if (!c->opt.json) {
		printf("%s objects removed\n", human_count((uint64_t)n).text);
		return EXIT_OK;
	}
	o = json_object_new_object();
	json_object_object_add(o, "removed", json_object_new_int64(n));
	json_print(o);
	return EXIT_OK;
}

static int remove_matching(struct ctl *c, uint32_t flags)
{
	const char *regex = c->opt.all ? NULL : c->opt.match;
	int64_t n = mc_store_remove_matching(c->store, regex, flags, c->deadline_ns);

	if (n < 0)
		return fail(c, (int)n, "rm %s", regex ? regex : "--all");
	return print_count(c, n);
}

static const char *outcome(int result)
{
	if (result == -EBUSY)
		return "leased to a reader; wait for the lease to end, or use --force";
	if (result == -ETXTBSY)
		return "being copied or moved; wait for that to end";
	return result == -ENOENT ? "not there" : strerror(-result);
}

static void report(struct ctl *c, const struct mc_remove *items, unsigned nr)
{
	struct json_object *all = c->opt.json ? json_object_new_array() : NULL;

	for (unsigned i = 0; i < nr; i++) {
		struct buf b = BUF_INIT;

		if (all) {
			struct json_object *o = json_object_new_object();

			key_json(o, items[i].key.data, items[i].key.len);
			json_object_object_add(o, "removed", json_object_new_boolean(!items[i].result));
			if (items[i].result)
				json_object_object_add(o, "error", json_object_new_string(outcome(items[i].result)));
			json_object_array_add(all, o);
		} else if (items[i].result) {
			key_text(items[i].key.data, items[i].key.len, &b);
			fprintf(stderr, "mooncakectl: %.*s: %s\n", (int)b.len, b.data ? (char *)b.data : "", outcome(items[i].result));
			buf_fini(&b);
		}
	}
	if (all)
		json_print(all);
}

static int remove_keys(struct ctl *c, uint32_t flags)
{
	unsigned nr = (unsigned)c->nr_words;
	struct mc_remove *items = calloc(nr, sizeof(*items));
	int ret = EXIT_OK;

	if (!items)
		return fail(c, -ENOMEM, "rm");
	for (unsigned i = 0; i < nr && !ret; i++)
		ret = word_key(c, (int)i, &items[i].key);
	if (!ret) {
		ret = mc_store_remove(c->store, items, nr, flags, c->deadline_ns) == (int)nr ? EXIT_OK : EXIT_FAILED;
		report(c, items, nr);
	}
	for (unsigned i = 0; i < nr; i++)
		free((void *)(uintptr_t)items[i].key.data);
	free(items);
	return ret;
}

int cmd_rm(struct ctl *c)
{
	uint32_t flags = c->opt.force ? MC_REMOVE_FORCE : 0;
	int ways = (c->nr_words > 0) + c->opt.all + (c->opt.match[0] != 0), ret;

	if (!ways)
		return usage(c, "rm needs a key, --match REGEX or --all");
	if (ways > 1)
		return usage(c, "rm takes keys, --match or --all: one of them");
	ret = store_connect(c, false);
	if (ret)
		return ret;
	return c->nr_words ? remove_keys(c, flags) : remove_matching(c, flags);
}
