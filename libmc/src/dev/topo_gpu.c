// SPDX-License-Identifier: Apache-2.0
/* Graphics and accelerator cards, by their class and maker on the PCI bus; and how far apart two devices are. */
#include <limits.h>
#include <stdio.h>

#include "dev/dev.h"
#include "dev/text.h"

#define GPUS_MAX 1024 /* of one machine */

/* By maker, since a location's first half names the maker's programming interface. */
static const struct {
	uint16_t vendor;
	const char *kind;
} makers[] = {
	{ 0x10de, "cuda" }, /* NVIDIA */
	{ 0x1002, "hip" },  /* AMD */
	{ 0x1ed5, "musa" }, /* Moore Threads */
	{ 0x9999, "maca" }, /* MetaX */
};

/* ---- one device ---- */

static int hex_file(const char *folder, const char *name, unsigned long max, unsigned long *out)
{
	char path[PATH_MAX], text[32], *end;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (file_text(path, text, sizeof(text)) < 0)
		return -ENOENT;
	*out = strtoul(text, &end, 16);
	return end == text || (*end && *end != '\n') || *out > max ? -EBADMSG : 0;
}

/* Display controllers and processing accelerators: the PCI code assignment's base class and subclass. */
static bool may_compute(unsigned long class)
{
	switch (class >> 8) {
	case 0x0300: /* VGA compatible */
	case 0x0302: /* 3D */
	case 0x0380: /* other display */
	case 0x1200: /* processing accelerator */
		return true;
	}
	return false;
}

static const char *kind_of(const char *folder)
{
	unsigned long class, vendor;

	if (hex_file(folder, "class", 0xffffff, &class) || !may_compute(class) || hex_file(folder, "vendor", 0xffff, &vendor))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++)
		if (makers[i].vendor == vendor)
			return makers[i].kind;
	return NULL; /* a board's own screen, mostly */
}

/* ---- the bus ---- */

struct reading {
	const char *bus;
	struct topo_gpus t;
};

/* Numbers of fixed width; only the domain may have a digit more. */
static int by_address(const void *a, const void *b)
{
	const struct topo_gpu *x = a, *y = b;
	size_t len_x = strlen(x->address), len_y = strlen(y->address);

	return len_x != len_y ? (len_x < len_y ? -1 : 1) : strcmp(x->address, y->address);
}

static void number(struct topo_gpus *t)
{
	qsort(t->gpu, (size_t)t->nr, sizeof(*t->gpu), by_address);
	for (int i = 0; i < t->nr; i++)
		for (int k = 0; k < i; k++)
			t->gpu[i].index += t->gpu[k].kind == t->gpu[i].kind;
}

static int add(void *arg, const char *address)
{
	struct topo_gpu *more, gpu = { 0 };
	struct reading *r = arg;
	char folder[PATH_MAX];

	if (snprintf(folder, sizeof(folder), "%s/%s", r->bus, address) >= PATH_MAX ||
	    snprintf(gpu.address, sizeof(gpu.address), "%s", address) >= (int)sizeof(gpu.address))
		return 0; /* no PCI device is called that */
	gpu.kind = kind_of(folder);
	if (!gpu.kind || r->t.nr >= GPUS_MAX)
		return 0;
	more = realloc(r->t.gpu, (size_t)(r->t.nr + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->t.gpu = more;
	gpu.path = realpath(folder, NULL);
	if (!gpu.path)
		return errno == ENOMEM ? -ENOMEM : 0; /* it was unplugged meanwhile */
	gpu.node = device_node(gpu.path);
	more[r->t.nr++] = gpu;
	return 0;
}

int topo_gpus_read(const char *sysfs, struct topo_gpus *out)
{
	char bus[PATH_MAX];
	struct reading r = { bus, { 0 } };
	int ret;

	if (snprintf(bus, sizeof(bus), "%s/bus/pci/devices", sysfs ?: "/sys") >= PATH_MAX)
		return -ENAMETOOLONG;
	ret = dir_each(bus, add, &r);
	if (ret) {
		topo_gpus_free(&r.t);
		return ret;
	}
	if (r.t.nr)
		number(&r.t);
	*out = r.t;
	return 0;
}

void topo_gpus_free(struct topo_gpus *t)
{
	for (int i = 0; i < t->nr; i++)
		free(t->gpu[i].path);
	free(t->gpu);
	*t = (struct topo_gpus){ 0 };
}

/* ---- distance ---- */

/* Moves to the next part of a path and says how long it is; 0 at the end. */
static size_t part(const char **p)
{
	*p += strspn(*p, "/");
	return strcspn(*p, "/");
}

static unsigned parts(const char *path)
{
	unsigned nr = 0;
	size_t len;

	for (; (len = part(&path)); path += len)
		nr++;
	return nr;
}

unsigned topo_distance(const char *a, const char *b)
{
	size_t len_a, len_b;

	while ((len_a = part(&a)) == (len_b = part(&b)) && len_a && !memcmp(a, b, len_a)) {
		a += len_a;
		b += len_b;
	}
	return parts(a) + parts(b);
}
