// SPDX-License-Identifier: Apache-2.0
/*
 * Large puts are announced before they are copied. Here they stop in the middle of the copy: their source is memory that is not
 * there until the test says so.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include "store_rig.h"

#include "base/clock.h"
#include "mctest.h"

#define FIRST 5	 /* who wrote it */
#define SECOND 6

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 1000
#else
#define ROUNDS 20000
#endif
#define PIECE (160 << 10)

/* ---- a put that stops in the middle of its source ---- */

static int faults_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool no_faults(void)
{
	int fd = faults_open();

	if (fd >= 0)
		close(fd);
	return fd < 0;
}

struct source {
	struct mc_store *s;
	uint8_t *mem;
	int fd;
};

/* Says "h" when somebody waits for the second half, and lets it have that after a byte; after "d" once the owner is known dead. */
static void *half_way(void *arg)
{
	const struct source *s = arg;
	struct uffd_msg m;
	static uint8_t whole[MIB] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = (uintptr_t)s->mem + MIB / 2, .src = (uintptr_t)whole + MIB / 2, .len = MIB / 2 };
	char c;

	fill(whole, sizeof(whole), FIRST);
	if (read(s->fd, &m, sizeof(m)) != sizeof(m) || write(1, "h", 1) != 1 || read(0, &c, 1) != 1)
		_exit(8);
	while (c == 'd' && st_exists(s->s, "warm") == 1)
		usleep(1000);
	ioctl(s->fd, UFFDIO_COPY, &copy);
	return NULL;
}

static int role_halfway(uint16_t port)
{
	struct mc_store *s = st_open(port, 0, NULL);
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct source src = { .s = s, .fd = faults_open() };
	uint8_t *warm = malloc(MIB);
	pthread_t t;
	char c;

	src.mem = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!s || src.fd < 0 || src.mem == MAP_FAILED || !warm)
		return 2;
	fill(warm, MIB, FIRST);
	if (st_put(s, "warm", warm, MIB)) /* and there is a grant */
		return 3;
	memcpy(src.mem, warm, MIB / 2);
	reg.range.start = (uintptr_t)src.mem + MIB / 2;
	reg.range.len = MIB / 2;
	if (ioctl(src.fd, UFFDIO_REGISTER, &reg) || pthread_create(&t, NULL, half_way, &src))
		return 4;
	say_ready();
	c = st_put(s, "k", src.mem, MIB) ? 'n' : 'y';
	pthread_join(t, NULL);
	if (write(1, &c, 1) != 1 || read(0, &c, 1) != 0)
		return 5;
	mc_store_close(s);
	free(warm);
	return 0;
}

/* Answers which of the numbered objects it finds. */
static int role_finder(uint16_t port, const char *transports)
{
	struct mc_store *s = st_open(port, 0, transports);
	static uint8_t data[PIECE];
	unsigned nr;
	char key[32], c;

	if (!s)
		return 2;
	say_ready();
	while (read(0, &nr, sizeof(nr)) == sizeof(nr)) {
		snprintf(key, sizeof(key), "n%u", nr);
		c = st_exists(s, key) != 1		    ? 'e' :
		    st_get(s, key, data, PIECE) != PIECE ? 'g' :
		    !filled(data, PIECE, nr % 7)	    ? 'w' :
							      'y';
		if (write(1, &c, 1) != 1)
			return 3;
	}
	mc_store_close(s);
	return 0;
}

static int role_counted(uint16_t port)
{
	struct mc_store *s = st_open(port, 0, NULL);
	static uint8_t data[MIB];
	char key[32];

	if (!s)
		return 2;
	for (unsigned i = 0; i < 96; i++) {
		if (i == 32) {
			say_ready();
			ptrace(PTRACE_TRACEME, 0, 0, 0);
			raise(SIGSTOP);
		}
		snprintf(key, sizeof(key), "c%u", i);
		if (st_put(s, key, data, MIB))
			return 3;
	}
	raise(SIGUSR1);
	return 4;
}

__attribute__((constructor(200))) static void play_our_role(void)
{
	const char *role = getenv("STORE_ROLE"), *port = getenv("STORE_PORT");
	uint16_t p = (uint16_t)atoi(port ? port : "0");

	if (!role)
		return;
	if (!strcmp(role, "halfway"))
		_exit(role_halfway(p));
	if (!strcmp(role, "finder"))
		_exit(role_finder(p, NULL));
	if (!strcmp(role, "finder.tcp"))
		_exit(role_finder(p, "tcp"));
	if (!strcmp(role, "counted"))
		_exit(role_counted(p));
}

/* ---- a master, an owner, two readers, and the one that stops ---- */

struct scene {
	struct child owner, writer;
	struct mc_store *here, *far;
	uint8_t *data, *second;
};

