// SPDX-License-Identifier: Apache-2.0
/*
 * The restart test: node, master and engines as processes, a pool full of objects, kill -9, start again, and every object
 * read byte for byte from where it lay. With /dev/mooncake nothing has to survive; without it the node does, or the service
 * manager that keeps its descriptors. tests/vm/test_restart runs this in a guest and unloads the module in between.
 */
#include <mooncake/store.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "integration/node_rig.h"
#include "pool_rig.h"

#define OBJECTS 400
#define POOL	"64mb"

/* What the engine was told is stored, in memory that outlives it. */
struct journal {
	_Atomic uint32_t stored;  /* objects below this are there */
	struct loc where[OBJECTS]; /* as the directory said after the put */
};

/* Small ones, middle ones, and some of a megabyte. */
static uint64_t size_of(unsigned i)
{
	return 1 + (i % 20 == 7 ? 700000 : i % 3 ? 20000 + i * 37 : i * 11) % (1 * MiB);
}

static struct mc_key key_of(unsigned i, char text[32])
{
	return (struct mc_key){ text, (size_t)snprintf(text, 32, "object-%u", i) };
}

static struct mc_store *store_of(uint16_t port)
{
	char master[64];
	struct mc_store_opts o = { .size = sizeof(o), .master = master, .timeout_ns = 20 * NSEC_PER_SEC };
	struct mc_store *s = NULL;
	int ret;

	snprintf(master, sizeof(master), "127.0.0.1:%u", port);
	ret = mc_store_open(&o, &s);
	if (ret)
		MCTEST_FAIL("store at %s: %s", master, strerror(-ret));
	return ret ? NULL : s;
}

static int put_one(struct mc_store *s, unsigned i, uint8_t *data)
{
	struct mc_iov iov = { data, size_of(i) };
	struct mc_put put = { .iov = &iov, .nr_iov = 1 };
	uint64_t end = soon();
	char text[32];

	rig_fill(data, size_of(i), i);
	put.key = key_of(i, text);
	do {
		mc_store_put(s, &put, 1, NULL, 0);
		if (put.result)
			usleep(5000); /* no pool has joined yet */
	} while (put.result && !deadline_passed(end));
	return put.result;
}

/* The engine: puts until it is killed, and writes down what is safe. */
static void engine(uint16_t port, const char *unix_path, struct journal *j)
{
	uint8_t *data = malloc(1 * MiB);
	struct mc_store *s;
	struct tc c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s = store_of(port);
	if (!s || tc_open(&c, unix_path))
		_exit(1);
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct found f;
		char text[32];
		int ret = put_one(s, i, data);

		key_of(i, text);
		if (!ret)
			ret = view_find(&c.v, text, &f);
		if (ret) {
			printf("# put %u: %d\n", i, ret);
			_exit(1);
		}
		j->where[i] = f.loc;
		atomic_store(&j->stored, i + 1);
	}
	for (unsigned i = OBJECTS;; i++) { /* until the end; these may be there afterwards or not */
		put_one(s, i, data);
		if (i == OBJECTS + 100)
			pause();
	}
}

#ifdef __SANITIZE_THREAD__
/* What is forked has threads of its own, though the parent reads its master's messages on one; it holds no lock meanwhile. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}
#endif

static pid_t start_engine(uint16_t port, const char *unix_path, struct journal *j)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		engine(port, unix_path, j);
	return pid;
}

static bool filled(pid_t pid, struct journal *j, unsigned nr)
{
	uint64_t end = deadline_after_ns(90 * NSEC_PER_SEC);
	int status;

	while (atomic_load(&j->stored) < nr && !deadline_passed(end)) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return false;
		usleep(2000);
	}
	return atomic_load(&j->stored) >= nr;
}

static int start_node(struct node_proc *n, struct fd_store *st, uint16_t port, const char *pool_name)
{
	char master[64], unix_path[64], name[64];
	const char *argv[] = { "mooncake-node", "--port=0", "--global_segment_size=" POOL, master, unix_path, name, NULL };
	int ret;

	snprintf(master, sizeof(master), "--master_server_address=127.0.0.1:%u", port);
	snprintf(unix_path, sizeof(unix_path), "--unix_path=unix:@mc-restart-%d", getpid());
	snprintf(name, sizeof(name), "--pool_name=%s", pool_name);
	ret = node_exec(n, st, argv);
	if (ret)
		MCTEST_FAIL("the node did not start: %d\n%s", ret, n->said);
	return ret;
}

struct count {
	unsigned right, wrong, missing, moved;
};

/* Once more while the node joins: afterwards what is missing is missing. */
static void get_one(struct mc_store *s, struct mc_get *get, bool patient)
{
	uint64_t end = soon();

	do
		mc_store_get(s, get, 1, 0);
	while (patient && get->result == -ENOENT && !deadline_passed(end) && !usleep(5000));
}

