/* SPDX-License-Identifier: Apache-2.0 */
/* The header and the manifest, held against bytes that upstream 0.3.13.post1 wrote; then every field wrong, one at a time. */
#include "mctest.h"

#include "tensor/tensor.h"

/* A float32 tensor of 4 x 12, cut along dimension 1 among 2: rank 1, beside rank 0 of 3 data-parallel and expert 7, 1 of 4. */
static struct mc_tensor sample(void)
{
	return (struct mc_tensor){
		.dtype = MC_FLOAT32,
		.ndim = 2,
		.shape = { 4, 6 },
		.whole_shape = { 4, 12 },
		.is_shard = 1,
		.parallel = { 3,
			      { { MC_AXIS_TENSOR, 1, 2, 1, MC_AXIS_NONE },
				{ MC_AXIS_DATA, 0, 3, MC_AXIS_NONE, MC_AXIS_NONE },
				{ MC_AXIS_EXPERT, 1, 4, MC_AXIS_NONE, 7 } } },
	};
}

static void golden(uint8_t p[MC_TENSOR_HEADER_BYTES])
{
	static const uint8_t start[] = { 0x4e, 0x4f, 0x4f, 0x4d, 1, 0, 0x30, 1, 0, 0, 0, 0,    2,
					 0,    0,    0,	   1,	 0, 0, 0,    0, 0, 0, 0, 0x30, 1,
					 0,    0,    0,	   0,	 0, 0, 0x60, 0, 0, 0, 0, 0,    0,
					 0,    4,    0,	   0,	 0, 0, 0,    0, 0, 12 };
	static const int32_t axes[3][6] = { { 1, 0, 1, 2, 1, 0 },
					    { 0, 1, 0, 3, -1, 0 },
					    { 2, 2, 1, 4, -1, 7 } };

	memset(p, 0, MC_TENSOR_HEADER_BYTES);
	memcpy(p, start, sizeof(start));
	memset(p + 56, 0xff, 48);
	p[104] = 4;
	p[112] = 6;
	memset(p + 120, 0xff, 48);
	p[168] = 3;
	for (int i = 0; i < 3; i++)
		memcpy(p + 176 + 32 * i, axes[i], 24);
	p[176 + 24] = 6;
}

static bool same_tensor(const struct mc_tensor *a, const struct mc_tensor *b)
{
	return a->dtype == b->dtype && a->ndim == b->ndim &&
	       !memcmp(a->shape, b->shape, sizeof(a->shape)) &&
	       !memcmp(a->whole_shape, b->whole_shape, sizeof(a->shape)) &&
	       a->is_shard == b->is_shard && parallel_same(&a->parallel, &b->parallel);
}

TEST(header_to_the_byte)
{
	uint8_t want[MC_TENSOR_HEADER_BYTES], got[MC_TENSOR_HEADER_BYTES];
	struct mc_tensor t = sample(), back;
	uint64_t off;

	golden(want);
	ASSERT_EQ(mc_tensor_encode(&t, got), 0);
	EXPECT_MEMEQ(got, want, sizeof(want));
	ASSERT_EQ(mc_tensor_decode(want, sizeof(want) + 96, &back, &off), 0);
	EXPECT_EQ(off, MC_TENSOR_HEADER_BYTES);
	EXPECT_TRUE(same_tensor(&t, &back));
}

/* @bits of the field at @at replaced by @v: still a tensor? */
static int patched(unsigned at, unsigned bits, uint64_t v, uint64_t object_bytes)
{
	uint8_t p[MC_TENSOR_HEADER_BYTES];
	struct mc_tensor t;
	uint64_t off;

	golden(p);
	memcpy(p + at, &v, bits / 8);
	return mc_tensor_decode(p, object_bytes, &t, &off);
}

