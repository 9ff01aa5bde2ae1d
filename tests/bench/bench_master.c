// SPDX-License-Identifier: Apache-2.0
/*
 * The master: its index in this process, then the program with four client processes. Beside the index: hashing the key and one
 * access to memory that is in no cache. Beside the program: the same bytes to and fro over bare sockets.
 */
#include "bench.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../daemon/master/objects.h"
#include "base/hash.h"
#include "integration/master_owners.h"

#define OBJECTS 1000000u
#define KEY_BYTES 25 /* with the tenant's length byte */
#define BATCH 128
#define CLIENTS 4

static uint8_t (*key_text)[KEY_BYTES];

static void make_texts(void)
{
	char text[KEY_BYTES];

	key_text = malloc((size_t)OBJECTS * KEY_BYTES);
	for (unsigned i = 0; i < OBJECTS; i++) {
		snprintf(text, sizeof(text), "block-%018u", i);
		key_text[i][0] = 0;
		memcpy(key_text[i] + 1, text, KEY_BYTES - 1);
	}
}

static struct key key_at(uint64_t i)
{
	return (struct key){ key_text[i % OBJECTS], KEY_BYTES };
}

static uint64_t scatter(uint64_t i)
{
	return i * 0x9e3779b97f4a7c15u >> 20;
}

