/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors through a store: which objects a put makes, and every way to read them, held against indexing done by hand. */
#include "mctest.h"

#include <mooncake/store.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "tensor/tensor.h"

static struct mc_store *open_store(void)
{
	struct mc_store_opts o = { .size = sizeof(o),
				   .master = "embedded",
				   .pool_bytes = 64 << 20 };
	struct mc_store *s = NULL;

	EXPECT_EQ(mc_store_open(&o, &s), 0);
	return s;
}

static struct mc_key key_of(const char *text)
{
	return (struct mc_key){ text, strlen(text) };
}

static bool there(struct mc_store *s, const char *key)
{
	struct mc_query q = { .key = key_of(key) };

	return mc_store_exists(s, &q, 1, 0) == 1;
}

/* ---- a tensor of numbers ------------------------------------------------------------------------------------------------- */

struct sample {
	struct mc_tensor t;
	uint8_t *data;
	uint64_t bytes;
};

static struct sample sample_of(int dtype, int ndim, const int64_t *shape)
{
	struct sample a = { .t = { .dtype = dtype, .ndim = ndim } };

	memcpy(a.t.shape, shape, (size_t)ndim * sizeof(*shape));
	EXPECT_EQ(mc_tensor_bytes(&a.t, &a.bytes), 0);
	a.data = malloc(a.bytes + 1);
	for (uint64_t i = 0; i < a.bytes; i++)
		a.data[i] = (uint8_t)(i * 2654435761u >> 7);
	return a;
}

/* Are @data positions [first, first + len) of dimension @dim of @a? */
static bool is_part(const struct sample *a, int dim, int64_t first, int64_t len,
		    const uint8_t *data)
{
	uint64_t unit = mc_dtype_bytes(a->t.dtype), rows = 1, at = 0;

	for (int i = 0; i < dim; i++)
		rows *= (uint64_t)a->t.shape[i];
	for (int i = dim + 1; i < a->t.ndim; i++)
		unit *= (uint64_t)a->t.shape[i];
	for (uint64_t r = 0; r < rows; r++)
		for (int64_t i = first; i < first + len; i++, at += unit)
			if (memcmp(data + at,
				   a->data + (r * (uint64_t)a->t.shape[dim] + (uint64_t)i) * unit,
				   unit))
				return false;
	return true;
}

static int put(struct mc_store *s, const char *key, const struct sample *a,
	       const struct mc_parallel *p, const struct mc_partition *w, uint32_t flags)
{
	struct mc_tensor_put it = { .key = key_of(key),
				    .tensor = a->t,
				    .data = a->data,
				    .parallel = p,
				    .writer = w,
				    .flags = flags };
	int ok = mc_store_put_tensors(s, &it, 1, NULL, 0);

	EXPECT_EQ(ok, !it.result);
	return it.result;
}

struct room {
	uint8_t *at;
	unsigned asked;
	uint64_t limit;
};

static void *give_room(void *arg, uint64_t bytes)
{
	struct room *r = arg;

	r->asked++;
	if (r->limit && bytes > r->limit)
		return NULL;
	free(r->at);
	r->at = malloc(bytes);
	return r->at;
}

struct got {
	struct mc_tensor t;
	const uint8_t *data;
	int64_t result;
	struct room room;
};

static void get(struct mc_store *s, const char *key, int mode, const struct mc_parallel *p,
		struct got *g)
{
	struct mc_tensor_get it = {
		.key = key_of(key), .mode = mode, .parallel = p, .alloc = give_room, .arg = &g->room
	};
	struct mc_tensor head;
	uint64_t off, bytes;
	int ok;