/* Reads all as another engine would. */
static struct count read_with(struct mc_store *s, bool patient)
{
	struct count n = { 0 };
	uint8_t *data = malloc(1 * MiB);

	for (unsigned i = 0; i < OBJECTS; i++) {
		struct mc_iov iov = { data, 1 * MiB };
		struct mc_get get = { .iov = &iov, .nr_iov = 1 };
		char text[32];

		get.key = key_of(i, text);
		get_one(s, &get, patient && !i);
		if (get.result < 0)
			n.missing++;
		else if ((uint64_t)get.result == size_of(i) && rig_check(data, size_of(i), i))
			n.right++;
		else
			n.wrong++;
	}
	free(data);
	return n;
}

/* And looks where they lie. */
static struct count read_all(uint16_t port, const char *unix_path, const struct journal *j)
{
	struct mc_store *s = store_of(port);
	struct count n = { 0 };
	struct tc c;

	if (!s)
		return n;
	n = read_with(s, atomic_load(&j->stored));
	if (tc_open(&c, unix_path)) {
		n.wrong++;
	} else {
		for (unsigned i = 0; i < OBJECTS; i++) {
			struct found f;
			char text[32];

			key_of(i, text);
			if (!view_find(&c.v, text, &f))
				n.moved += memcmp(&f.loc, &j->where[i], sizeof(f.loc)) != 0;
		}
		tc_close(&c);
	}
	mc_store_close(s);
	return n;
}

/* A figure in what the node says of itself. */
static long figure(const char *unix_path, const char *name)
{
	struct buf body = BUF_INIT, reply = BUF_INIT;
	char text[64], *at;
	long v = -1;
	struct tc c;

	if (tc_connect(&c, unix_path) || tc_hello(&c))
		return v;
	if (!tc_call(&c, MSG_STATUS, &body, &reply)) {
		buf_put_u8(&reply, 0);
		snprintf(text, sizeof(text), "\"%s\":", name);
		at = strstr((char *)reply.data, text);
		v = at ? strtol(at + strlen(text), NULL, 10) : -1;
	}
	buf_fini(&reply);
	tc_close(&c);
	return v;
}

static void all_there(const struct rig *r, const struct node_proc *n, const struct journal *j, const char *what)
{
	struct count c = read_all(r->port, n->unix_path, j);

	printf("# %s: %u of %d objects read byte for byte, %u wrong, %u missing, %u elsewhere than before; since then %ld puts, "
	       "%ld commits\n", what, c.right, OBJECTS, c.wrong, c.missing, c.moved, figure(n->unix_path, "puts"),
	       figure(n->unix_path, "committed"));
	EXPECT_EQ(c.right, OBJECTS);
	EXPECT_EQ(c.wrong, 0);
	EXPECT_EQ(c.missing, 0);
	EXPECT_EQ(c.moved, 0);
}

static void not_copied(const struct node_proc *n)
{
	EXPECT_EQ(figure(n->unix_path, "puts"), 0);
	EXPECT_EQ(figure(n->unix_path, "put_bytes"), 0);
	EXPECT_EQ(figure(n->unix_path, "committed"), 0);
}

static bool have_module(void)
{
	return !strcmp(region_backend(), "/dev/mooncake");
}

static int revoke_region(int fd)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };

	return ioctl(fd, MC_IOC_REGION_REVOKE, &a) ? -errno : 0;
}

