// SPDX-License-Identifier: Apache-2.0
/* region: memory that /dev/mooncake keeps. list, show, rm (the name goes, the memory with its last user), revoke (at once). */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dev/dev.h"

struct one {
	struct mc_ioc_region_info i;
	char name[MC_NAME_MAX + 1]; /* "" unpublished */
};

struct all {
	struct one *r;
	size_t nr, cap;
};

/* ---- asking the module ---- */

static int open_device(struct ctl *c, int *fd)
{
	struct module_status s;

	/* An older or newer module can still be looked into, as far as it understands. */
	module_status(NULL, &s);
	if (s.err && s.err != -EPROTO && s.err != -EOPNOTSUPP)
		return fail(c, 0, "%s; %s", s.why, s.fix ? s.fix : "look into the kernel's log");
	*fd = open("/dev/mooncake", O_RDWR | O_CLOEXEC);
	return *fd < 0 ? fail(c, -errno, "/dev/mooncake") : EXIT_OK;
}

static int add(struct all *a, const struct one *o)
{
	if (a->nr == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 16;
		struct one *r = reallocarray(a->r, cap, sizeof(*r));

		if (!r)
			return -ENOMEM;
		a->r = r;
		a->cap = cap;
	}
	a->r[a->nr++] = *o;
	return 0;
}

/* Every region this user may see. */
static int read_all(int fd, struct all *a)
{
	uint64_t id = 0;

	for (;;) {
		struct one o = { .i = { .size = sizeof(o.i), .flags = MC_INFO_NEXT, .fd = -1, .id = id } };
		int ret;

		o.i.name = (uint64_t)(uintptr_t)o.name;
		o.i.name_len = sizeof(o.name) - 1;
		if (ioctl(fd, MC_IOC_REGION_INFO, &o.i))
			return errno == ENOENT ? 0 : -errno;
		id = o.i.id;
		ret = add(a, &o);
		if (ret)
			return ret;
	}
}

/* ---- showing ---- */

static const struct {
	uint32_t bit;
	const char *word;
} states[] = {
	{ MC_STATE_WRITER, "served" },
	{ MC_STATE_DIRTY, "dirty" },
	{ MC_STATE_SEALED, "sealed" },
	{ MC_STATE_REVOKED, "revoked" },
};

static struct human state_text(uint32_t state)
{
	struct human h = { "" };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		size_t len = strlen(h.text);

		if (state & states[i].bit)
			snprintf(h.text + len, sizeof(h.text) - len, "%s%s", len ? "," : "", states[i].word);
	}
	if (!h.text[0])
		strcpy(h.text, state & MC_STATE_PUBLISHED ? "kept" : "private");
	return h;
}

static const char *const backings[] = { "auto", "huge", "pages", "pool", "pinned", "memfd", "dma-buf" };

static const char *backing_text(uint32_t backing)
{
	return backing < ARRAY_SIZE(backings) ? backings[backing] : "?";
}

static struct human owner_text(const struct mc_ioc_region_info *i)
{
	const struct passwd *pw = getpwuid(i->uid);
	struct human h;

	if (pw)
		snprintf(h.text, sizeof(h.text), "%s", pw->pw_name);
	else
		snprintf(h.text, sizeof(h.text), "%u", i->uid);
	return h;
}

static struct human node_text(int32_t node)
{
	struct human h = { "any" };

	if (node >= 0)
		snprintf(h.text, sizeof(h.text), "%d", node);
	return h;
}

static struct json_object *to_json(const struct one *o)
{
	const struct mc_ioc_region_info *i = &o->i;
	struct json_object *j = json_object_new_object(), *list = json_object_new_array();
	const struct {
		const char *name;
		uint64_t v;
	} numbers[] = {
		{ "bytes", i->length },	      { "resident_bytes", i->resident }, { "huge_bytes", i->huge },
		{ "pinned_bytes", i->pinned }, { "epoch", i->epoch },		  { "punched", i->gen },
		{ "descriptors", i->nr_fds },  { "mappings", i->nr_vmas },	  { "dma_bufs", i->nr_attach },
		{ "uid", i->uid },	      { "gid", i->gid },		  { "creator_pid", i->owner_pid },
	};
	char mode[8];