	free(g->room.at);
	*g = (struct got){ .room.limit = g->room.limit };
	ok = mc_store_get_tensors(s, &it, 1, 0);
	EXPECT_EQ(ok, it.result >= 0);
	g->result = it.result;
	g->t = it.tensor;
	if (it.result < 0)
		return;
	g->data = g->room.at + it.data_off;
	EXPECT_EQ(mc_tensor_decode(g->room.at, (uint64_t)it.result, &head, &off), 0);
	EXPECT_MEMEQ(head.shape, it.tensor.shape, sizeof(head.shape));
	EXPECT_EQ(mc_tensor_bytes(&head, &bytes), 0);
	EXPECT_EQ(off + bytes, (uint64_t)it.result);
}

static struct mc_parallel tensor_axis(int32_t rank, int32_t size, int32_t dim)
{
	return (struct mc_parallel){ 1, { { MC_AXIS_TENSOR, rank, size, dim, MC_AXIS_NONE } } };
}

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

TEST(whole_tensors_of_every_type)
{
	struct mc_store *s = open_store();
	struct got g = { 0 };

	for (int dtype = 0; dtype < MC_NR_DTYPES; dtype++)
		for (int ndim = 0; ndim <= MC_TENSOR_MAX_DIMS; ndim++) {
			struct sample a =
				sample_of(dtype, ndim, (int64_t[]){ 2, 3, 1, 2, 1, 2, 1, 2 });
			char key[32];

			snprintf(key, sizeof(key), "%d.%d", dtype, ndim);
			EXPECT_EQ(put(s, key, &a, NULL, NULL, 0), 0);
			get(s, key, MC_TENSOR_AS_STORED, NULL, &g);
			ASSERT_EQ(g.result, (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes));
			EXPECT_EQ(g.t.dtype, dtype);
			EXPECT_EQ(g.t.ndim, ndim);
			EXPECT_MEMEQ(g.data, a.data, a.bytes);
			get(s, key, MC_TENSOR_FULL, NULL, &g);
			EXPECT_EQ(g.result, (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes));
			free(a.data);
		}
	free(g.room.at);
	mc_store_close(s);
}

TEST(no_elements)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_FLOAT32, 2, (int64_t[]){ 4, 0 });
	struct mc_parallel p = tensor_axis(1, 2, 0);
	struct got g = { 0 };

	EXPECT_EQ(put(s, "k", &a, NULL, NULL, 0), 0);
	get(s, "k", MC_TENSOR_AS_STORED, NULL, &g);
	EXPECT_EQ(g.result, MC_TENSOR_HEADER_BYTES);
	EXPECT_EQ(put(s, "c", &a, &p, NULL, MC_TENSOR_SPLIT), 0);
	get(s, "c", MC_TENSOR_FULL, &p, &g);
	EXPECT_EQ(g.result, MC_TENSOR_HEADER_BYTES);
	p = tensor_axis(0, 3, 1);
	EXPECT_EQ(put(s, "d", &a, &p, NULL, MC_TENSOR_SPLIT), 0);
	get(s, "d", MC_TENSOR_FULL, &p, &g);
	EXPECT_EQ(g.result, MC_TENSOR_HEADER_BYTES);
	free(g.room.at);
	free(a.data);
	mc_store_close(s);
}

TEST(packed_is_stored_as_it_is)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_INT16, 2, (int64_t[]){ 4, 6 });
	uint8_t packed[MC_TENSOR_HEADER_BYTES + 48];
	struct mc_tensor_put it = { .key = key_of("k"),
				    .packed = packed,
				    .packed_bytes = sizeof(packed) };
	struct mc_parallel p = tensor_axis(0, 2, 1);
	struct got g = { 0 };

	memcpy(a.t.whole_shape, a.t.shape, sizeof(a.t.shape));
	EXPECT_EQ(mc_tensor_encode(&a.t, packed), 0);
	memcpy(packed + MC_TENSOR_HEADER_BYTES, a.data, 48);
	EXPECT_EQ(mc_store_put_tensors(s, &it, 1, NULL, 0), 1);
	get(s, "k", MC_TENSOR_AS_STORED, NULL, &g);
	ASSERT_EQ(g.result, sizeof(packed));
	EXPECT_MEMEQ(g.room.at, packed, sizeof(packed));
	it.key = key_of("c");
	it.parallel = &p;
	it.flags = MC_TENSOR_SPLIT;
	EXPECT_EQ(mc_store_put_tensors(s, &it, 1, NULL, 0), 1);
	get(s, "c", MC_TENSOR_FULL, &p, &g);
	ASSERT_EQ(g.result, sizeof(packed));
	EXPECT_MEMEQ(g.data, a.data, 48);
	it.packed_bytes--;
	it.key = key_of("x");
	EXPECT_EQ(mc_store_put_tensors(s, &it, 1, NULL, 0), 0);
	EXPECT_EQ(it.result, -EINVAL);
	EXPECT_TRUE(!there(s, "x_tp_0"));
	free(g.room.at);
	free(a.data);
	mc_store_close(s);
}

