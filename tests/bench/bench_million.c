// SPDX-License-Identifier: Apache-2.0
/*
 * A million objects of 4 KiB from one client into another process's pool, in batches of 1,000, with a real master; then away
 * with all of them, and back into a blank master.
 *
 * The limit of the puts is memcpy() of the same bytes in the same run, object by object: out of the same 4 GB of the caller's
 * memory into memory of a pool's kind (a populated memfd region whose pages this process has entered), each object behind room
 * for a header and key. Nothing of it is in a cache, as nothing of the puts is. Copies and puts take turns. The limit of the
 * first puts, into a pool that neither process has touched, is a copy through a mapping that is as new.
 *
 * BENCH_OBJECTS: another number of objects; BENCH_ROUNDS: of turns (5). The memory it takes: three times the objects.
 */
#include "bench.h"
#include "unit/store_rig.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "dev/dev.h"
#include "pool/pool.h"

#define LEN 4096ull
#define KEY 24
#define BATCH 1000
#define ROUNDS_MAX 32

static unsigned nr_objects = 1000000, rounds = 5;
static uint8_t *src;
static char (*keys)[KEY + 1];
static struct region limit;
static struct mc_store *s;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_million: %s failed: %s\n", what, mc_last_error());
	exit(1);
}

static unsigned setting(const char *name, unsigned deflt)
{
	const char *text = getenv(name);

	return text && atoi(text) > 0 ? (unsigned)atoi(text) : deflt;
}

static double median(double *v, unsigned nr)
{
	qsort(v, nr, sizeof(*v), bench_by_value);
	return v[nr / 2];
}

static uint64_t slot_bytes(void)
{
	return extent_bytes(LEN, KEY + 1);
}

/* ---- what is measured ----------------------------------------------------------------------------------------------- */

static double copy_to(char *dst)
{
	double start = bench_now();

	for (unsigned i = 0; i < nr_objects; i++)
		memcpy(dst + i * slot_bytes() + sizeof(struct extent_hdr), src + i * LEN, LEN);
	bench_use(dst);
	return bench_now() - start;
}

static double copy_all(void)
{
	return copy_to(limit.base);
}

/* By way of a new mapping: what the first puts of a new client are to be compared with. */
static double copy_first(void)
{
	struct region again;
	double t;

	must(!region_map(dup(limit.fd), nr_objects * slot_bytes(), true, &again), "mapping");
	t = copy_to(again.base);
	region_close(&again);
	return t;
}

static double put_all(void)
{
	static struct mc_put p[BATCH];
	static struct mc_iov iov[BATCH];
	double start = bench_now();

	for (unsigned at = 0; at < nr_objects; at += BATCH) {
		unsigned nr = nr_objects - at < BATCH ? nr_objects - at : BATCH;

		for (unsigned i = 0; i < nr; i++) {
			iov[i] = (struct mc_iov){ src + (at + i) * LEN, LEN };
			p[i] = (struct mc_put){ .key = { keys[at + i], KEY }, .iov = &iov[i], .nr_iov = 1 };
		}
		must(mc_store_put(s, p, nr, NULL, SOON) == (int)nr, "a batch of puts");
	}
	return bench_now() - start;
}

static double remove_all(void)
{
	double start = bench_now();

	must(mc_store_remove_matching(s, NULL, MC_REMOVE_FORCE, SOON) == (int64_t)nr_objects, "removing all");
	return bench_now() - start;
}

/* From the blank master's readiness until it knows as many objects as the one before. */
static double refill(void)
{
	char port[32], want[48], *json;
	double start;
	int err;

	snprintf(port, sizeof(port), "--port=%u", master.port);
	snprintf(want, sizeof(want), "\"objects\":%u,\"bytes\"", nr_objects);
	rig_stop(&master, SIGKILL);
	must(!rig_start(&master, (const char *const[]){ "mooncake-master", port, "--metrics_port=0", "--rpc_thread_num=2", NULL }),
	     "starting a blank master");
	start = bench_now();
	for (;;) {
		json = mc_store_status_json(s, SOON, &err);
		if (json && strstr(json, want))
			break;
		must(bench_now() - start < 30, "refilling");
		free(json);
		usleep(2000);
	}
	free(json);
	return bench_now() - start;
}