static uint64_t resident(pid_t pid)
{
	unsigned long all = 0, res = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%lu %lu", &all, &res) != 2)
		res = 0;
	if (f)
		fclose(f);
	return res * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the index ---- */

struct index_bench {
	struct objects *ix;
	uint16_t slot;
	struct key keys[BATCH];
	uint8_t found[BATCH];
	uint64_t at;
	struct hash_key hash_key;
	uint64_t *cold;
	uint64_t sum;
};

static void publish_all(struct index_bench *b)
{
	struct holder old[REPLICAS_MAX];
	unsigned nr;

	for (unsigned i = 0; i < OBJECTS; i++) {
		struct publish_item it = { .key = key_at(i), .put_id = 1, .size = 4096, .loc = { .nr_extents = 1, .gen = 2 } };

		objects_publish(b->ix, b->slot, &it, 0, old, &nr);
	}
}

static void exist_batches(void *arg, uint64_t iterations)
{
	struct index_bench *b = arg;

	while (iterations--) {
		uint64_t first = scatter(b->at++); /* the blocks of one request: neighbours here, anywhere in the index */

		for (unsigned i = 0; i < BATCH; i++)
			b->keys[i] = key_at(first + i);
		b->sum += objects_exist(b->ix, b->keys, BATCH, true, b->at, b->found);
	}
}

static void exist_single(void *arg, uint64_t iterations)
{
	struct index_bench *b = arg;

	while (iterations--) {
		struct key k = key_at(scatter(b->at++));

		b->sum += objects_exist(b->ix, &k, 1, true, b->at, b->found);
	}
}

static void locate_single(void *arg, uint64_t iterations)
{
	struct index_bench *b = arg;
	struct located l;

	while (iterations--) {
		struct key k = key_at(scatter(b->at++));

		objects_locate(b->ix, &k, true, b->at, &l);
		b->sum += l.nr_replicas;
	}
}

static void locate_batches(void *arg, uint64_t iterations)
{
	struct index_bench *b = arg;
	struct located l;

	while (iterations--) {
		uint64_t first = scatter(b->at++);

		for (unsigned i = 0; i < BATCH; i++)
			b->keys[i] = key_at(first + i);
		for (unsigned i = 0; i < BATCH; i++) {
			if (i % OBJECTS_BATCH == 0)
				objects_prefetch(b->ix, &b->keys[i], sizeof(b->keys[i]), OBJECTS_BATCH);
			objects_locate(b->ix, &b->keys[i], true, b->at, &l);
			b->sum += l.nr_replicas;
		}
	}
}

static void hash_and_touch(void *arg, uint64_t iterations)
{
	struct index_bench *b = arg;

	while (iterations--) {
		struct key k = key_at(scatter(b->at++));

		b->sum += b->cold[siphash64(&b->hash_key, k.data, k.len) % (OBJECTS * 16)];
	}
}

static void hash_and_touch_batch(void *arg, uint64_t iterations)
{
	struct index_bench *b = arg;

	while (iterations--) {
		uint64_t first = scatter(b->at++);

		for (unsigned i = 0; i < BATCH; i++) {
			struct key k = key_at(first + i);

			b->sum += b->cold[siphash64(&b->hash_key, k.data, k.len) % (OBJECTS * 16)];
		}
	}
}

static void bench_index(void)
{
	struct objects_opts o = { .lease_ns = 1 };
	struct index_bench b = { .cold = calloc((size_t)OBJECTS * 16, sizeof(uint64_t)) };
	uint64_t before;
	double t0, t1;

	if (!bench_wanted("master_index"))
		return;
	memset(b.cold, 1, (size_t)OBJECTS * 16 * sizeof(uint64_t));
	objects_open(&o, &b.ix);
	objects_slot_open(b.ix, 1, &b.slot);
	before = resident(getpid());
	t0 = bench_now();
	publish_all(&b);
	t1 = bench_now();
	bench_row("master_index_publish", OBJECTS / (t1 - t0) / 1e6, "M/s", NULL, 0);
	bench_row("master_index_memory_per_object", (double)(resident(getpid()) - before) / OBJECTS, "bytes", "required", 250);
	bench_case("master_index_exist_128", 0, exist_batches, &b, "hash and one cold access each", hash_and_touch_batch, &b);
	bench_case("master_index_locate_128", 0, locate_batches, &b, "hash and one cold access each", hash_and_touch_batch, &b);
	bench_case("master_index_exist_1", 0, exist_single, &b, "hash and one cold access", hash_and_touch, &b);
	bench_case("master_index_locate_1", 0, locate_single, &b, "hash and one cold access", hash_and_touch, &b);
	t0 = bench_now();
	objects_slot_set(b.ix, b.slot, SLOT_GONE);
	while (objects_slot_purge(b.ix, b.slot, 500) == 500)
		;
	t1 = bench_now();
	bench_row("master_index_purge", OBJECTS / (t1 - t0) / 1e6, "M/s", NULL, 0);
	objects_close(b.ix);
	free(b.cold);
}

/* ---- four processes at once ---- */

struct load {
	const struct rig *rig;
	unsigned items;
	unsigned seed;
	bool local, hot; /* hot: the same keys again and again */
};

typedef uint64_t (*load_fn)(const struct load *l, double seconds);

/* Existence checks until the time is over. Return: keys asked for. */
static uint64_t ask(const struct load *l, double seconds)
{
	struct key keys[BATCH];
	struct client c;
	uint64_t nr = 0, at = l->seed * 12345;
	double end;

	if (client_open(&c, l->rig, l->local))
		exit(1);
	end = bench_now() + seconds;
	while (bench_now() < end) {
		uint64_t first = l->hot ? l->seed : scatter(at++);

		for (unsigned i = 0; i < l->items; i++)
			keys[i] = key_at(first + i);
		if (client_count(&c, keys, l->items) != (int)l->items)
			exit(1);
		nr += l->items;
	}
	client_close(&c);
	return nr;
}

/* The same bytes as ask() moves, over a bare pair of sockets with a thread that answers. */
static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[8192];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (send(fd, buf, NET_FRAME_BYTES + 9 + (n > 200 ? BATCH : 1), MSG_NOSIGNAL) < 0)
			break;
	close(fd);
	return NULL;
}

static uint64_t bare(const struct load *l, double seconds)
{
	size_t len = NET_FRAME_BYTES + 6 + (size_t)l->items * (2 + KEY_BYTES);
	int lis = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct net_addr a;
	char buf[8192] = "";
	uint64_t nr = 0;
	pthread_t t;
	double end;

	net_addr_parse("127.0.0.1:0", 0, &a);
	if (bind(lis, (struct sockaddr *)&a.ss, a.len) || listen(lis, 1) || getsockname(lis, (struct sockaddr *)&a.ss, &a.len) ||
	    connect(fd, (struct sockaddr *)&a.ss, a.len))
		exit(1);
	setsockopt(fd, 6 /* TCP */, 1 /* TCP_NODELAY */, &one, sizeof(one));
	pthread_create(&t, NULL, echo, (void *)(intptr_t)accept(lis, NULL, NULL));
	end = bench_now() + seconds;
	while (bench_now() < end) {
		if (send(fd, buf, len, MSG_NOSIGNAL) < 0 || recv(fd, buf, sizeof(buf), 0) <= 0)
			exit(1);
		nr += l->items;
	}
	close(fd);
	close(lis);
	pthread_join(t, NULL);
	return nr;
}