TEST(which_objects_a_put_makes)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_FLOAT32, 2, (int64_t[]){ 4, 12 });
	struct mc_parallel one = tensor_axis(1, 2, 1), two = one, other;
	struct mc_partition w = { 1, 2, 0 };

	two.nr_axes = 2;
	two.axis[1] = (struct mc_axis){ MC_AXIS_DATA, 0, 3, MC_AXIS_NONE, MC_AXIS_NONE };
	other = (struct mc_parallel){ 1, { two.axis[1] } };
	EXPECT_EQ(put(s, "w", &a, NULL, &w, 0), 0);
	EXPECT_TRUE(there(s, "w__writer_1of2_sd0") && there(s, "w__writer_manifest") &&
		    !there(s, "w"));
	EXPECT_EQ(put(s, "o", &a, &one, NULL, 0), 0);
	EXPECT_TRUE(there(s, "o_tp_1") && there(s, "o__parallelism_manifest") &&
		    !there(s, "o_tp_0"));
	EXPECT_EQ(put(s, "s", &a, &one, NULL, MC_TENSOR_SPLIT), 0);
	EXPECT_TRUE(there(s, "s_tp_0") && there(s, "s_tp_1") &&
		    !there(s, "s__parallelism_manifest"));
	EXPECT_EQ(put(s, "t", &a, &two, NULL, 0), 0);
	EXPECT_TRUE(there(s, "t__dp_0of3__tp_1of2_sd1") && !there(s, "t__dp_0of3__tp_0of2_sd1") &&
		    there(s, "t__parallelism_manifest"));
	EXPECT_EQ(put(s, "u", &a, &two, NULL, MC_TENSOR_SPLIT), 0);
	EXPECT_TRUE(there(s, "u__dp_0of3__tp_1of2_sd1") && there(s, "u__dp_0of3__tp_0of2_sd1") &&
		    !there(s, "u__parallelism_manifest"));
	EXPECT_EQ(put(s, "d", &a, &other, NULL, 0), 0);
	EXPECT_TRUE(there(s, "d__dp_0of3") && !there(s, "d__parallelism_manifest"));
	free(a.data);
	mc_store_close(s);
}

TEST(what_cannot_be_stored)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_FLOAT32, 2, (int64_t[]){ 4, 12 });
	struct mc_parallel uneven = tensor_axis(0, 5, 1), outside = tensor_axis(0, 2, 2),
			   fine = tensor_axis(0, 2, 0), many = tensor_axis(0, INT32_MAX, 0);
	struct mc_partition w = { 0, 2, 0 }, late = { 2, 2, 0 }, odd = { 0, 3, 0 };

	EXPECT_EQ(put(s, "k", &a, &uneven, NULL, MC_TENSOR_SPLIT), -EINVAL);
	EXPECT_EQ(put(s, "k", &a, &outside, NULL, 0), -EINVAL);
	EXPECT_EQ(put(s, "k", &a, &outside, NULL, MC_TENSOR_SPLIT), -EINVAL);
	EXPECT_EQ(put(s, "k", &a, &fine, &w, 0), -EINVAL);
	EXPECT_EQ(put(s, "k", &a, NULL, &late, 0), -EINVAL);
	EXPECT_EQ(put(s, "k", &a, NULL, &odd, 0), -EINVAL);
	EXPECT_EQ(put(s, "", &a, NULL, NULL, 0), -EINVAL);
	a.t.shape[0] = 0; /* any number of shards divides nothing */
	EXPECT_EQ(put(s, "k", &a, &many, NULL, MC_TENSOR_SPLIT), -E2BIG);
	a.t.shape[0] = 4;
	a.t.dtype = 99;
	EXPECT_EQ(put(s, "k", &a, NULL, NULL, 0), -EINVAL);
	a.t.dtype = MC_FLOAT32;
	a.t.ndim = 9;
	EXPECT_EQ(put(s, "k", &a, NULL, NULL, 0), -EINVAL);
	EXPECT_TRUE(!there(s, "k") && !there(s, "k_tp_0") && !there(s, "k_tp_1"));
	free(a.data);
	mc_store_close(s);
}