TEST(every_field_wrong)
{
	static const struct {
		unsigned at, bits;
		uint64_t v;
	} wrong[] = {
		{ 0, 32, 0x4d4f4f4d },
		{ 4, 16, 2 },
		{ 6, 16, 303 },
		{ 8, 32, 15 },
		{ 8, 32, UINT32_MAX },
		{ 12, 32, 9 },
		{ 12, 32, UINT32_MAX },
		{ 12, 32, 1 },
		{ 16, 32, 2 },
		{ 24, 64, 303 },
		{ 24, 64, 401 },
		{ 32, 64, 95 },
		{ 32, 64, 97 },
		{ 40, 64, UINT64_MAX },
		{ 56, 64, 0 },
		{ 104, 64, 5 },
		{ 104, 64, UINT64_MAX },
		{ 120, 64, 1 },
		{ 168, 32, 5 },
		{ 176, 32, 5 },
		{ 176, 32, UINT32_MAX },
		{ 184, 32, 2 },
		{ 184, 32, UINT32_MAX },
		{ 188, 32, 0 },
		{ 192, 32, 2 },
		{ 192, 32, (uint32_t)-2 },
		{ 40, 64, (uint64_t)1 << 62 },
	};

	EXPECT_EQ(patched(16, 32, 1, 400), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (patched(wrong[i].at, wrong[i].bits, wrong[i].v, 400) != -EBADMSG)
			MCTEST_FAIL("field at %u with %llx passed", wrong[i].at,
				    (unsigned long long)wrong[i].v);
	EXPECT_EQ(patched(0, 0, 0, 399), -EBADMSG);
	EXPECT_EQ(patched(0, 0, 0, 401), -EBADMSG);
	EXPECT_EQ(patched(0, 0, 0, 303), -EBADMSG);
}

TEST(sizes)
{
	struct mc_tensor t = { .dtype = MC_BFLOAT16 };
	uint64_t bytes;

	EXPECT_EQ(mc_tensor_bytes(&t, &bytes), 0); /* no dimension: one element */
	EXPECT_EQ(bytes, 2);
	t.ndim = 3;
	t.shape[0] = INT64_MAX / 4;
	t.shape[1] = 0;
	t.shape[2] = 1;
	EXPECT_EQ(mc_tensor_bytes(&t, &bytes), 0);
	EXPECT_EQ(bytes, 0);
	t.shape[2] = 3; /* products of some dimensions are formed too */
	EXPECT_EQ(mc_tensor_bytes(&t, &bytes), -EINVAL);
	t.shape[2] = -1;
	EXPECT_EQ(mc_tensor_bytes(&t, &bytes), -EINVAL);
	t.dtype = MC_NR_DTYPES;
	EXPECT_EQ(mc_tensor_bytes(&t, &bytes), -EINVAL);
	t = (struct mc_tensor){ .dtype = MC_UINT8, .ndim = 9 };
	EXPECT_EQ(mc_tensor_bytes(&t, &bytes), -EINVAL);
	EXPECT_EQ(mc_dtype_bytes(-1), 0);
	EXPECT_EQ(mc_dtype_bytes(MC_FLOAT64), 8);
	EXPECT_EQ(mc_dtype_bytes(MC_FLOAT8_E5M2), 1);
}

TEST(manifest_to_the_byte)
{
	static const uint8_t start[] = { 0x4e, 0x41, 0x4d, 0x57, 1,  0, 0x60, 0, 0, 0, 0, 0,
					 2,    0,    0,	   0,	 1,  0, 0,    0, 2, 0, 0, 0,
					 0,    0,    0,	   0,	 0,  0, 0,    0, 4, 0, 0, 0,
					 0,    0,    0,	   0,	 12, 0, 0,    0, 0, 0, 0, 0 };
	struct manifest m = { MC_FLOAT32, 2, 1, 2, { 4, 12 } }, back;
	uint8_t want[MANIFEST_BYTES], got[MANIFEST_BYTES];

	memset(want, 0xff, sizeof(want));
	memcpy(want, start, sizeof(start));
	manifest_encode(&m, got);
	EXPECT_MEMEQ(got, want, sizeof(want));
	ASSERT_EQ(manifest_decode(want, sizeof(want), &back), 0);
	EXPECT_MEMEQ(&back, &m, sizeof(m));
	EXPECT_EQ(manifest_decode(want, sizeof(want) - 1, &back), -EBADMSG);
	for (size_t i = 0; i < 24;
	     i += 4) { /* magic, version and size, type, dimensions, split, count */
		memcpy(got, want, sizeof(want));
		memset(got + i, 0xff, 4);
		EXPECT_EQ(manifest_decode(got, sizeof(got), &back), -EBADMSG);
	}
	put_le32(want + 20, 0);
	EXPECT_EQ(manifest_decode(want, sizeof(want), &back), -EBADMSG);
}

static bool named(const struct mc_parallel *p, const char *want)
{
	struct name n;
	bool same;

	if (name_shard(&(struct mc_key){ "key", 3 }, p, &n))
		return false;
	same = n.len == strlen(want) && !memcmp(n.data, want, n.len);
	free(n.data);
	return same;
}

TEST(keys_of_shards)
{
	struct mc_tensor t = sample();
	struct mc_parallel tp = { 1, { { MC_AXIS_TENSOR, 3, 4, 0, MC_AXIS_NONE } } };
	struct mc_parallel pp = { 1, { { MC_AXIS_PIPELINE, 1, 2, MC_AXIS_NONE, 5 } } };
	char *large = malloc(4096);
	struct name n;

	ASSERT_TRUE(large);
	EXPECT_TRUE(named(&t.parallel, "key__dp_0of3__tp_1of2_sd1__ep_1of4_eid7"));
	EXPECT_TRUE(named(&tp, "key_tp_3"));
	EXPECT_TRUE(named(&pp, "key__pp_1of2_sid5"));
	memset(large, 'k', 4096);
	EXPECT_EQ(name_shard(&(struct mc_key){ large, 4092 }, &tp, &n), -EINVAL);
	EXPECT_EQ(name_shard(&(struct mc_key){ large, 0 }, &tp, &n), -EINVAL);
	ASSERT_EQ(name_writer(&(struct mc_key){ "key", 3 }, &(struct mc_partition){ 1, 2, 0 }, &n),
		  0);
	EXPECT_EQ(n.len, strlen("key__writer_1of2_sd0"));
	EXPECT_MEMEQ(n.data, "key__writer_1of2_sd0", n.len);
	free(n.data);
	free(large);
}

TEST(axes)
{
	struct mc_parallel p = { 1, { { MC_AXIS_TENSOR, 0, 2, 0, MC_AXIS_NONE } } }, bad;

#define BAD(field, value)                                 \
	do {                                              \
		bad = p;                                  \
		bad.field = value;                        \
		EXPECT_EQ(parallel_check(&bad), -EINVAL); \
	} while (0)
	EXPECT_EQ(parallel_check(&p), 0);
	BAD(nr_axes, 0);
	BAD(nr_axes, 5);
	BAD(axis[0].kind, 4);
	BAD(axis[0].rank, 2);
	BAD(axis[0].rank, -1);
	BAD(axis[0].size, 0);
	BAD(axis[0].split_dim, MC_AXIS_NONE);
	BAD(axis[0].id, 1);
	BAD(axis[0].kind, MC_AXIS_DATA);
	p.nr_axes = 2;
	p.axis[1] = (struct mc_axis){ MC_AXIS_EXPERT, 0, 2, MC_AXIS_NONE, 0 };
	EXPECT_EQ(parallel_check(&p), 0);
	BAD(axis[1].id, MC_AXIS_NONE);
	BAD(axis[1].split_dim, 0);
	p.axis[1] = p.axis[0];
	EXPECT_EQ(parallel_check(&p), -EINVAL);
}