static double together(load_fn fn, const struct load *l, double seconds)
{
	uint64_t nr, sum = 0;
	int p[2];

	if (pipe(p))
		exit(1);
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct load mine = *l;

		mine.seed = i;
		if (fork())
			continue;
		nr = fn(&mine, seconds);
		_exit(write(p[1], &nr, sizeof(nr)) != sizeof(nr));
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		int status = 1;

		wait(&status);
		if (status || read(p[0], &nr, sizeof(nr)) != sizeof(nr)) {
			fprintf(stderr, "a client failed\n");
			exit(1);
		}
		sum += nr;
	}
	close(p[0]);
	close(p[1]);
	return (double)sum / seconds;
}

static void bench_asking(const struct rig *r, const char *name, unsigned items, bool local, bool hot)
{
	struct load l = { .rig = r, .items = items, .local = local, .hot = hot };
	double seconds = bench_seconds() * 3, got, limit;

	if (!bench_wanted(name))
		return;
	got = together(ask, &l, seconds);
	limit = together(bare, &l, seconds);
	bench_row(name, got / 1e3, "k keys/s", "bare sockets, same bytes", limit / 1e3);
}

/* ---- the program ---- */

static void publish_rpc(struct owner_rig *o)
{
	enum { STEP = 4096 };
	static struct key keys[STEP];

	for (unsigned at = 0; at < OBJECTS; at += STEP) {
		unsigned nr = MIN(OBJECTS - at, (unsigned)STEP);

		for (unsigned i = 0; i < nr; i++)
			keys[i] = key_at(at + i);
		if (owner_publish(o, keys, nr, 1, 0, 2, NULL))
			RIG_FAIL("publishing failed\n");
	}
}

static void bench_program(void)
{
	struct owner_rig o;
	struct client c;
	struct rig r;
	uint64_t before;
	struct key k;
	double t0;

	if (!bench_wanted("master_rpc"))
		return;
	if (rig_master(&r, "--default_kv_lease_ttl=5s", "--client_ttl=1h", NULL))
		exit(1);
	if (owner_rig_open(&o, &r, 1) || client_open(&c, &r, false))
		exit(1);
	before = resident(r.pid);
	t0 = bench_now();
	publish_rpc(&o);
	bench_row("master_rpc_publish_4096", OBJECTS / (bench_now() - t0) / 1e6, "M/s", "required", 0.5);
	bench_row("master_rpc_memory_per_object", (double)(resident(r.pid) - before) / OBJECTS, "bytes", "required", 250);
	bench_asking(&r, "master_rpc_exist_128", BATCH, false, false);
	bench_asking(&r, "master_rpc_exist_128_hot", BATCH, false, true);
	bench_asking(&r, "master_rpc_exist_128_unix", BATCH, true, false);
	bench_asking(&r, "master_rpc_exist_1", 1, false, false);
	bench_asking(&r, "master_rpc_exist_1_unix", 1, true, false);
	k = key_at(7);
	ask_keys(&c, MSG_LOCATE, &k, 1, true, false); /* one lease: all others go one by one */
	t0 = bench_now();
	if (client_remove_match(&c, "", false) < (int64_t)OBJECTS - 1)
		RIG_FAIL("remove_all removed another number\n");
	bench_row("master_rpc_remove_all_1m_leased", (bench_now() - t0) * 1e3, "ms", "required without leases", 300);
	publish_rpc(&o);
	atomic_store(&o.have, OBJECTS);
	t0 = bench_now();
	if (client_remove_match(&c, "", true) != (int64_t)OBJECTS)
		RIG_FAIL("remove_all removed another number\n");
	bench_row("master_rpc_remove_all_1m", (bench_now() - t0) * 1e3, "ms", "required", 300);
	client_close(&c);
	owner_rig_close(&o);
	rig_stop(&r, SIGTERM);
}

int main(int argc, char **argv)
{
	bench_init(argc, argv);
	make_texts();
	bench_index();
	bench_program();
	free(key_text);
	return 0;
}
