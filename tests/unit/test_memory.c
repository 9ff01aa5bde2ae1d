// SPDX-License-Identifier: Apache-2.0
/* Memory for programs: found by its address, shared with children and through its descriptor, kept while it is registered. */
#include "mctest.h"
#include "base/base.h"

#include <fcntl.h>
#include <mooncake/memory.h>
#include <mooncake/store.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static bool mapped(const void *p)
{
	unsigned char vec;

	return !mincore((void *)p, 1, &vec);
}

TEST(there_and_found)
{
	struct mc_memory_info i;
	char path[64], name[64];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	ssize_t len;
	char *p;
	int fd;

	ASSERT_EQ(mc_memory_alloc(page + 1, NULL, (void **)&p), 0);
	EXPECT_EQ(p[0], 0);
	EXPECT_EQ(p[2 * page - 1], 0);
	ASSERT_EQ(mc_memory_find(p, &i, &fd), 0);
	EXPECT_EQ(i.bytes, page + 1);
	EXPECT_EQ(i.mapped, 2 * page);
	EXPECT_EQ(i.page_bytes, page);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, name, sizeof(name) - 1);
	name[MAX(len, 0)] = 0;
	EXPECT_TRUE(strstr(name, "mooncake_shm"));
	EXPECT_TRUE(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
	EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(pwrite(fd, "x", 1, 5), 1);
	EXPECT_EQ(p[5], 'x');
	close(fd);
	EXPECT_EQ(mc_memory_find(p + 1, &i, NULL), -ENOENT);
	EXPECT_EQ(mc_memory_free(p + page), -ENOENT);
	EXPECT_EQ(mc_memory_free(p), 0);
	EXPECT_TRUE(!mapped(p));
	EXPECT_EQ(mc_memory_free(p), -ENOENT);
	EXPECT_EQ(mc_memory_find(p, &i, &fd), -ENOENT);
}

TEST(refused)
{
	struct mc_memory_opts o = { .size = sizeof(o), .node = -1 };
	struct {
		struct mc_memory_opts o;
		uint64_t later;
	} newer = { { .size = sizeof(newer), .node = -1 }, 1 };
	void *p;

	EXPECT_EQ(mc_memory_alloc(0, NULL, &p), -EINVAL);
	EXPECT_EQ(mc_memory_alloc(SIZE_MAX, NULL, &p), -ENOMEM);
	EXPECT_EQ(mc_memory_alloc((size_t)1 << 50, NULL, &p), -ENOMEM);
	EXPECT_EQ(mc_memory_alloc(1, &newer.o, &p), -E2BIG);
	o.page_bytes = 4 * MiB;
	EXPECT_EQ(mc_memory_alloc(1, &o, &p), -EINVAL);
	o = (struct mc_memory_opts){ .size = sizeof(o), .node = -1, .flags = 1 };
	EXPECT_EQ(mc_memory_alloc(1, &o, &p), -EINVAL);
	o = (struct mc_memory_opts){ .size = 1 };
	EXPECT_EQ(mc_memory_alloc(1, &o, &p), -EINVAL);
	EXPECT_EQ(mc_memory_free(NULL), -ENOENT);
}

/* Large pages where they are set aside, ordinary ones where not; either way it is memory. */
TEST(pages_and_nodes)
{
	static const uint64_t pages[] = { 0, 2 * MiB, GiB };
	struct mc_memory_info i;
	void *p;

	for (int k = 0; k < 3; k++) {
		struct mc_memory_opts o = { .size = sizeof(o), .node = 0, .page_bytes = pages[k] };

		ASSERT_EQ(mc_memory_alloc(5000, &o, &p), 0);
		ASSERT_EQ(mc_memory_find(p, &i, NULL), 0);
		EXPECT_TRUE(i.page_bytes == pages[k] || i.page_bytes == (uint64_t)sysconf(_SC_PAGESIZE));
		EXPECT_EQ(i.mapped % i.page_bytes, 0);
		EXPECT_EQ(mc_memory_free(p), 0);
	}
	setenv("MC_STORE_USE_HUGEPAGE", "", 1); /* presence is what counts */
	setenv("MC_STORE_HUGEPAGE_SIZE", "3MB", 1); /* no such pages: told, and 2 MiB taken */
	ASSERT_EQ(mc_memory_alloc(5000, NULL, &p), 0);
	EXPECT_EQ(mc_memory_free(p), 0);
	unsetenv("MC_STORE_USE_HUGEPAGE");
	unsetenv("MC_STORE_HUGEPAGE_SIZE");
}

