// SPDX-License-Identifier: Apache-2.0
/* Other processes: identity against pid reuse, descriptors, and copies that go whole or say why not. */
#include "mctest.h"
#include "dev/dev.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that runs @fn, says that it did by closing its end, and stays until the parent lets go. */
struct child {
	pid_t pid;
	int ready, hold;
};

static struct child child_start(void (*fn)(void *), void *arg)
{
	int ready[2], hold[2];
	struct child c = { .pid = -1 };
	char b;

	if (pipe(ready) || pipe(hold))
		return c;
	c.pid = fork();
	if (!c.pid) {
		close(ready[0]);
		close(hold[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fn)
			fn(arg);
		close(ready[1]);
		_exit(read(hold[0], &b, 1) == 1 ? b : 0);
	}
	close(ready[1]);
	close(hold[0]);
	c.ready = ready[0];
	c.hold = hold[1];
	if (read(c.ready, &b, 1) != 0)
		c.pid = -1;
	return c;
}

static void child_end(struct child *c)
{
	close(c->hold);
	close(c->ready);
	waitpid(c->pid, NULL, 0);
}

static struct process_id id_of(pid_t pid)
{
	struct process_id id = { 0 };
	char path[64], text[1024], *p;
	FILE *f;

	process_self(&id); /* the namespace */
	id.pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f && fgets(text, sizeof(text), f)) {
		p = strrchr(text, ')');
		for (int i = 2; i < 22; i++)
			p = strchr(p + 1, ' ');
		id.start_time = strtoull(p, NULL, 10);
	}
	if (f)
		fclose(f);
	return id;
}

TEST(self)
{
	struct process_id a, b;

	ASSERT_EQ(process_self(&a), 0);
	EXPECT_EQ(a.pid, getpid());
	EXPECT_NE(a.start_time, 0u);
	EXPECT_NE(a.pid_ns, 0u);
	EXPECT_TRUE(process_alive(&a));

	/* A name that looks like the fields behind it. */
	prctl(PR_SET_NAME, "x) Z 1 (2 3");
	ASSERT_EQ(process_self(&b), 0);
	EXPECT_EQ(a.start_time, b.start_time);
	EXPECT_EQ(a.pid_ns, b.pid_ns);
	EXPECT_TRUE(process_alive(&b));
}

TEST(another_of_the_same_pid_is_not_it)
{
	struct process_id a;

	ASSERT_EQ(process_self(&a), 0);
	a.start_time++;
	EXPECT_TRUE(!process_alive(&a));
	a.start_time--;
	a.pid_ns ^= 1;
	EXPECT_TRUE(!process_alive(&a));
	a.pid_ns ^= 1;
	EXPECT_TRUE(process_alive(&a));
	a.pid = 0;
	EXPECT_TRUE(!process_alive(&a));
	a.pid = -1;
	EXPECT_TRUE(!process_alive(&a));
}

TEST(end_of_a_process)
{
	struct child c = child_start(NULL, NULL);
	struct process_id id = id_of(c.pid);
	struct pollfd p = { .events = POLLIN };
	int fd;

	EXPECT_TRUE(process_alive(&id));
	ASSERT_EQ(process_pidfd(c.pid, &p.fd), 0);
	EXPECT_EQ(poll(&p, 1, 0), 0);
	close(c.hold);
	EXPECT_EQ(poll(&p, 1, 10000), 1);
	/* Not reaped yet: a zombie counts as gone. */
	EXPECT_TRUE(!process_alive(&id));
	EXPECT_EQ(process_open_fd(&id, 0, false, &fd), -ESRCH);
	waitpid(c.pid, NULL, 0);
	EXPECT_TRUE(!process_alive(&id));
	EXPECT_EQ(process_read(c.pid, &(struct process_vec){ &fd, (uintptr_t)&fd, sizeof(fd) }, 1),
		  -ESRCH);
	EXPECT_EQ(process_pidfd(c.pid, &fd), -ESRCH);
	close(p.fd);
	close(c.ready);
}

static void make_memfd(void *arg)
{
	int fd = memfd_create("test", 0);

	if (fd < 0 || write(fd, "hello", 5) != 5 || dup2(fd, *(int *)arg) < 0)
		_exit(1);
}

TEST(descriptor_of_another)
{
	int there = 200, fd = -1;
	struct child c = child_start(make_memfd, &there);
	struct process_id id = id_of(c.pid);
	char text[6] = "";

	ASSERT_EQ(process_open_fd(&id, there, false, &fd), 0);
	EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	EXPECT_EQ(pread(fd, text, 5, 0), 5);
	EXPECT_STREQ(text, "hello");
	EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
	close(fd);
	ASSERT_EQ(process_open_fd(&id, there, true, &fd), 0);
	EXPECT_EQ(pwrite(fd, "H", 1, 0), 1);
	close(fd);
	fd = 77;
	EXPECT_EQ(process_open_fd(&id, 201, false, &fd), -EBADF);
	EXPECT_EQ(process_open_fd(&id, -1, false, &fd), -EBADF);
	id.start_time++;
	EXPECT_EQ(process_open_fd(&id, there, false, &fd), -ESRCH);
	EXPECT_EQ(fd, 77);
	child_end(&c);
}