/* One bad item in a batch: the others are stored, and each says what it is. */
TEST(a_batch_with_a_bad_item)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_INT32, 2, (int64_t[]){ 4, 6 });
	struct mc_parallel p = tensor_axis(0, 2, 0), uneven = tensor_axis(0, 4, 1);
	struct mc_tensor_put it[4];
	struct mc_tensor_get got[3];
	struct room room[3] = { 0 };
	static const char *keys[] = { "a", "missing", "b" };

	for (int i = 0; i < 4; i++)
		it[i] = (struct mc_tensor_put){ .tensor = a.t,
						.data = a.data,
						.flags = MC_TENSOR_SPLIT };
	it[0].key = key_of("a");
	it[1].key = key_of("bad");
	it[1].parallel = &uneven;
	it[2].key = key_of("c");
	it[2].parallel = &p;
	it[3].key = key_of("b");
	EXPECT_EQ(mc_store_put_tensors(s, it, 4, NULL, 0), 3);
	EXPECT_EQ(it[1].result, -EINVAL);
	EXPECT_TRUE(there(s, "a") && there(s, "b") && there(s, "c_tp_0") && there(s, "c_tp_1") &&
		    !there(s, "bad_tp_0"));
	for (int i = 0; i < 3; i++)
		got[i] = (struct mc_tensor_get){ .key = key_of(keys[i]),
						 .alloc = give_room,
						 .arg = &room[i] };
	EXPECT_EQ(mc_store_get_tensors(s, got, 3, 0), 2);
	EXPECT_EQ(got[1].result, -ENOENT);
	EXPECT_MEMEQ(room[0].at + got[0].data_off, a.data, a.bytes);
	EXPECT_MEMEQ(room[2].at + got[2].data_off, a.data, a.bytes);
	for (int i = 0; i < 3; i++)
		free(room[i].at);
	free(a.data);
	mc_store_close(s);
}

/* Every cut of random shapes, read whole and in every other cut that divides the dimension. */
TEST(any_cut_in_any_other)
{
	struct mc_store *s = open_store();
	struct got g = { 0 };
	unsigned seed = 7, reads = 0;

	for (int round = 0; round < 60; round++) {
		int ndim = 1 + rand_r(&seed) % 4, dim = rand_r(&seed) % ndim,
		    size = 1 + rand_r(&seed) % 6;
		int64_t shape[4];
		struct mc_parallel p = tensor_axis(0, size, dim);
		struct sample a;
		char key[32];

		for (int i = 0; i < ndim; i++)
			shape[i] = 1 + rand_r(&seed) % (i == dim ? 4 : 40);
		shape[dim] *= size;
		a = sample_of(rand_r(&seed) % MC_NR_DTYPES, ndim, shape);
		snprintf(key, sizeof(key), "r%d", round);
		ASSERT_EQ(put(s, key, &a, &p, NULL, MC_TENSOR_SPLIT), 0);
		get(s, key, MC_TENSOR_FULL, &p, &g);
		ASSERT_EQ(g.result, (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes));
		EXPECT_MEMEQ(g.data, a.data, a.bytes);
		EXPECT_TRUE(!g.t.is_shard);
		for (int parts = 1; parts <= shape[dim]; parts++) {
			int rank = rand_r(&seed) % parts;
			struct mc_parallel want = tensor_axis(rank, parts, dim);
			int64_t len = shape[dim] / parts;

			if (shape[dim] % parts)
				continue;
			get(s, key, MC_TENSOR_SHARD, &want, &g);
			ASSERT_EQ(g.result,
				  (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes / (unsigned)parts));
			EXPECT_TRUE(is_part(&a, dim, rank * len, len, g.data));
			EXPECT_TRUE(g.t.is_shard && parallel_same(&g.t.parallel, &want));
			EXPECT_MEMEQ(g.t.whole_shape, a.t.shape, sizeof(a.t.shape));
			reads++;
		}
		free(a.data);
	}
	printf("# %u parts read\n", reads);
	free(g.room.at);
	mc_store_close(s);
}

