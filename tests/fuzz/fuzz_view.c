// SPDX-License-Identifier: Apache-2.0
/*
 * Readers and the next owner in front of memory that others wrote. A sound pool is patched as the
 * input says, in its directory and in its data: looking up, reading and mapping must stay inside
 * both. When only data was patched, a new owner must manage to adopt it and to empty it. A patch
 * is 11 bytes: where (1), which place (2), and eight bytes for there.
 */
#include <sanitizer/lsan_interface.h>
#include <unistd.h>

#include "base/log.h"
#include "pool/inner.h"
#include "pool_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define OBJECTS	 12
#define PATCH	 11
#define READ_MAX (2 * MiB)

static struct pool_view sound; /* the real memory, patched for adoption */
static struct pool_view
	copy; /* exactly as long, on the heap, where the sanitizer sees every step beyond */
static uint8_t *dir_image, *data_image;
static uint64_t extents[64]; /* offsets of headers */
static unsigned nr_extents;
static struct pool *pool; /* stays open: its descriptors are adopted */

static void quiet(void *arg, enum mc_log_level level, const char *text)
{
}

static void put(struct pool *p, unsigned nr, uint64_t size, uint32_t flags)
{
	struct rig_key k;
	uint8_t *value = calloc(1, size);

	if (rig_put(p, rig_key(&k, nr), value, size, flags))
		abort();
	free(value);
}

static void note_extents(const struct pool_view *v)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct found f;
		struct rig_key k;
		uint64_t place;

		rig_key(&k, i);
		if (view_lookup(v, k.key.data, k.key.len, &f))
			continue;
		place = place_pack(f.loc.region, f.loc.off);
		while (place && nr_extents < ARRAY_SIZE(extents)) {
			extents[nr_extents++] = place_off(place);
			place = ((struct extent_hdr *)((char *)v->region[0].base +
						       place_off(place)))
					->next;
		}
	}
}

static void setup(void)
{
	struct pool_opts o = { .bytes = MiB, .entries = 1024 };
	struct rig_key k;

	mc_log_set(quiet, NULL, MC_LOG_ERR);
	if (pool_create(&o, &pool))
		abort();
	/* Holes between pins, so that the last one is in several pieces. */
	for (unsigned i = 100; i < 120; i++)
		put(pool, i, 50000, OBJ_HARD_PIN);
	for (unsigned i = 100; i < 120; i += 2)
		pool_drop(pool, rig_key(&k, i), 0, true, 0, 0);
	for (unsigned i = 0; i < OBJECTS - 1; i++)
		put(pool, i, 1 + i * 700, 0);
	put(pool, OBJECTS - 1, 200000, 0);
	sound = *pool_view(pool);
	note_extents(&sound);
	dir_image = malloc(sound.dir_region.size);
	data_image = malloc(sound.region[0].size);
	copy = sound;
	copy.dir_region.base = malloc(sound.dir_region.size);
	copy.region[0].base = malloc(sound.region[0].size);
	copy.dir = copy.dir_region.base;
	copy.touches = NULL;
	if (!dir_image || !data_image || !copy.dir || !copy.region[0].base)
		abort();
	memcpy(dir_image, sound.dir_region.base, sound.dir_region.size);
	memcpy(data_image, sound.region[0].base, sound.region[0].size);
}

/* Where a patch goes: in the directory (bit 31) or in the data. */
static uint32_t target(const uint8_t *p)
{
	uint32_t at = get_le16(p + 1), dir = 1u << 31;

	switch (p[0] % 5) {
	case 0:
		return dir | at % (sizeof(struct dir_header) - 7);
	case 1:
		return dir | (uint32_t)(sound.buckets_off + at % (sound.nr_buckets * 8 - 7));
	case 2:
		return dir | (uint32_t)(sound.entries_off + at % (OBJECTS * 2 * 64 - 7));
	case 3:
		return (uint32_t)extents[at / 8 % nr_extents] + at % 8 * 8;
	default:
		return (at * 16u) % (uint32_t)(sound.region[0].size - 7);
	}
}

static void apply(const uint8_t *data, size_t nr, uint8_t *dir, uint8_t *region)
{
	for (; nr--; data += PATCH) {
		uint32_t at = target(data);

		memcpy(at >> 31 ? &dir[at & ~(1u << 31)] : &region[at], data + 3, 8);
	}
}