#define NR   3000 /* more than one system call takes */
#define STEP 24

static void fill(void *arg)
{
	uint8_t *p = arg;

	for (int i = 0; i < NR * STEP; i++)
		p[i] = (uint8_t)(i * 7);
}

static void vecs_init(struct process_vec *v, uint8_t *local, uint8_t *remote)
{
	/* Backwards in the other's memory, every tenth empty. */
	for (int i = 0; i < NR; i++)
		v[i] = (struct process_vec){
			.local = local + (size_t)i * STEP,
			.remote = (uintptr_t)(remote + (size_t)(NR - 1 - i) * STEP),
			.len = i % 10 ? STEP : 0,
		};
}

TEST(copies_of_many_pieces)
{
	uint8_t *mem = calloc(NR, STEP), *mine = calloc(NR, STEP), *back = calloc(NR, STEP);
	struct process_vec *v = calloc(NR, sizeof(*v));
	struct child c = child_start(fill, mem); /* its copy of mem is at the same address */
	int bad = 0;

	vecs_init(v, mine, mem);
	ASSERT_EQ(process_read(c.pid, v, NR), 0);
	for (int i = 0; i < NR * STEP; i++) {
		int at = (NR - 1 - i / STEP) * STEP + i % STEP;

		bad += mine[i] != (i / STEP % 10 ? (uint8_t)(at * 7) : 0);
	}
	EXPECT_EQ(bad, 0);

	for (int i = 0; i < NR * STEP; i++)
		mine[i] = (uint8_t)(i * 3);
	ASSERT_EQ(process_write(c.pid, v, NR), 0);
	vecs_init(v, back, mem);
	ASSERT_EQ(process_read(c.pid, v, NR), 0);
	for (int i = 0; i < NR * STEP; i++)
		bad += back[i] != (i / STEP % 10 ? mine[i] : 0);
	EXPECT_EQ(bad, 0);
	EXPECT_EQ(process_read(c.pid, NULL, 0), 0);
	EXPECT_EQ(process_read(c.pid, v, 1), 0); /* nothing but an empty piece */
	child_end(&c);
	free(mem);
	free(mine);
	free(back);
	free(v);
}

/* A hole in the other's memory: what lies before it may have arrived, the answer is -EFAULT all the same. */
TEST(copies_into_a_hole)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *mem =
		mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *mine = malloc(3 * page);
	struct child c;

	ASSERT_TRUE(mem != MAP_FAILED);
	munmap(mem + page, page);
	c = child_start(NULL, NULL);
	memset(mine, 1, 3 * page);
	EXPECT_EQ(process_read(c.pid, &(struct process_vec){ mine, (uintptr_t)mem, 3 * page }, 1),
		  -EFAULT);
	EXPECT_EQ(process_write(c.pid, &(struct process_vec){ mine, (uintptr_t)mem, 3 * page }, 1),
		  -EFAULT);
	EXPECT_EQ(process_read(c.pid, &(struct process_vec){ mine, 0, 1 }, 1), -EFAULT);
	EXPECT_EQ(process_read(c.pid, &(struct process_vec){ mine, (uintptr_t)mem, page }, 1), 0);
	EXPECT_EQ(mine[0], 0);
	child_end(&c);
	munmap(mem, page);
	munmap(mem + 2 * page, page);
	free(mine);
}

/* Pieces of unequal size, and one of several MiB: the kernel moves them in steps of its own. */
TEST(copies_of_large_pieces)
{
	size_t len = 8 << 20;
	uint8_t *mem = malloc(len), *mine = calloc(1, len);
	struct process_vec v[] = {
		{ mine, (uintptr_t)mem, 1 },
		{ mine + 1, (uintptr_t)mem + 1, len - 3 },
		{ mine + len - 2, (uintptr_t)mem + len - 2, 2 },
	};
	struct child c;

	memset(mem, 0x5a, len);
	c = child_start(NULL, NULL);
	EXPECT_EQ(process_read(c.pid, v, 3), 0);
	EXPECT_MEMEQ(mine, mem, len);
	child_end(&c);
	free(mem);
	free(mine);
}

static void read_as_nobody(void *arg)
{
	struct process_vec v = { &v, (uintptr_t)arg, 8 };
	uint64_t got;

	v.local = &got;
	if (setgid(65534) || setuid(65534))
		_exit(2);
	if (process_read(getppid(), &v, 1) != -EPERM)
		_exit(3);
}

TEST(another_user_is_refused)
{
	uint64_t secret = 1;
	struct child c;

	if (getuid())
		SKIP("needs root to become another user");
	c = child_start(read_as_nobody, &secret);
	ASSERT_NE(c.pid, -1);
	EXPECT_EQ(write(c.hold, "\7", 1), 1);
	{
		int st = 0;

		waitpid(c.pid, &st, 0);
		EXPECT_TRUE(WIFEXITED(st));
		EXPECT_EQ(WEXITSTATUS(st), 7);
	}
	close(c.hold);
	close(c.ready);
}