	snprintf(mode, sizeof(mode), "%04o", i->mode);
	json_object_object_add(j, "id", json_object_new_uint64(i->id));
	json_object_object_add(j, "name", o->name[0] ? json_object_new_string(o->name) : NULL);
	for (size_t k = 0; k < ARRAY_SIZE(states); k++)
		if (i->state & states[k].bit)
			json_object_array_add(list, json_object_new_string(states[k].word));
	json_object_object_add(j, "state", list);
	json_object_object_add(j, "backing", json_object_new_string(backing_text(i->backing)));
	json_object_object_add(j, "numa_node", i->node < 0 ? NULL : json_object_new_int(i->node));
	json_object_object_add(j, "mode", json_object_new_string(mode));
	for (size_t k = 0; k < ARRAY_SIZE(numbers); k++)
		json_object_object_add(j, numbers[k].name, json_object_new_uint64(numbers[k].v));
	return j;
}

static void add_row(struct table *t, const struct one *o)
{
	const struct mc_ioc_region_info *i = &o->i;

	table_cell(t, "%" PRIu64, (uint64_t)i->id);
	table_cell(t, "%s", o->name[0] ? o->name : "-");
	table_cell(t, "%s", state_text(i->state).text);
	table_cell(t, "%s", human_bytes(i->length).text);
	table_cell(t, "%s", human_bytes(i->resident).text);
	table_cell(t, "%s", human_percent(i->huge, i->resident).text);
	table_cell(t, "%s", node_text(i->node).text);
	table_cell(t, "%u", i->nr_vmas);
	table_cell(t, "%s", human_bytes(i->pinned).text);
	table_cell(t, "%" PRIu64, (uint64_t)i->epoch);
	table_cell(t, "%s", owner_text(i).text);
	table_cell(t, "%04o", i->mode);
}

static int list(struct ctl *c, const struct all *a)
{
	static const char *const heads[] = { ">id",   "name",  "state",	   ">bytes", ">resident", ">huge",
					     ">node", ">maps", ">pinned", ">epoch", "user",	 "mode" };
	struct json_object *out;
	struct table t;

	if (c->opt.json) {
		out = json_object_new_array();
		for (size_t i = 0; i < a->nr; i++)
			json_object_array_add(out, to_json(&a->r[i]));
		json_print(out);
		return EXIT_OK;
	}
	if (!a->nr) {
		printf("no regions that this user may see\n");
		return EXIT_OK;
	}
	table_open(&t, ARRAY_SIZE(heads), heads);
	for (size_t i = 0; i < a->nr; i++)
		add_row(&t, &a->r[i]);
	table_print(&t);
	return EXIT_OK;
}

static void show_one(const struct one *o)
{
	const struct mc_ioc_region_info *i = &o->i;

	printf("%-12s %" PRIu64 "\n%-12s %s\n%-12s %s\n", "id", (uint64_t)i->id, "name", o->name[0] ? o->name : "-", "state",
	       state_text(i->state).text);
	printf("%-12s %s\n%-12s %s, %s in huge pages\n%-12s %s\n", "length", human_bytes(i->length).text, "resident",
	       human_bytes(i->resident).text, human_bytes(i->huge).text, "pinned", human_bytes(i->pinned).text);
	printf("%-12s %s\n%-12s %s\n%-12s %" PRIu64 "\n", "backing", backing_text(i->backing), "numa node", node_text(i->node).text,
	       "epoch", (uint64_t)i->epoch);
	printf("%-12s %u descriptors, %u mappings, %u dma-bufs\n", "users", i->nr_fds, i->nr_vmas, i->nr_attach);
	printf("%-12s %s, group %u, mode %04o\n", "owner", owner_text(i).text, i->gid, i->mode);
	if (i->owner_pid)
		printf("%-12s process %u\n", "made by", i->owner_pid);
}

/* ---- choosing and changing ---- */

/* @word: an id, a name, or a pattern of names. */
static bool matches(const struct one *o, const char *word)
{
	char *end;
	uint64_t id = strtoull(word, &end, 10);

	if (*word && !*end && id == o->i.id)
		return true;
	return o->name[0] && !fnmatch(word, o->name, 0);
}

/* A pool's regions are "mc-POOL-PART"; its owner holds the lease of "mc-POOL-dir" only. */
static bool is_served(const struct all *a, const struct one *o)
{
	const char *part = strrchr(o->name, '-');
	size_t len = part ? (size_t)(part - o->name) : 0;

	if (o->i.state & MC_STATE_WRITER)
		return true;
	for (size_t i = 0; i < a->nr && !strncmp(o->name, "mc-", 3); i++)
		if (a->r[i].i.state & MC_STATE_WRITER && !strncmp(a->r[i].name, o->name, len) && !strcmp(a->r[i].name + len, "-dir"))
			return true;
	return false;
}

