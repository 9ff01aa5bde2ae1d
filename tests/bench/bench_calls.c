// SPDX-License-Identifier: Apache-2.0
/* What single calls of the store cost a C program, where nothing is copied to speak of: what bench_python.py has beside its own. */
#include <mooncake/store.h>

#include "bench.h"

static struct mc_store *s;
static char value[64], key[] = "a key of ordinary length, 36 bytes..";

static void run_get(void *arg, uint64_t n)
{
	struct mc_iov iov = { value, sizeof(value) };
	struct mc_get g = { .key = { key, sizeof(key) - 1 }, .iov = &iov, .nr_iov = 1 };

	while (n--)
		mc_store_get(s, &g, 1, 0);
	if (g.result != sizeof(value))
		abort();
}

static void run_exists(void *arg, uint64_t n)
{
	struct mc_query q = { .key = { key, sizeof(key) - 1 } };

	while (n--)
		mc_store_exists(s, &q, 1, 0);
	if (q.result != 1)
		abort();
}

int main(int argc, char **argv)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 16 << 20 };
	struct mc_iov iov = { value, sizeof(value) };
	struct mc_put p = { .key = { key, sizeof(key) - 1 }, .iov = &iov, .nr_iov = 1 };

	bench_init(argc, argv);
	if (mc_store_open(&o, &s) || mc_store_put(s, &p, 1, NULL, 0) != 1)
		return 1;
	bench_case("call.get_into", 0, run_get, NULL, NULL, NULL, NULL);
	bench_case("call.is_exist", 0, run_exists, NULL, NULL, NULL, NULL);
	mc_store_close(s);
	return 0;
}
