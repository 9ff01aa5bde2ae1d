// SPDX-License-Identifier: Apache-2.0
/*
 * Headers and manifests from a hostile object. Byte 0 says which; for a header the next eight are the object's length. What passes
 * must be sound enough to be computed with, and to be written again.
 */
#include "tensor/tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Every product that reading and cutting form stays inside the tensor. */
static void cut_everywhere(const struct mc_tensor *t, uint64_t bytes)
{
	for (int dim = 0; dim < t->ndim; dim++) {
		struct cut c = cut_of(t, dim, t->shape[dim] / 2, t->shape[dim] - t->shape[dim] / 2);
		uint64_t end;

		if (!c.rows || !c.run)
			continue;
		must(!check_mul(c.rows - 1, c.stride, &end) && !check_add(end, c.off, &end) && !check_add(end, c.run, &end));
		must(end <= bytes);
	}
}

static void header(const uint8_t *data, size_t len)
{
	uint8_t again[MC_TENSOR_HEADER_BYTES];
	struct mc_tensor t, back;
	uint64_t off, bytes, object;

	if (len < 8 + MC_TENSOR_HEADER_BYTES)
		return;
	object = get_le64(data);
	if (mc_tensor_decode(data + 8, object, &t, &off))
		return;
	must(!mc_tensor_bytes(&t, &bytes) && off + bytes == object);
	cut_everywhere(&t, bytes);
	must(!mc_tensor_encode(&t, again) && !mc_tensor_decode(again, MC_TENSOR_HEADER_BYTES + bytes, &back, &off));
	must(off == MC_TENSOR_HEADER_BYTES && !memcmp(t.shape, back.shape, sizeof(t.shape)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t again[MANIFEST_BYTES];
	struct manifest m, back;

	if (!len)
		return 0;
	if (data[0] & 1) {
		header(data + 1, len - 1);
	} else if (!manifest_decode(data + 1, len - 1, &m)) {
		manifest_encode(&m, again);
		must(!manifest_decode(again, sizeof(again), &back) && !memcmp(&m, &back, sizeof(m)));
	}
	return 0;
}