static int unpublish(int fd, const struct one *o, bool force)
{
	struct mc_ioc_region_publish p = {
		.size = sizeof(p),
		.flags = force ? MC_UNPUBLISH_FORCE : 0,
		.fd = -1,
		.name = (uint64_t)(uintptr_t)o->name,
		.name_len = (uint32_t)strlen(o->name),
	};

	return ioctl(fd, MC_IOC_REGION_UNPUBLISH, &p) ? -errno : 0;
}

static int revoke_one(int fd, const struct one *o, uint64_t *pinned)
{
	struct mc_ioc_region_revoke r = { .size = sizeof(r), .fd = -1, .id = o->i.id };

	if (ioctl(fd, MC_IOC_REGION_REVOKE, &r))
		return -errno;
	*pinned = r.out_pinned;
	return 0;
}

static int remove_one(struct ctl *c, int fd, const struct all *a, const struct one *o)
{
	int ret;

	if (!o->name[0])
		return fail(c, 0, "region %" PRIu64 " has no name: it goes with its last user, or at once with revoke", (uint64_t)o->i.id);
	if (!c->opt.force && is_served(a, o))
		return fail(c, 0, "%s: a process is serving it; stop that, or use --force", o->name);
	ret = unpublish(fd, o, c->opt.force);
	if (ret)
		return fail(c, ret, "%s", o->name);
	if (!c->opt.json)
		printf("%s: removed%s\n", o->name, o->i.nr_vmas ? "; its memory goes with the last mapping" : "");
	return EXIT_OK;
}

static int revoke_and_tell(struct ctl *c, int fd, const struct one *o)
{
	uint64_t pinned = 0;
	int ret = revoke_one(fd, o, &pinned);

	if (ret)
		return fail(c, ret, "%s", o->name[0] ? o->name : "region");
	if (!c->opt.json)
		printf("%s: revoked; hardware still reaches %s\n", o->name[0] ? o->name : "region", human_bytes(pinned).text);
	return EXIT_OK;
}

enum action { SHOW, RM, REVOKE };

static int act(struct ctl *c, int fd, const struct all *a, enum action what, const char *word)
{
	int bad = EXIT_OK;
	bool any = false;

	/* Backwards: a pool's directory has the smallest number, and goes last. */
	for (size_t i = a->nr; i--;) {
		const struct one *o = &a->r[i];
		int ret = EXIT_OK;

		if (!matches(o, word))
			continue;
		if (what == SHOW && c->opt.json)
			json_print(to_json(o));
		else if (what == SHOW)
			printf("%s", any ? "\n" : ""), show_one(o);
		else
			ret = what == RM ? remove_one(c, fd, a, o) : revoke_and_tell(c, fd, o);
		any = true;
		bad = ret ? ret : bad;
	}
	return any ? bad : fail(c, 0, "%s: no such region that this user may see", word);
}

int cmd_region(struct ctl *c)
{
	static const char *const words[] = { "show", "rm", "revoke" };
	struct all a = { 0 };
	size_t what = 0;
	int fd, ret;

	while (what < ARRAY_SIZE(words) && strcmp(c->words[0], words[what]) != 0)
		what++;
	if (what == ARRAY_SIZE(words) && strcmp(c->words[0], "list") != 0)
		return usage(c, "region %s: it is list, show, rm or revoke", c->words[0]);
	if (what < ARRAY_SIZE(words) ? c->nr_words < 2 : c->nr_words > 1)
		return usage(c, what < ARRAY_SIZE(words) ? "region %s needs names or ids" : "region %s takes no name", c->words[0]);
	ret = open_device(c, &fd);
	if (ret)
		return ret;
	ret = read_all(fd, &a);
	if (ret) {
		ret = fail(c, ret, "/dev/mooncake does not tell its regions");
	} else if (what == ARRAY_SIZE(words)) {
		ret = list(c, &a);
	} else {
		for (int i = 1; i < c->nr_words; i++) {
			int one = act(c, fd, &a, (enum action)what, c->words[i]);

			ret = one ? one : ret;
		}
	}
	free(a.r);
	close(fd);
	return ret;
}