TEST(writers_then_readers)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_FLOAT16, 3, (int64_t[]){ 3, 8, 5 });
	struct mc_parallel p = tensor_axis(2, 4, 1);
	struct got g = { 0 };

	for (int r = 0; r < 4; r++) {
		get(s, "w", MC_TENSOR_FULL, NULL, &g);
		EXPECT_EQ(g.result, -ENOENT);
		EXPECT_EQ(g.room.asked, 0);
		EXPECT_EQ(put(s, "w", &a, NULL, &(struct mc_partition){ r, 4, 1 }, 0), 0);
	}
	get(s, "w", MC_TENSOR_FULL, NULL, &g);
	ASSERT_EQ(g.result, (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes));
	EXPECT_MEMEQ(g.data, a.data, a.bytes);
	get(s, "w", MC_TENSOR_SHARD, &p, &g);
	ASSERT_EQ(g.result, (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes / 4));
	EXPECT_TRUE(is_part(&a, 1, 4, 2, g.data));
	free(g.room.at);
	free(a.data);
	mc_store_close(s);
}

TEST(shards_of_several_axes)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_BFLOAT16, 2, (int64_t[]){ 6, 8 });
	struct mc_parallel p = { 2,
				 { { MC_AXIS_DATA, 1, 2, MC_AXIS_NONE, MC_AXIS_NONE },
				   { MC_AXIS_TENSOR, 0, 2, 1, MC_AXIS_NONE } } };
	struct mc_parallel turned = { 2, { p.axis[1], p.axis[0] } }, elsewhere = p,
			   data = { 1, { p.axis[0] } };
	struct got g = { 0 };

	EXPECT_EQ(put(s, "k", &a, &p, NULL, 0), 0);
	get(s, "k", MC_TENSOR_FULL, &p, &g);
	EXPECT_EQ(g.result, -ENOENT); /* one of two */
	p.axis[1].rank = 1;
	EXPECT_EQ(put(s, "k", &a, &p, NULL, 0), 0);
	get(s, "k", MC_TENSOR_FULL, &p, &g);
	ASSERT_EQ(g.result, (int64_t)(MC_TENSOR_HEADER_BYTES + a.bytes));
	EXPECT_MEMEQ(g.data, a.data, a.bytes);
	get(s, "k", MC_TENSOR_SHARD, &turned, &g);
	ASSERT_GE(g.result, 0);
	EXPECT_TRUE(is_part(&a, 1, 0, 4, g.data));
	turned.axis[0].size = 4; /* another cut than what is stored: the manifest tells */
	turned.axis[0].rank = 3;
	get(s, "k", MC_TENSOR_SHARD, &turned, &g);
	ASSERT_GE(g.result, 0);
	EXPECT_TRUE(is_part(&a, 1, 6, 2, g.data));
	elsewhere.axis[0].rank = 0;
	get(s, "k", MC_TENSOR_FULL, &elsewhere, &g);
	EXPECT_EQ(g.result, -ENOENT);
	get(s, "k", MC_TENSOR_FULL, &data, &g);
	EXPECT_EQ(g.result, -EINVAL);
	get(s, "k", MC_TENSOR_AS_STORED, &p, &g);
	EXPECT_EQ(g.result, -EINVAL);
	free(g.room.at);
	free(a.data);
	mc_store_close(s);
}

