// SPDX-License-Identifier: Apache-2.0
/* Walking scattered memory piece by piece. */
#include "base/hash.h"
#include "net/net_private.h"

int iov_total(const struct iovec *iov, int nr, uint64_t *total)
{
	uint64_t sum = 0;

	if (nr < 0)
		return -EINVAL;
	for (int i = 0; i < nr; i++)
		if (check_add(sum, (uint64_t)iov[i].iov_len, &sum))
			return -EINVAL;
	*total = sum;
	return 0;
}

void iov_advance(struct iov_walk *w, uint64_t n)
{
	w->skip += n;
	while (w->nr && w->skip >= w->iov->iov_len) {
		w->skip -= w->iov->iov_len;
		w->iov++;
		w->nr--;
	}
}

/* Does @p go on where the last of @out ends? */
static bool touches(const struct iovec *out, int nr, const char *p)
{
	return nr && (char *)out[nr - 1].iov_base + out[nr - 1].iov_len == p;
}

int iov_rest(const struct iov_walk *w, struct iovec *out, int max, uint64_t most)
{
	uint64_t skip = w->skip;
	int nr = 0;

	for (int i = 0; i < w->nr && most; i++, skip = 0) {
		uint64_t len = MIN((uint64_t)w->iov[i].iov_len - skip, most);
		char *p = (char *)w->iov[i].iov_base + skip;

		if (!len)
			continue;
		if (touches(out, nr, p))
			out[nr - 1].iov_len += len;
		else if (nr < max)
			out[nr++] = (struct iovec){ p, len };
		else
			break;
		most -= len;
	}
	return nr;
}

void iov_fill(struct iov_walk *w, const void *data, uint64_t n)
{
	const uint8_t *p = data;

	while (n) {
		uint64_t len;

		iov_advance(w, 0); /* past empty pieces */
		len = MIN((uint64_t)w->iov->iov_len - w->skip, n);
		memcpy((char *)w->iov->iov_base + w->skip, p, len);
		p += len;
		n -= len;
		iov_advance(w, len);
	}
}

uint32_t iov_crc(struct iov_walk *w, uint64_t n, uint32_t crc)
{
	while (n) {
		uint64_t len;

		iov_advance(w, 0);
		len = MIN((uint64_t)w->iov->iov_len - w->skip, n);
		crc = crc32c(crc, (const char *)w->iov->iov_base + w->skip, len);
		n -= len;
		iov_advance(w, len);
	}
	return crc;
}
