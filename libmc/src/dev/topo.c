// SPDX-License-Identifier: Apache-2.0
/* Processors and memory nodes, from sysfs. */
#include "dev/dev.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "dev/text.h"

#define ID_MAX	  65535 /* of a processor or node; far above what a kernel has */
#define LIST_TEXT 16384

/*
 * The next range of a list such as "0-3,8,10-11"; *p moves on. Return: 1, 0 at the end, -EBADMSG.
 */
static int next_range(const char **p, long *first, long *last)
{
	char *end;

	if (**p == '\n' || !**p)
		return 0;
	*first = *last = strtol(*p, &end, 10);
	if (end == *p)
		return -EBADMSG;
	*p = end;
	if (**p == '-') {
		*last = strtol(++*p, &end, 10);
		if (end == *p)
			return -EBADMSG;
		*p = end;
	}
	if (**p == ',')
		++*p;
	else if (**p && **p != '\n')
		return -EBADMSG;
	return *first < 0 || *last < *first || *last > ID_MAX ? -EBADMSG : 1;
}

/* How many ids a list file names. */
static int count_list(const char *path)
{
	char text[LIST_TEXT];
	const char *p = text;
	long first, last, nr = 0;
	int ret = file_text(path, text, sizeof(text));

	if (ret < 0)
		return ret;
	while ((ret = next_range(&p, &first, &last)) > 0)
		nr += last - first + 1;
	return ret ? ret : (int)nr;
}

static int read_node(const char *sysfs, int id, struct topo_node *n)
{
	char path[PATH_MAX], text[4096];
	int64_t bytes = 0;
	int cpus;

	snprintf(path, sizeof(path), "%s/devices/system/node/node%d/cpulist", sysfs, id);
	cpus = count_list(path);
	if (cpus < 0)
		return cpus;
	snprintf(path, sizeof(path), "%s/devices/system/node/node%d/meminfo", sysfs, id);
	if (file_text(path, text, sizeof(text)) > 0)
		bytes = text_kb_bytes(text, " MemTotal:");
	*n = (struct topo_node){ .id = id,
				 .nr_cpus = cpus,
				 .mem_bytes = bytes < 0 ? 0 : (uint64_t)bytes };
	return 0;
}

static int read_nodes(const char *sysfs, struct topo *t)
{
	char path[PATH_MAX], text[LIST_TEXT];
	const char *p = text;
	long first, last;
	int nr, ret;

	if (snprintf(path, sizeof(path), "%s/devices/system/node/online", sysfs) >= PATH_MAX - 64)
		return -ENAMETOOLONG;
	nr = count_list(path);
	if (nr <= 0)
		return nr;
	t->nodes = calloc((size_t)nr, sizeof(*t->nodes));
	if (!t->nodes)
		return -ENOMEM;
	ret = file_text(path, text, sizeof(text));
	while (ret >= 0 && (ret = next_range(&p, &first, &last)) > 0) {
		for (long id = first; id <= last && ret >= 0; id++) {
			if (t->nr_nodes == nr)
				return -EBADMSG; /* it grew between the two readings */
			ret = read_node(sysfs, (int)id, &t->nodes[t->nr_nodes++]);
		}
	}
	return ret;
}

static int read_cpus(const char *sysfs)
{
	char path[PATH_MAX];
	int nr;

	snprintf(path, sizeof(path), "%s/devices/system/cpu/online", sysfs);
	nr = count_list(path);
	return nr > 0 ? nr : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static int single_node(struct topo *t)
{
	t->nodes = calloc(1, sizeof(*t->nodes));
	if (!t->nodes)
		return -ENOMEM;
	t->nodes[0] = (struct topo_node){
		.mem_bytes = meminfo_bytes("MemTotal:"),
		.nr_cpus = t->nr_cpus,
	};
	t->nr_nodes = 1;
	return 0;
}

int topo_cpus(const char *sysfs, int node, unsigned long *set, size_t bytes)
{
	const long bits = 8 * (long)sizeof(*set), max = (long)bytes * 8;
	char path[PATH_MAX], text[LIST_TEXT];
	const char *p = text;
	long first, last;
	int ret;

	snprintf(path, sizeof(path), "%s/devices/system/node/node%d/cpulist", sysfs ? sysfs : "/sys", node);
	ret = file_text(path, text, sizeof(text));
	if (ret < 0)
		return ret;
	memset(set, 0, bytes);
	while ((ret = next_range(&p, &first, &last)) > 0)
		for (long cpu = first; cpu <= last && cpu < max; cpu++)
			set[cpu / bits] |= 1UL << cpu % bits;
	return ret;
}

int topo_read(const char *sysfs, struct topo *out)
{
	struct topo t = { 0 };
	int ret;

	if (!sysfs)
		sysfs = "/sys";
	ret = read_nodes(sysfs, &t);
	t.nr_cpus = read_cpus(sysfs);
	if (ret == -ENOENT || (!ret && !t.nr_nodes)) {
		topo_free(&(struct topo){ .nodes = t.nodes });
		ret = single_node(&t);
	}
	if (ret) {
		topo_free(&t);
		return ret;
	}
	*out = t;
	return 0;
}

void topo_free(struct topo *t)
{
	free(t->nodes);
	*t = (struct topo){ 0 };
}