/* What lies under the keys is not what it should be. */
TEST(strange_objects)
{
	struct mc_store *s = open_store();
	struct sample a = sample_of(MC_FLOAT32, 2, (int64_t[]){ 4, 6 }),
		      b = sample_of(MC_FLOAT32, 2, (int64_t[]){ 5, 6 });
	struct mc_parallel zero = tensor_axis(0, 2, 1), one = tensor_axis(1, 2, 1),
			   rows = tensor_axis(1, 2, 0);
	struct mc_iov iov = { (void *)"not a tensor at all", 19 };
	struct mc_put raw = { .key = key_of("raw"), .iov = &iov, .nr_iov = 1 };
	struct got g = { 0 };

	EXPECT_EQ(mc_store_put(s, &raw, 1, NULL, 0), 1);
	get(s, "raw", MC_TENSOR_AS_STORED, NULL, &g);
	EXPECT_EQ(g.result, -EBADMSG);
	raw.key = key_of("raw__writer_manifest");
	EXPECT_EQ(mc_store_put(s, &raw, 1, NULL, 0), 1);
	get(s, "raw", MC_TENSOR_FULL, NULL, &g);
	EXPECT_EQ(g.result, -EBADMSG);
	EXPECT_EQ(put(s, "k", &a, &zero, NULL, 0), 0);
	EXPECT_EQ(put(s, "k", &b, &one, NULL, 0), 0); /* five rows beside four */
	get(s, "k", MC_TENSOR_FULL, &zero, &g);
	EXPECT_EQ(g.result, -EBADMSG);
	EXPECT_EQ(g.room.asked, 0);
	get(s, "k", MC_TENSOR_SHARD, &rows,
	    &g); /* cut along another dimension: the rank's own object is what is left */
	ASSERT_GE(g.result, 0);
	EXPECT_MEMEQ(g.data, b.data, b.bytes);
	g.room.limit = 16; /* the caller's memory is too small */
	get(s, "k", MC_TENSOR_SHARD, &zero, &g);
	EXPECT_EQ(g.result, -ENOMEM);
	free(g.room.at);
	free(a.data);
	free(b.data);
	mc_store_close(s);
}

/* ---- replaced while it is read ------------------------------------------------------------------------------------------- */

struct writer {
	struct mc_store *s;
	struct mc_parallel p;
	struct sample a, b;
	_Atomic bool stop;
};

static void *replace(void *arg)
{
	struct writer *w = arg;
	struct mc_put_opts o = { .size = sizeof(o), .flags = MC_PUT_REPLACE };

	for (unsigned i = 0; !w->stop; i++) {
		const struct sample *a = i % 2 ? &w->a : &w->b;
		struct mc_tensor_put it = {
			.key = key_of("k"), .tensor = a->t, .data = a->data, .parallel = &w->p
		};

		mc_store_put_tensors(w->s, &it, 1, &o, 0);
	}
	return NULL;
}