static void undo(const uint8_t *data, size_t nr, uint8_t *dir, uint8_t *region)
{
	for (; nr--; data += PATCH) {
		uint32_t at = target(data), off = at & ~(1u << 31);

		if (at >> 31)
			memcpy(&dir[off], &dir_image[off], 8);
		else
			memcpy(&region[off], &data_image[off], 8);
	}
}

static void read_all(const struct pool_view *v, const struct loc *loc, uint64_t size)
{
	struct iovec iov[8];
	int nr = view_map(v, loc, size, iov, 8);
	uint8_t *out, sum = 0;

	for (int i = 0; i < nr; i++)
		if (iov[i].iov_len)
			sum ^= *(uint8_t *)iov[i].iov_base ^
			       ((uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1];
	view_valid(v, loc);
	if (size > READ_MAX)
		return;
	out = malloc(size + 1);
	out[0] = sum;
	view_read(v, loc, size, 0, out, size);
	view_read(v, loc, size, size / 3, out, size - size / 3);
	iov[0] = (struct iovec){ out, size / 2 };
	iov[1] = (struct iovec){ out + size / 2, 0 };
	iov[2] = (struct iovec){ out + size / 2, size - size / 2 };
	view_readv(v, loc, size, iov, 3);
	free(out);
}

static void use(struct pool_view *v, const uint8_t *data, size_t len)
{
	struct dir_header h;
	struct found f;
	struct loc loc;

	memcpy(&h, v->dir, sizeof(h));
	if (!view_check_header(v, &h)) {
		v->hash_key = h.hash_key;
		v->nr_buckets = h.nr_buckets;
		v->nr_entries = h.nr_entries;
		v->buckets_off = h.buckets_off;
		v->entries_off = h.entries_off;
	}
	for (unsigned i = 0; i <= OBJECTS; i++) {
		struct rig_key k;

		rig_key(&k, i);
		if (!view_lookup(v, k.key.data, k.key.len, &f))
			read_all(v, &f.loc, f.size);
	}
	/* A location from anywhere. */
	if (len >= 24) {
		loc = (struct loc){ .region = data[0] % 3,
				    .nr_extents = get_le16(data + 1),
				    .off = get_le64(data + 3),
				    .gen = get_le64(data + 11) };
		read_all(v, &loc, get_le32(data + 19));
		loc.off = extents[data[3] % nr_extents];
		loc.gen = ((struct extent_hdr *)((char *)v->region[0].base + loc.off))->gen;
		read_all(v, &loc, get_le32(data + 19) % 300000);
	}
}

static void adopt(void)
{
	int dir = dup(sound.dir_region.fd), region = dup(sound.region[0].fd);
	struct pool_stat st;
	uint64_t kept, lost;
	struct pool *p;

	if (pool_adopt(dir, &region, 1, NULL, &p, &kept, &lost))
		abort();
	pool_stat(p, &st);
	if (pool_drop_prefix(p, NULL, 0, true, 0, 0) != kept || st.objects != kept)
		abort();
	pool_stat(p, &st);
	if (st.used || st.objects)
		abort();
	pool_close(p);
	memcpy(sound.dir_region.base, dir_image, sound.dir_region.size);
	memcpy(sound.region[0].base, data_image, sound.region[0].size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t nr = MIN(len / PATCH, (size_t)64);
	bool only_data = true;
	struct pool_view v;

	if (!dir_image) {
		/* Some of the pool's memory is known only to mappings, which it does not search. */
		__lsan_disable();
		setup();
		__lsan_enable();
		memcpy(copy.dir_region.base, dir_image, sound.dir_region.size);
		memcpy(copy.region[0].base, data_image, sound.region[0].size);
	}
	v = copy;
	apply(data, nr, copy.dir_region.base, copy.region[0].base);
	use(&v, data, len);
	undo(data, nr, copy.dir_region.base, copy.region[0].base);
	for (size_t i = 0; i < nr; i++)
		only_data &= !(target(data + i * PATCH) >> 31);
	if (only_data && nr && data[0] % 16 == 3) {
		apply(data, nr, sound.dir_region.base, sound.region[0].base);
		adopt();
	}
	return 0;
}