static struct journal *journal_new(void)
{
	return mmap(NULL, sizeof(struct journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* A second engine process reads while everything dies; then nothing of the three is left. */
static void kill_all(struct rig *r, struct node_proc *n, pid_t eng)
{
	kill(eng, SIGKILL);
	kill(n->pid, SIGKILL);
	EXPECT_EQ(rig_stop(r, SIGKILL), 128 + SIGKILL);
	EXPECT_EQ(node_stop(n, SIGKILL), 128 + SIGKILL);
	waitpid(eng, NULL, 0);
}

static void forget(const char *pool)
{
	uint64_t end = soon();
	int ret;

	while ((ret = pool_forget_kept(pool)) == -EBUSY && !deadline_passed(end))
		usleep(2000);
	EXPECT_EQ(ret, 0);
}

TEST(everything_killed)
{
	struct journal *j = journal_new();
	struct node_proc n;
	char pool[32];
	struct rig r;
	pid_t eng;

	if (!have_module())
		SKIP("no /dev/mooncake: nothing would be left");
	snprintf(pool, sizeof(pool), "restart-%d", getpid());
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, NULL, r.port, pool), 0);
	EXPECT_TRUE(strstr(n.said, "is new"));
	eng = start_engine(r.port, n.unix_path, j);
	ASSERT_TRUE(filled(eng, j, OBJECTS));
	kill_all(&r, &n, eng);

	/* Dirty: nobody said farewell. */
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, NULL, r.port, pool), 0);
	EXPECT_TRUE(strstr(n.said, "its last owner died, so every header was checked"));
	all_there(&r, &n, j, "kill -9 of node, master and engine");
	not_copied(&n);

	/* Clean. */
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, NULL, r.port, pool), 0);
	EXPECT_TRUE(strstr(n.said, "its last owner left in order"));
	all_there(&r, &n, j, "node and master stopped in order");
	not_copied(&n);

	/* A second node of that name has to do without. */
	{
		struct node_proc other;
		char master[64], name[64];
		const char *argv[] = { "mooncake-node", "--port=0", "--global_segment_size=" POOL, master, name, NULL };

		snprintf(master, sizeof(master), "--master_server_address=127.0.0.1:%u", r.port);
		snprintf(name, sizeof(name), "--pool_name=%s", pool);
		EXPECT_EQ(node_exec(&other, NULL, argv), 1);
		EXPECT_TRUE(strstr(other.said, "is served by another process"));
	}
	EXPECT_EQ(node_stop(&n, SIGKILL), 128 + SIGKILL);
	EXPECT_EQ(rig_stop(&r, SIGKILL), 128 + SIGKILL);
	forget(pool);
	munmap(j, sizeof(*j));
}

/* A client whose own pool has a name. */
static struct mc_store *contributor(uint16_t port, const char *pool)
{
	char master[64];
	struct mc_store_opts o = { .size = sizeof(o), .master = master, .timeout_ns = 20 * NSEC_PER_SEC,
				   .pool_bytes = 32 * MiB, .pool_name = pool };
	struct mc_store *s = NULL;
	int ret;

	snprintf(master, sizeof(master), "127.0.0.1:%u", port);
	ret = mc_store_open(&o, &s);
	if (ret)
		MCTEST_FAIL("store with pool %s: %s", pool, strerror(-ret));
	return ret ? NULL : s;
}

static unsigned right_of(struct mc_store *s, unsigned nr)
{
	uint8_t *data = malloc(1 * MiB);
	unsigned right = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct mc_iov iov = { data, 1 * MiB };
		struct mc_get get = { .iov = &iov, .nr_iov = 1 };
		char text[32];

		get.key = key_of(i, text);
		mc_store_get(s, &get, 1, 0);
		right += get.result == (int64_t)size_of(i) && rig_check(data, size_of(i), i);
	}
	free(data);
	return right;
}

TEST(owner_inside_an_engine)
{
	struct journal *j = journal_new();
	struct mc_store *s;
	char pool[32];
	struct rig r;
	pid_t pid;

	if (!have_module())
		SKIP("no /dev/mooncake: its pool goes with it");
	snprintf(pool, sizeof(pool), "engine-%d", getpid());
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		uint8_t *data = malloc(1 * MiB);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		s = contributor(r.port, pool);
		for (unsigned i = 0; s && i < 100 && !put_one(s, i, data); i++)
			atomic_store(&j->stored, i + 1);
		for (;;)
			pause();
	}
	EXPECT_TRUE(filled(pid, j, 100));
	kill(pid, SIGKILL);
	EXPECT_EQ(rig_stop(&r, SIGKILL), 128 + SIGKILL);
	waitpid(pid, NULL, 0);

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	s = contributor(r.port, pool);
	ASSERT_TRUE(s);
	EXPECT_EQ(right_of(s, 100), 100);
	mc_store_close(s);
	s = contributor(r.port, pool);
	ASSERT_TRUE(s);
	EXPECT_EQ(right_of(s, 100), 100);
	mc_store_close(s);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	forget(pool);
	munmap(j, sizeof(*j));
}

