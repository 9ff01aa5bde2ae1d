// SPDX-License-Identifier: Apache-2.0
/*
 * Objects whose bytes follow from their number: put them, or read them and compare.
 *	objects put|check FIRST NR BYTES
 *	objects load FIRST NR BYTES	both, again and again, until SIGTERM; only wrong bytes count
 * Built with what `make install` installed. Exit 0 when all of them are right; a line says what was found.
 */
#include <mooncake/store.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct mc_store *store;
static uint64_t *bytes, *want;
static size_t size;
static unsigned good, missing, wrong;
static volatile sig_atomic_t asked_to_end;

static struct mc_key key_of(unsigned i, char text[32])
{
	return (struct mc_key){ text, (size_t)snprintf(text, 32, "object-%u", i) };
}

static void fill(uint64_t *to, size_t words, uint64_t seed)
{
	for (size_t w = 0; w < words; w++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		to[w] = seed;
	}
}

static void put(unsigned i)
{
	struct mc_iov iov = { want, size };
	char text[32];
	struct mc_put p = { .key = key_of(i, text), .iov = &iov, .nr_iov = 1 };

	fill(want, size / 8, i);
	mc_store_put(store, &p, 1, NULL, mc_deadline_ms(20000));
	good += !p.result;
	if (p.result && !missing++)
		printf("# put %s: %s\n", text, strerror(-p.result));
}

static void check(unsigned i)
{
	struct mc_iov iov = { bytes, size };
	char text[32];
	struct mc_get g = { .key = key_of(i, text), .iov = &iov, .nr_iov = 1 };

	fill(want, size / 8, i);
	mc_store_get(store, &g, 1, mc_deadline_ms(20000));
	if (g.result == (int64_t)size && !memcmp(bytes, want, size))
		good++;
	else if (g.result >= 0)
		wrong++;
	else if (!missing++)
		printf("# get %s: %s\n", text, strerror((int)-g.result));
}

static void end(int sig)
{
	asked_to_end = sig;
}

int main(int argc, char **argv)
{
	struct mc_store_opts opts = { .size = sizeof(opts), .master = getenv("MASTER") };
	int load = argc == 5 && !strcmp(argv[1], "load"), puts = argc == 5 && !strcmp(argv[1], "put"), ret;
	unsigned first, nr;

	if (argc != 5)
		return 2;
	first = (unsigned)atoi(argv[2]);
	nr = (unsigned)atoi(argv[3]);
	size = (size_t)atoi(argv[4]) & ~7ul;
	bytes = malloc(size);
	want = malloc(size);
	if (!bytes || !want)
		return 1;
	signal(SIGTERM, end);
	ret = mc_store_open(&opts, &store);
	if (ret) {
		printf("# open: %s: %s\n", strerror(-ret), mc_last_error());
		return 1;
	}
	do {
		for (unsigned i = first; i < first + nr && !asked_to_end; i++) {
			if (load || puts)
				put(i);
			if (load || !puts)
				check(i);
		}
	} while (load && !asked_to_end);
	printf("# %s as user %u: %u good, %u missing, %u wrong\n", argv[1], getuid(), good, missing, wrong);
	mc_store_close(store);
	return load ? wrong || !good : good != nr;
}
