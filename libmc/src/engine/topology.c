/* SPDX-License-Identifier: Apache-2.0 */
/* The places of this machine, each with the NICs that are near it and the others. */
#include "engine/topology.h"

#include <mooncake/engine.h>
#include <stdio.h>

#include "base/env.h"
#include "base/log.h"
#include "dev/dev.h"

/* ---- discovery ------------------------------------------------------------------------------- */

/* Takes what may not be used out of @t. */
static void filter(struct topo_nics *t, const struct topology_source *from)
{
	int kept = 0;

	for (int i = 0; i < t->nr; i++) {
		struct topo_nic *nic = &t->nic[i];

		if (!nic->unusable && list_has(from->devices, nic->name) &&
		    list_has(from->also, nic->name)) {
			t->nic[kept++] = *nic;
			continue;
		}
		log_debug("RDMA device %s is not used: %s", nic->name,
			  nic->unusable ?: "it is not among the devices that may be");
		free(nic->path);
	}
	t->nr = kept;
}

static int add_node(struct places *t, const struct topo_node *node, const struct topo_nics *nics)
{
	char name[PLACE_NAME_MAX];
	struct place *p;
	int ret;

	snprintf(name, sizeof(name), "cpu:%d", node->id);
	ret = places_add(t, name, &p);
	for (int i = 0; i < nics->nr && !ret; i++)
		ret = place_add_nic(p, nics->nic[i].node == node->id, nics->nic[i].name);
	return ret;
}

/* The smallest distance to a NIC, of those on the same node when there are any. */
static unsigned nearest(const struct topo_gpu *gpu, const struct topo_nics *nics, bool same_node)
{
	unsigned best = UINT32_MAX;

	for (int i = 0; i < nics->nr; i++) {
		unsigned d = topo_distance(gpu->path, nics->nic[i].path);

		if (d < best && (!same_node || nics->nic[i].node == gpu->node))
			best = d;
	}
	return best;
}

static int add_gpu(struct places *t, const struct topo_gpu *gpu, const struct topo_nics *nics)
{
	unsigned best = nearest(gpu, nics, true);
	bool same_node = best != UINT32_MAX;
	char name[PLACE_NAME_MAX];
	struct place *p;
	int ret;

	if (!same_node)
		best = nearest(gpu, nics, false);
	snprintf(name, sizeof(name), "%s:%d", gpu->kind, gpu->index);
	ret = places_add(t, name, &p);
	for (int i = 0; i < nics->nr && !ret; i++) {
		const struct topo_nic *nic = &nics->nic[i];
		bool near = topo_distance(gpu->path, nic->path) == best &&
			    (!same_node || nic->node == gpu->node);

		ret = place_add_nic(p, near, nic->name);
	}
	return ret;
}

static int assemble(const struct topo *machine, const struct topo_gpus *gpus,
		    const struct topo_nics *nics, struct places *t)
{
	int ret = 0;

	for (int i = 0; i < machine->nr_nodes && !ret; i++)
		ret = add_node(t, &machine->nodes[i], nics);
	for (int i = 0; i < gpus->nr && !ret; i++)
		ret = add_gpu(t, &gpus->gpu[i], nics);
	places_sort(t);
	return ret;
}

int topology_discover(const struct topology_source *from, struct places *out)
{
	struct places t = { 0 };
	struct topo_nics nics = { 0 };
	struct topo_gpus gpus = { 0 };
	struct topo machine = { 0 };
	int ret;

	ret = topo_read(from->sysfs, &machine);
	if (!ret)
		ret = topo_nics_read(from->sysfs, from->dev, &nics);
	if (!ret)
		ret = topo_gpus_read(from->sysfs, &gpus);
	if (!ret) {
		filter(&nics, from);
		topo_gpus_see(&gpus, from->proc, "cuda", from->cuda ?: "all");
		topo_gpus_see(&gpus, from->proc, "hip", from->hip ?: "all");
		ret = assemble(&machine, &gpus, &nics, &t);
	}
	topo_gpus_free(&gpus);
	topo_nics_free(&nics);
	topo_free(&machine);
	if (ret) {
		log_err("this machine's topology cannot be read from sysfs: %s", strerror(-ret));
		places_fini(&t);
		return ret;
	}
	*out = t;
	return 0;
}

/* ---- a topology of the user's own ------------------------------------------------------------- */

/* Bytes of a file, the caller's to free; -ENODATA: it is empty. */
static int read_file(const char *path, char **out, size_t *len)
{
	FILE *f = fopen(path, "re");
	char *text;
	int ret;

	if (!f)
		return -errno;
	text = malloc(JSON_TEXT_MAX);
	*len = text ? fread(text, 1, JSON_TEXT_MAX, f) : 0;
	ret = !text ? -ENOMEM : ferror(f) ? -EIO : !*len ? -ENODATA : !feof(f) ? -EFBIG : 0;
	fclose(f);
	if (ret)
		free(text);
	else
		*out = text;
	return ret;
}

int topology_custom(const char *path, struct places *out)
{
	char *text = NULL;
	size_t len = 0;
	int ret = read_file(path, &text, &len);

	if (ret) {
		log_warn("topology file %s: %s; what is found counts instead", path,
			 strerror(-ret));
		return -ENOENT;
	}
	ret = places_parse(text, len, out);
	free(text);
	return ret;
}

/* ---- the public call ------------------------------------------------------------------------- */

int topology_find(const char *devices, struct places *out)
{
	struct topology_source from = { .devices = devices };
	struct env env;
	int ret = env_open(&env);

	if (ret)
		return ret;
	from.also = env.te_filters;
	from.cuda = env.cuda_visible_devices;
	from.hip = env.hip_visible_devices;
	ret = *env.custom_topo_json ? topology_custom(env.custom_topo_json, out) : -ENOENT;
	if (ret == -ENOENT)
		ret = topology_discover(&from, out);
	env_close(&env);
	return ret;
}

char *mc_topology_json(const char *devices)
{
	struct buf b = BUF_INIT;
	struct places t;
	int ret = topology_find(devices, &t);

	if (!ret) {
		places_print(&t, &b);
		buf_put_u8(&b, 0);
		ret = b.err;
		places_fini(&t);
	}
	if (ret) {
		buf_fini(&b);
		errno = -ret;
		return NULL;
	}
	return (char *)b.data;
}