/* Somebody takes the memory away under everybody: errors and misses, no crash; the next node starts empty. */
TEST(revoked_under_load)
{
	struct journal *j = journal_new();
	struct region_lease unused;
	struct region data;
	struct node_proc n;
	char pool[32], name[REGION_NAME_MAX + 1];
	struct mc_store *s;
	struct count c;
	struct rig r;
	pid_t eng;
	int status = -1;

	if (!have_module())
		SKIP("no /dev/mooncake: nobody can revoke");
	snprintf(pool, sizeof(pool), "revoke-%d", getpid());
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, NULL, r.port, pool), 0);
	eng = start_engine(r.port, n.unix_path, j);
	ASSERT_TRUE(filled(eng, j, OBJECTS));
	s = store_of(r.port);
	ASSERT_TRUE(s);
	c = read_with(s, true);
	EXPECT_EQ(c.right, OBJECTS);
	snprintf(name, sizeof(name), "mc-%s-0", pool);
	ASSERT_EQ(region_open(name, false, &data, &unused), 0);
	ASSERT_EQ(revoke_region(data.fd), 0);
	region_close(&data);
	c = read_with(s, false);
	printf("# after revoke: %u right, %u wrong, %u missing\n", c.right, c.wrong, c.missing);
	/* One region of the pool is gone. What lies in the others is right until the owner gives up, a second later at most. */
	EXPECT_EQ(c.wrong, 0);
	EXPECT_GT(c.missing, 0);
	mc_store_close(s);
	EXPECT_EQ(waitpid(eng, &status, WNOHANG), 0); /* it lives, and its puts fail */
	kill(eng, SIGKILL);
	waitpid(eng, NULL, 0);
	EXPECT_EQ(node_wait(&n), 1); /* it ends by itself, in order */
	pthread_join(n.reader, NULL);
	fclose(n.err);
	EXPECT_TRUE(strstr(n.said, "revoked"));

	ASSERT_EQ(start_node(&n, NULL, r.port, pool), 0);
	EXPECT_TRUE(strstr(n.said, "starting an empty one"));
	EXPECT_EQ(figure(n.unix_path, "objects"), 0);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	forget(pool);
	munmap(j, sizeof(*j));
}

/* tests/vm/test_restart: the two halves with the module unloaded in between. */
static void half(const char *pool, bool before)
{
	struct journal *j = journal_new();
	struct node_proc n;
	struct count c;
	struct rig r;
	pid_t eng;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, NULL, r.port, pool), 0);
	if (before) {
		eng = start_engine(r.port, n.unix_path, j);
		ASSERT_TRUE(filled(eng, j, OBJECTS));
		kill_all(&r, &n, eng);
		return;
	}
	EXPECT_TRUE(strstr(n.said, "is new"));
	c = read_all(r.port, n.unix_path, j);
	printf("# module unloaded between: %u objects, %u wrong, %u missing of %d\n", c.right, c.wrong, c.missing, OBJECTS);
	EXPECT_EQ(c.right + c.wrong, 0);
	EXPECT_EQ(c.missing, OBJECTS);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	forget(pool);
}

TEST(fill_and_die)
{
	if (!getenv("MC_RESTART_POOL"))
		SKIP("one half of tests/vm/test_restart");
	half(getenv("MC_RESTART_POOL"), true);
}

TEST(find_nothing)
{
	if (!getenv("MC_RESTART_POOL"))
		SKIP("one half of tests/vm/test_restart");
	half(getenv("MC_RESTART_POOL"), false);
}

/* Without the module: the node survives the others; and when it is killed too, who keeps its descriptors. */
TEST(memory_kept_by_the_node)
{
	struct journal *j = journal_new();
	struct fd_store st;
	struct node_proc n;
	char port[32];
	struct rig r;
	pid_t eng;

	setenv("MC_KERNEL_MODULE", "off", 1);
	ASSERT_EQ(store_open(&st), 0);
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, &st, r.port, "unused"), 0);
	eng = start_engine(r.port, n.unix_path, j);
	ASSERT_TRUE(filled(eng, j, OBJECTS));
	kill(eng, SIGKILL);
	waitpid(eng, NULL, 0);
	snprintf(port, sizeof(port), "--port=%u", r.port);
	EXPECT_EQ(rig_stop(&r, SIGKILL), 128 + SIGKILL);
	ASSERT_EQ(rig_master(&r, port, NULL, NULL), 0);
	all_there(&r, &n, j, "memfd, kill -9 of master and engine, the node survives");

	store_read(&st);
	EXPECT_EQ(node_stop(&n, SIGKILL), 128 + SIGKILL);
	EXPECT_EQ(rig_stop(&r, SIGKILL), 128 + SIGKILL);
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(start_node(&n, &st, r.port, "unused"), 0);
	EXPECT_TRUE(strstr(n.said, "took over"));
	all_there(&r, &n, j, "memfd, kill -9 of all, the service manager keeps descriptors");
	not_copied(&n);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	store_close(&st);
	unsetenv("MC_KERNEL_MODULE");
	munmap(j, sizeof(*j));
}