static char next_byte(struct child *c)
{
	char b = 0;

	return read(c->out, &b, 1) == 1 ? b : 'x';
}

static bool scene_open(struct scene *sc, uint64_t pool)
{
	*sc = (struct scene){ .data = malloc(MIB), .second = malloc(MIB) };
	fill(sc->second, MIB, SECOND);
	if (child_start(&sc->owner, "provider", master.port, pool))
		return false;
	sc->here = st_open(master.port, 0, NULL);
	sc->far = st_open(master.port, 0, "tcp");
	return sc->here && sc->far;
}

/* In the middle of its copy when this returns. */
static bool writer_start(struct scene *sc)
{
	return !child_start(&sc->writer, "halfway", master.port, 0) && next_byte(&sc->writer) == 'h';
}

static char writer_finish(struct scene *sc, const char *how)
{
	return write(sc->writer.in, how, 1) == 1 ? next_byte(&sc->writer) : 'x';
}

static void scene_close(struct scene *sc)
{
	mc_store_close(sc->far);
	mc_store_close(sc->here);
	child_stop(&sc->owner, 0);
	rig_stop(&master, SIGTERM);
	free(sc->second);
	free(sc->data);
}

static bool nowhere(struct scene *sc)
{
	return st_exists(sc->here, "k") == 0 && st_exists(sc->far, "k") == 0 && st_get(sc->here, "k", sc->data, MIB) == -ENOENT &&
	       st_get(sc->far, "k", sc->data, MIB) == -ENOENT;
}

static bool everywhere(struct scene *sc, uint64_t seed)
{
	struct mc_query q = { .key = key_of("k") };

	return st_exists(sc->far, "k") == 1 && st_exists(sc->here, "k") == 1 && mc_store_stat(sc->far, &q, 1, SOON) == 1 &&
	       q.bytes == MIB && st_get(sc->far, "k", sc->data, MIB) == MIB && filled(sc->data, MIB, seed) &&
	       st_get(sc->here, "k", sc->data, MIB) == MIB && filled(sc->data, MIB, seed);
}

TEST(seen_only_when_it_is_whole)
{
	struct scene sc;

	if (no_faults())
		SKIP("no userfaultfd");
	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 32 * MIB));
	ASSERT_TRUE(writer_start(&sc));
	EXPECT_TRUE(nowhere(&sc));
	EXPECT_EQ(writer_finish(&sc, "g"), 'y');
	EXPECT_TRUE(everywhere(&sc, FIRST));
	EXPECT_EQ(st_put(sc.here, "k", sc.second, MIB), 0); /* it is there: not replaced */
	EXPECT_TRUE(everywhere(&sc, FIRST));
	EXPECT_EQ(child_stop(&sc.writer, 0), 0);
	scene_close(&sc);
}

struct putting {
	struct scene *sc;
	struct mc_store *s;
	int ret;
};

static void *put_second(void *arg)
{
	struct putting *p = arg;

	p->ret = st_put(p->s, "k", p->sc->second, MIB);
	return NULL;
}

/* Whoever waits for it neither hangs nor is told that something is stored that is not. */
static void dies(int how)
{
	struct putting p, q;
	struct scene sc;
	pthread_t a, b;
	uint64_t began;

	if (no_faults())
		SKIP("no userfaultfd");
	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 32 * MIB));
	ASSERT_TRUE(writer_start(&sc));
	p = (struct putting){ &sc, sc.here, 1 };
	q = (struct putting){ &sc, sc.far, 1 };
	began = clock_now_ns();
	kill(sc.writer.pid, how);
	pthread_create(&a, NULL, put_second, &p);
	pthread_create(&b, NULL, put_second, &q);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	EXPECT_LT(clock_now_ns() - began, 5 * NSEC_PER_SEC);
	EXPECT_EQ(p.ret, 0);
	EXPECT_EQ(q.ret, 0);
	EXPECT_TRUE(everywhere(&sc, SECOND));
	if (how == SIGSTOP) { /* it wakes up, and finds another one there */
		kill(sc.writer.pid, SIGCONT);
		EXPECT_EQ(writer_finish(&sc, "g"), 'y');
		EXPECT_TRUE(everywhere(&sc, SECOND));
		EXPECT_EQ(child_stop(&sc.writer, 0), 0);
	} else {
		child_stop(&sc.writer, 0);
	}
	scene_close(&sc);
}

TEST(killed_in_the_middle)
{
	dies(SIGKILL);
}

TEST(stopped_in_the_middle)
{
	dies(SIGSTOP);
}