/* Bytes are never laid out by the header of another version. */
static void read_while_replaced(const int64_t *shape, int dim)
{
	struct mc_store *s = open_store();
	struct writer w = { .s = s, .p = tensor_axis(0, 1, dim) };
	struct got g = { 0 };
	pthread_t thread;
	uint64_t end = deadline_after_ms(20000);
	unsigned good = 0, reads = 0;

	w.a = sample_of(MC_UINT8, 2, shape);
	w.b = sample_of(MC_UINT8, 2, shape);
	w.b.t.dtype = MC_INT8;
	memset(w.a.data, 1, w.a.bytes);
	memset(w.b.data, 2, w.b.bytes);
	EXPECT_EQ(put(s, "k", &w.a, &w.p, NULL, 0), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, replace, &w), 0);
	/* All may meet a writer that was put to sleep in the middle. */
	for (; reads < 3000 || (!good && !deadline_passed(end)); reads++) {
		int want;

		get(s, "k", MC_TENSOR_FULL, &w.p, &g);
		if (g.result < 0)
			continue;
		want = g.t.dtype == MC_UINT8 ? 1 : 2;
		for (uint64_t k = 0; k < w.a.bytes; k += 64)
			ASSERT_EQ(g.data[k], want);
		good++;
	}
	w.stop = true;
	pthread_join(thread, NULL);
	EXPECT_TRUE(good > 0);
	printf("# %u of %u reads\n", good, reads);
	free(g.room.at);
	free(w.a.data);
	free(w.b.data);
	mc_store_close(s);
}

TEST(replaced_in_between)
{
	read_while_replaced((int64_t[]){ 8, 512 }, 0);
}

/* Its runs are so short that the shard is fetched into memory of the library's own, once for each attempt. */
TEST(fetched_and_replaced_in_between)
{
	read_while_replaced((int64_t[]){ 64, 96 }, 1);
}

/* ---- other axes under the same key --------------------------------------------------------------------------------------- */

struct stranger {
	struct mc_store *s;
	const char *key;
	uint8_t ours[MC_TENSOR_HEADER_BYTES + 4], theirs[MC_TENSOR_HEADER_BYTES + 4];
	_Atomic bool stop;
};

static void *take_turns(void *arg)
{
	struct stranger *t = arg;
	struct mc_put_opts o = { .size = sizeof(o), .flags = MC_PUT_REPLACE };

	for (unsigned i = 0; !t->stop; i++) {
		struct mc_iov iov = { i % 2 ? t->ours : t->theirs, sizeof(t->ours) };
		struct mc_put put = { .key = key_of(t->key), .iov = &iov, .nr_iov = 1 };

		mc_store_put(t->s, &put, 1, &o, 0);
	}
	return NULL;
}

TEST(replaced_by_another_shard_in_between)
{
	struct mc_store *s = open_store();
	struct mc_parallel p = { 2,
				 { { MC_AXIS_TENSOR, 1, 2, 0, MC_AXIS_NONE },
				   { MC_AXIS_DATA, 0, 3, MC_AXIS_NONE, MC_AXIS_NONE } } };
	struct mc_tensor a = { .dtype = MC_INT32, .ndim = 1, .shape = { 1 }, .whole_shape = { 2 },
			       .is_shard = 1, .parallel = p };
	struct stranger t = { .s = s, .key = "k__dp_0of3__tp_1of2_sd0" };
	struct mc_iov iov = { t.ours, sizeof(t.ours) };
	struct mc_put first = { .key = key_of(t.key), .iov = &iov, .nr_iov = 1 };
	struct got g = { 0 };
	pthread_t thread;
	unsigned good = 0;

	EXPECT_EQ(mc_tensor_encode(&a, t.ours), 0);
	a.parallel.axis[1].rank = 2;
	EXPECT_EQ(mc_tensor_encode(&a, t.theirs), 0);
	EXPECT_EQ(mc_store_put(s, &first, 1, NULL, 0), 1);
	get(s, "k", MC_TENSOR_SHARD, &p, &g);
	EXPECT_TRUE(g.result > 0 && parallel_same(&g.t.parallel, &p));
	ASSERT_EQ(pthread_create(&thread, NULL, take_turns, &t), 0);
	for (int i = 0; i < 3000; i++) {
		get(s, "k", MC_TENSOR_SHARD, &p, &g);
		if (g.result < 0)
			continue;
		EXPECT_TRUE(parallel_same(&g.t.parallel, &p));
		good++;
	}
	t.stop = true;
	pthread_join(thread, NULL);
	printf("# %u of 3000 reads\n", good);
	free(g.room.at);
	mc_store_close(s);
}
