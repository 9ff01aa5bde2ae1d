// SPDX-License-Identifier: Apache-2.0
/* One buffer for each NUMA node, registered; request i of thread t lies at block_size * (i * threads + t) of its buffer. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "bench.h"

#define MPOL_PREFERRED 1 /* <linux/mempolicy.h> */

uint64_t block_at(const struct options *o, unsigned thread, unsigned i)
{
	return o->block_size * ((uint64_t)i * (uint64_t)o->threads + thread);
}

/* The nodes of this machine are the topology's places called cpu:N. */
static int find_nodes(int node[BUFFERS_MAX])
{
	char *text = mc_topology_json(NULL);
	int nr = 0;

	for (const char *p = text; p && (p = strstr(p, "\"cpu:")) && nr < BUFFERS_MAX; p += 5)
		node[nr++] = atoi(p + 5);
	free(text);
	if (!nr)
		node[nr++] = 0;
	return nr;
}

static int add(struct memory *m, struct mc_engine *eng, int node)
{
	unsigned long mask[16] = { 0 };
	char location[32];
	uint8_t *p;
	int ret;

	p = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		log_err("no memory for a buffer of %llu bytes; give a smaller --buffer_size", (unsigned long long)m->len);
		return -ENOMEM;
	}
	m->buffer[m->nr] = p;
	m->node[m->nr++] = node;
	if (node < (int)(8 * sizeof(mask)) && m->nr > 1) {
		mask[(size_t)node / (8 * sizeof(mask[0]))] |= 1ul << ((size_t)node % (8 * sizeof(mask[0])));
		syscall(SYS_mbind, p, m->len, MPOL_PREFERRED, mask, 8 * sizeof(mask), 0); /* a wish */
	}
	memset(p, 0xcc, m->used);
	snprintf(location, sizeof(location), "cpu:%d", node);
	ret = mc_region_add(eng, p, m->len, location, NULL);
	if (ret)
		log_err("a buffer cannot be registered: %s", mc_last_error());
	return ret;
}

int memory_open(struct memory *m, struct mc_engine *eng, struct options *o)
{
	int node[BUFFERS_MAX], nr = find_nodes(node), ret = 0;
	uint64_t used;

	*m = (struct memory){ 0 };
	if (check_mul(o->block_size, (uint64_t)(o->batch_size * o->threads), &used)) {
		log_err("block_size * batch_size * threads is beyond 64 bits");
		return -EINVAL;
	}
	if (o->buffer_size < used) {
		log_warn("buffer_size is raised to %llu: block_size * batch_size * threads", (unsigned long long)used);
		o->buffer_size = used;
	}
	m->len = o->buffer_size;
	m->used = used;
	for (int i = 0; i < nr && !ret; i++)
		ret = add(m, eng, node[i]);
	return ret;
}

void memory_close(struct memory *m)
{
	while (m->nr)
		munmap(m->buffer[--m->nr], m->len);
}
