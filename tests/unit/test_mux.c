// SPDX-License-Identifier: Apache-2.0
/* Requests that their callers drive, against a conn server and against peers that misbehave. */
#include "net/net.h"

#include "mctest.h"
#include "unit/net_server.h"

#define SOON deadline_after_ms(5000)

static struct mux *mux_to(struct server *s, bool tcp)
{
	struct mux *m;

	return mux_open(server_connect(s, tcp), &m) ? NULL : m;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 13 + seed + (i >> 8));
}

static void echo_sizes(bool tcp)
{
	static const size_t sizes[] = { 0, 1, 31, 4096, 16383, 16384, 65536, 200000, 3 << 20 };
	uint8_t *out = malloc(4 * MiB), *in = malloc(4 * MiB);
	struct mux_req r = { .type = SRV_ECHO };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, tcp);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t j = 0; j < 5; j++) {
			struct iovec o[2] = { { out, sizes[i] / 3 }, { out + sizes[i] / 3, sizes[i] - sizes[i] / 3 } };
			struct iovec n[3] = { { in, sizes[i] / 2 }, { in, 0 }, { in + sizes[i] / 2, 3 * MiB } };

			fill(out, sizes[i] + sizes[j], (unsigned)(i + j));
			memset(in, 0, sizes[i] + 1);
			r.body = out + sizes[i];
			r.body_len = sizes[j];
			r.out = o;
			r.nr_out = 2;
			r.in = n;
			r.nr_in = 3;
			ASSERT_EQ(mux_call(m, &r, SOON), 0);
			EXPECT_EQ(r.got, sizes[i]);
			EXPECT_EQ(r.reply.len, sizes[j]);
			EXPECT_MEMEQ(r.reply.data, out + sizes[i], sizes[j]);
			EXPECT_MEMEQ(in, out, sizes[i]);
			EXPECT_EQ(in[sizes[i]], 0);
		}
	}
	buf_fini(&r.reply);
	mux_close(m);
	server_stop(&s);
	free(out);
	free(in);
}

TEST(echo_unix)
{
	echo_sizes(false);
}

TEST(echo_tcp)
{
	echo_sizes(true);
}