/* Each object's first and last bytes, so that what was fast was right, too. */
static void check_all(void)
{
	static uint8_t got[LEN];

	for (unsigned i = 0; i < nr_objects; i += 97) {
		must(st_get(s, keys[i], got, LEN) == (int64_t)LEN, "get");
		must(!memcmp(got, src + i * LEN, LEN), "comparing");
	}
}

static uint64_t cpu_us(pid_t pid)
{
	unsigned long long user = 0, sys = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) != 2)
		user = sys = 0;
	if (f)
		fclose(f);
	return (user + sys) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* The master forgets what was removed while it goes on; that is not what the next round shall measure. */
static void settle(const pid_t pid[3])
{
	uint64_t before, now = 0;

	do {
		before = now;
		usleep(50000);
		now = 0;
		for (unsigned k = 0; k < 3; k++)
			now += cpu_us(pid[k]);
	} while (now != before);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

static void setup(struct child *owner)
{
	uint64_t bytes = nr_objects * LEN;

	src = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	keys = malloc(nr_objects * sizeof(*keys));
	must(src != MAP_FAILED && keys, "memory");
	for (unsigned i = 0; i < nr_objects; i++) {
		memset(src + i * LEN, (int)(i * 131 % 255), LEN);
		memcpy(src + i * LEN, &i, sizeof(i));
		snprintf(keys[i], sizeof(keys[i]), "key-%020u", i);
	}
	must(!region_create("limit", nr_objects * slot_bytes(), REGION_POPULATE | REGION_HUGE, -1, &limit), "a region");
	must(!rig_master(&master, NULL, NULL, NULL), "starting a master");
	must(!child_start(owner, "provider", master.port, nr_objects * (slot_bytes() + 64) + 64 * MIB), "starting an owner");
	s = st_open(master.port, 0, NULL);
	must(s, "opening");
}

int main(int argc, char **argv)
{
	double put[ROUNDS_MAX], copy[ROUNDS_MAX], gone[ROUNDS_MAX], first, first_copy;
	uint64_t cpu[3] = { 0 }, cpu0[3];
	struct child owner;

	bench_init(argc, argv);
	nr_objects = setting("BENCH_OBJECTS", nr_objects);
	rounds = setting("BENCH_ROUNDS", rounds);
	rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
	if (!bench_wanted("million"))
		return 0;
	if (mem_available_bytes() / 7 * 2 < nr_objects * LEN) {
		fprintf(stderr, "bench_million: left out, %llu MiB of memory are too few\n",
			(unsigned long long)mem_available_bytes() >> 20);
		return 0;
	}
	setup(&owner);
	first_copy = copy_first();
	first = put_all();
	for (unsigned i = 0; i < rounds; i++) {
		const pid_t pid[3] = { getpid(), owner.pid, master.pid };

		gone[i] = remove_all();
		settle(pid);
		copy[i] = copy_all();
		for (unsigned k = 0; k < 3; k++)
			cpu0[k] = cpu_us(pid[k]);
		put[i] = put_all();
		for (unsigned k = 0; k < 3; k++)
			cpu[k] += cpu_us(pid[k]) - cpu0[k];
		fprintf(stderr, "# round %u: copy %.3f s, put %.3f s, %.2f x; remove %.3f s\n", i, copy[i], put[i],
			put[i] / copy[i], gone[i]);
	}
	fprintf(stderr, "# processor time of one round: client %.2f s, owner %.2f s, master %.2f s\n",
		(double)cpu[0] / rounds / 1e6, (double)cpu[1] / rounds / 1e6, (double)cpu[2] / rounds / 1e6);
	check_all();
	bench_row("million.put", median(put, rounds), "s", "memcpy", median(copy, rounds));
	bench_row("million.put.first", first, "s", "memcpy", first_copy);
	bench_row("million.remove_all", median(gone, rounds), "s", "allowed", 0.3);
	bench_row("million.refill", refill(), "s", "allowed", 2);
	mc_store_close(s);
	child_stop(&owner, 0);
	rig_stop(&master, SIGTERM);
	region_close(&limit);
	return 0;
}