TEST(a_child_shares_it)
{
	int status = -1;
	char *p;
	pid_t pid;

	ASSERT_EQ(mc_memory_alloc(4096, NULL, (void **)&p), 0);
	pid = fork();
	if (!pid) {
		p[0] = 'c';
		_exit(mc_memory_free(p) || mapped(p));
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(p[0], 'c');
	EXPECT_EQ(mc_memory_free(p), 0);
}

TEST(registered_memory_stays)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 8 * MiB };
	struct mc_store *s, *t;
	char *p;

	ASSERT_EQ(mc_store_open(&o, &s), 0);
	ASSERT_EQ(mc_store_open(&o, &t), 0);
	ASSERT_EQ(mc_memory_alloc(64 * KiB, NULL, (void **)&p), 0);
	EXPECT_EQ(mc_store_buffer_add(s, p + 4096, 8192), 0);
	EXPECT_EQ(mc_store_buffer_add(t, p, 64 * KiB), 0);
	EXPECT_EQ(mc_memory_free(p), 0);
	EXPECT_EQ(mc_memory_free(p), -ENOENT); /* it is free, as far as its owner is concerned */
	EXPECT_TRUE(mapped(p));
	EXPECT_EQ(mc_store_buffer_add(s, p, 4096), 0); /* no hold on what was freed */
	EXPECT_EQ(mc_store_buffer_del(s, p + 4096), 0);
	EXPECT_TRUE(mapped(p));
	mc_store_close(t); /* the last hold */
	EXPECT_TRUE(!mapped(p));
	mc_store_close(s);
}

struct using {
	struct mc_store *s;
	char *p;
	bool still;
};

/* In the middle of a get: its memory is unregistered and freed, as another thread might do. */
static void *pull_away(void *arg, size_t len)
{
	struct using *u = arg;

	EXPECT_EQ(mc_store_buffer_del(u->s, u->p), 0);
	EXPECT_EQ(mc_memory_free(u->p), 0);
	u->still = mapped(u->p);
	return u->still ? u->p : NULL;
}

TEST(freed_in_the_middle_of_a_get)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 8 * MiB };
	struct mc_iov iov = { (void *)"value", 5 };
	struct mc_put put = { .key = { "k", 1 }, .iov = &iov, .nr_iov = 1 };
	struct using u = { 0 };
	struct mc_get get = { .key = { "k", 1 }, .alloc = pull_away, .arg = &u };

	ASSERT_EQ(mc_store_open(&o, &u.s), 0);
	ASSERT_EQ(mc_store_put(u.s, &put, 1, NULL, 0), 1);
	ASSERT_EQ(mc_memory_alloc(4096, NULL, (void **)&u.p), 0);
	ASSERT_EQ(mc_store_buffer_add(u.s, u.p, 4096), 0);
	EXPECT_EQ(mc_store_get(u.s, &get, 1, 0), 1);
	EXPECT_TRUE(u.still);
	EXPECT_TRUE(!mapped(u.p)); /* with the end of the get */
	mc_store_close(u.s);
}

static void *churn(void *arg)
{
	struct mc_store *s = arg;
	struct mc_memory_info i;
	long bad = 0;
	void *p;

	for (int k = 0; k < 50; k++) {
		if (mc_memory_alloc(4096, NULL, &p)) {
			bad++;
			continue;
		}
		bad += mc_store_buffer_add(s, p, 4096) != 0;
		bad += mc_memory_find(p, &i, NULL) != 0;
		bad += mc_memory_free(p) != 0;
		bad += mc_store_buffer_del(s, p) != 0;
	}
	return (void *)bad;
}

TEST(threads)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 8 * MiB };
	pthread_t t[4];
	struct mc_store *s;
	void *bad;

	ASSERT_EQ(mc_store_open(&o, &s), 0);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(pthread_create(&t[i], NULL, churn, s), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		EXPECT_EQ((long)bad, 0);
	}
	mc_store_close(s);
}

static void *on_node(void *arg)
{
	*(int *)arg = mc_numa_prefer(0);
	EXPECT_EQ(mc_numa_prefer(-1), -EINVAL);
	EXPECT_EQ(mc_numa_prefer(4000), -EINVAL);
	return NULL;
}

TEST(a_thread_on_a_node)
{
	int ret = 1;
	pthread_t t;

	ASSERT_EQ(pthread_create(&t, NULL, on_node, &ret), 0);
	pthread_join(t, NULL);
	if (access("/sys/devices/system/node/node0/cpulist", R_OK))
		EXPECT_EQ(ret, -EINVAL); /* no node is known */
	else if (ret != -EPERM) /* containers may forbid the policy of memory */
		EXPECT_EQ(ret, 0);
}