/* Too slow, but nobody else comes: it is stored all the same. */
TEST(slow_in_the_middle)
{
	struct timespec ts = { .tv_nsec = 250 * 1000 * 1000 }; /* over what an owner waits for a MiB */
	struct scene sc;

	if (no_faults())
		SKIP("no userfaultfd");
	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 32 * MIB));
	ASSERT_TRUE(writer_start(&sc));
	nanosleep(&ts, NULL);
	EXPECT_TRUE(nowhere(&sc));
	EXPECT_EQ(writer_finish(&sc, "g"), 'y');
	EXPECT_TRUE(everywhere(&sc, FIRST));
	EXPECT_EQ(child_stop(&sc.writer, 0), 0);
	scene_close(&sc);
}

TEST(removed_in_the_middle)
{
	struct scene sc;
	int ret = -1;

	if (no_faults())
		SKIP("no userfaultfd");
	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 32 * MIB));
	/* On a busy machine the owner's patience may end first: then there is nothing to remove, and the put succeeds. */
	for (int tries = 0; tries < 5 && ret; tries++) {
		ASSERT_TRUE(writer_start(&sc));
		ret = st_remove(sc.here, "k");
		EXPECT_TRUE(!ret || ret == -ENOENT);
		EXPECT_EQ(writer_finish(&sc, "g"), 'y');
		EXPECT_TRUE(ret ? everywhere(&sc, FIRST) : nowhere(&sc));
		EXPECT_EQ(child_stop(&sc.writer, 0), 0);
		if (ret)
			EXPECT_EQ(st_remove(sc.here, "k"), 0);
	}
	EXPECT_EQ(st_put(sc.here, "k", sc.second, MIB), 0);
	EXPECT_TRUE(everywhere(&sc, SECOND));
	scene_close(&sc);
}

TEST(an_owner_dies_in_the_middle)
{
	struct scene sc;

	if (no_faults())
		SKIP("no userfaultfd");
	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 32 * MIB));
	ASSERT_TRUE(writer_start(&sc));
	child_stop(&sc.owner, SIGKILL);
	EXPECT_EQ(writer_finish(&sc, "d"), 'n');
	ASSERT_EQ(child_start(&sc.owner, "provider", master.port, 32 * MIB), 0);
	EXPECT_EQ(child_stop(&sc.writer, 0), 0);
	scene_close(&sc);
}

/* ---- whatever put returned is found by another process, at once ---- */

static void found_by(const char *role, unsigned rounds)
{
	static uint8_t data[7][PIECE];
	struct child finder;
	struct scene sc;
	unsigned missed = 0, done;
	char key[32], c;

	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 32 * MIB));
	ASSERT_EQ(child_start(&finder, role, master.port, 0), 0);
	for (unsigned i = 0; i < 7; i++)
		fill(data[i], PIECE, i);
	for (done = 0; done < rounds; done++) {
		snprintf(key, sizeof(key), "n%u", done);
		ASSERT_EQ(st_put(sc.here, key, data[done % 7], PIECE), 0);
		ASSERT_EQ(write(finder.in, &done, sizeof(done)), sizeof(done));
		c = next_byte(&finder);
		if (c != 'y')
			printf("# %s: %c\n", key, c);
		missed += c != 'y';
	}
	EXPECT_EQ(missed, 0);
	EXPECT_EQ(child_stop(&finder, 0), 0);
	scene_close(&sc);
}

TEST(found_on_this_node)
{
	found_by("finder", ROUNDS);
}

TEST(found_from_elsewhere)
{
	found_by("finder.tcp", ROUNDS / 10);
}

/* One message there, one back, as ever. */
TEST(system_calls_of_a_put)
{
	int status, sig = 0;
	unsigned calls = 0;
	struct child c;
	struct scene sc;

	NEED_MASTER();
	ASSERT_TRUE(scene_open(&sc, 256 * MIB));
	ASSERT_EQ(child_start(&c, "counted", master.port, 0), 0);
	waitpid(c.pid, &status, 0);
	if (!WIFSTOPPED(status) || ptrace(PTRACE_SETOPTIONS, c.pid, 0, PTRACE_O_TRACESYSGOOD)) {
		child_stop(&c, SIGKILL);
		scene_close(&sc);
		SKIP("not allowed to trace");
	}
	for (; WIFSTOPPED(status) && sig != SIGUSR1; sig = WIFSTOPPED(status) ? WSTOPSIG(status) : SIGUSR1) {
		calls += sig == (SIGTRAP | 0x80);
		ptrace(PTRACE_SYSCALL, c.pid, 0, 0);
		waitpid(c.pid, &status, 0);
	}
	printf("# %.2f calls for each put of 1 MiB, grants included\n", calls / 2 / 64.0);
	EXPECT_TRUE(WIFSTOPPED(status));
	EXPECT_LT(calls / 2, 64 * 4);
	child_stop(&c, SIGKILL);
	scene_close(&sc);
}
