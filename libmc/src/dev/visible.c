// SPDX-License-Identifier: Apache-2.0
/*
 * Which cards a program sees, and as which number: what NVIDIA's driver lists here, and then the list in CUDA_VISIBLE_DEVICES or
 * another maker's like it.
 */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "dev/dev.h"
#include "dev/text.h"

#define UUID_MAX 64

/* ---- what the driver says ---- */

static const char *const driver = "driver/nvidia/gpus";

/* Of an address, "0000:17:00.0". Return: is it listed? @uuid may be "". */
static bool listed(const char *proc, const char *address, char uuid[UUID_MAX])
{
	char path[PATH_MAX], text[2048];
	const char *at;

	uuid[0] = 0;
	if (snprintf(path, sizeof(path), "%s/%s/%s/information", proc, driver, address) >= PATH_MAX ||
	    file_text(path, text, sizeof(text)) < 0)
		return false;
	at = strstr(text, "GPU UUID:");
	if (at)
		sscanf(at, "GPU UUID: %63s", uuid);
	return true;
}

static bool has_driver(const char *proc)
{
	char path[PATH_MAX];
	struct stat st;

	return snprintf(path, sizeof(path), "%s/%s", proc, driver) < PATH_MAX && !stat(path, &st);
}

static void drop(struct topo_gpus *t, int i)
{
	free(t->gpu[i].path);
	t->nr--;
	memmove(&t->gpu[i], &t->gpu[i + 1], (size_t)(t->nr - i) * sizeof(t->gpu[0]));
}

/* A machine's cards are all in sysfs, also in a container that was given a few. */
static void drop_unlisted(struct topo_gpus *t, const char *proc, const char *kind)
{
	char uuid[UUID_MAX];
	int index = 0;

	for (int i = 0; i < t->nr;) {
		if (t->gpu[i].kind != kind) {
			i++;
		} else if (listed(proc, t->gpu[i].address, uuid)) {
			t->gpu[i++].index = index++;
		} else {
			drop(t, i);
		}
	}
}

/* ---- the list ---- */

static bool is_named(const struct topo_gpu *gpu, const char *proc, const char *word, size_t len)
{
	char *end, uuid[UUID_MAX];
	unsigned long n;

	if (*word >= '0' && *word <= '9') {
		n = strtoul(word, &end, 10);
		return end == word + len && n == (unsigned long)gpu->index;
	}
	/* The beginning is enough. */
	return len > 4 && !strncmp(word, "GPU-", 4) && listed(proc, gpu->address, uuid) && !strncmp(word, uuid, len);
}

/* The card that a word of the list names, of those not named before; -1: none. */
static int find(const struct topo_gpus *t, const int *seen_as, const char *proc, const char *kind, const char *word, size_t len)
{
	for (int i = 0; i < t->nr; i++)
		if (t->gpu[i].kind == kind && seen_as[i] < 0 && is_named(&t->gpu[i], proc, word, len))
			return i;
	return -1;
}

/* seen_as[i]: number of card i, -1: not seen. The list ends before the first word that names no card, as CUDA does it. */
static void read_list(const struct topo_gpus *t, int *seen_as, const char *proc, const char *kind, const char *list)
{
	int nr = 0;

	for (;;) {
		size_t len;
		int i;

		list += strspn(list, " ");
		len = strcspn(list, ", ");
		i = len ? find(t, seen_as, proc, kind, list, len) : -1;
		if (i < 0)
			return;
		seen_as[i] = nr++;
		list += len;
		list += strspn(list, " ");
		if (*list++ != ',')
			return;
	}
}

static void take_list(struct topo_gpus *t, const char *proc, const char *kind, const char *list)
{
	int *seen_as = malloc((size_t)t->nr * sizeof(*seen_as));

	if (!seen_as)
		return;
	for (int i = 0; i < t->nr; i++)
		seen_as[i] = -1;
	read_list(t, seen_as, proc, kind, list);
	for (int i = t->nr; i--;) {
		if (t->gpu[i].kind != kind)
			continue;
		t->gpu[i].index = seen_as[i];
		if (seen_as[i] < 0)
			drop(t, i);
	}
	free(seen_as);
}

void topo_gpus_see(struct topo_gpus *t, const char *proc, const char *kind, const char *list)
{
	for (int i = 0; i < t->nr; i++) /* one text each: compared by address from here on */
		if (!strcmp(t->gpu[i].kind, kind))
			kind = t->gpu[i].kind;
	proc = proc ?: "/proc";
	if (!strcmp(kind, "cuda") && has_driver(proc))
		drop_unlisted(t, proc, kind);
	if (t->nr && strcmp(list, "all"))
		take_list(t, proc, kind, list);
}
