/* SPDX-License-Identifier: Apache-2.0 */
/* The store without a master: every call, in one process. */
#include "mctest.h"

#include <errno.h>
#include <mooncake/store.h>
#include <sys/wait.h>
#include <unistd.h>

static struct mc_store *open_store(uint64_t bytes)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = bytes };
	struct mc_store *s = NULL;

	EXPECT_EQ(mc_store_open(&o, &s), 0);
	return s;
}

static struct mc_key key_of(const char *text)
{
	return (struct mc_key){ text, strlen(text) };
}

static int put(struct mc_store *s, const char *key, const void *data, size_t len, uint32_t flags)
{
	struct mc_put_opts o = { .size = sizeof(o), .flags = flags };
	struct mc_iov iov = { (void *)data, len };
	struct mc_put p = { .key = key_of(key), .iov = &iov, .nr_iov = 1 };

	mc_store_put(s, &p, 1, &o, 0);
	return p.result;
}

static int64_t get(struct mc_store *s, const char *key, void *data, size_t len)
{
	struct mc_iov iov = { data, len };
	struct mc_get g = { .key = key_of(key), .iov = &iov, .nr_iov = 1 };

	mc_store_get(s, &g, 1, 0);
	return g.result;
}

TEST(put_get_exists_remove)
{
	struct mc_store *s = open_store(8 << 20);
	char buf[64] = { 0 };
	struct mc_query q = { .key = key_of("k") };
	struct mc_remove r = { .key = key_of("k") };

	ASSERT_TRUE(s);
	EXPECT_EQ(get(s, "k", buf, sizeof(buf)), -ENOENT);
	EXPECT_EQ(mc_store_exists(s, &q, 1, 0), 0);
	EXPECT_EQ(put(s, "k", "hello", 5, 0), 0);
	EXPECT_EQ(get(s, "k", buf, sizeof(buf)), 5);
	EXPECT_MEMEQ(buf, "hello", 5);
	EXPECT_EQ(put(s, "k", "other", 5, 0), 0); /* there already: success, unchanged */
	EXPECT_EQ(get(s, "k", buf, sizeof(buf)), 5);
	EXPECT_MEMEQ(buf, "hello", 5);
	EXPECT_EQ(mc_store_exists(s, &q, 1, 0), 1);
	EXPECT_EQ(mc_store_stat(s, &q, 1, 0), 1);
	EXPECT_EQ(q.bytes, 5);
	EXPECT_EQ(put(s, "k", "newer!", 6, MC_PUT_REPLACE), 0);
	EXPECT_EQ(get(s, "k", buf, sizeof(buf)), 6);
	EXPECT_MEMEQ(buf, "newer!", 6);
	EXPECT_EQ(mc_store_remove(s, &r, 1, 0, 0), 0); /* the read left a lease */
	EXPECT_EQ(r.result, -EBUSY);
	EXPECT_EQ(mc_store_remove(s, &r, 1, MC_REMOVE_FORCE, 0), 1);
	EXPECT_EQ(get(s, "k", buf, sizeof(buf)), -ENOENT);
	mc_store_close(s);
}

TEST(bad_input)
{
	struct mc_store *s = open_store(8 << 20);
	char *big = calloc(1, 5000), buf[8];
	struct mc_get g = { .key = { big, 4097 } };
	struct mc_store_opts o = { .size = 4 };
	struct mc_store *none;

	ASSERT_TRUE(s && big);
	memset(big, 'x', 4999);
	EXPECT_EQ(put(s, "", "v", 1, 0), -EINVAL);
	EXPECT_EQ(put(s, big, "v", 1, 0), -EINVAL);
	EXPECT_EQ(put(s, "k", "", 0, 0), -EINVAL);
	EXPECT_EQ(put(s, "k", NULL, 8, 0), -EINVAL);
	EXPECT_EQ(get(s, "k", NULL, 8), -EINVAL);
	EXPECT_EQ(put(s, "k", big, 4999, 0), 0);
	EXPECT_EQ(get(s, "k", buf, sizeof(buf)), -EMSGSIZE);
	mc_store_get(s, &g, 1, 0);
	EXPECT_EQ(g.result, -EINVAL);
	EXPECT_EQ(mc_store_remove_matching(s, "[", 0, 0), -EINVAL);
	EXPECT_EQ(mc_store_open(&o, &none), -EINVAL);
	free(big);
	mc_store_close(s);
	mc_store_close(NULL);
}

TEST(larger_than_the_pool_and_eviction)
{
	struct mc_store *s = open_store(4 << 20);
	size_t len = 256 << 10;
	uint8_t *data = malloc(8 << 20), *back = malloc(8 << 20);
	char key[32];
	int found = 0;

	ASSERT_TRUE(s && data && back);
	EXPECT_EQ(put(s, "huge", data, 8 << 20, 0), -ENOSPC);
	for (int i = 0; i < 100; i++) {
		memset(data, i, len);
		snprintf(key, sizeof(key), "k%d", i);
		EXPECT_EQ(put(s, key, data, len, 0), 0);
	}
	for (int i = 0; i < 100; i++) {
		int64_t n;

		snprintf(key, sizeof(key), "k%d", i);
		n = get(s, key, back, len);
		if (n == -ENOENT)
			continue;
		EXPECT_EQ(n, (int64_t)len);
		memset(data, i, len);
		EXPECT_MEMEQ(back, data, len);
		found++;
	}
	EXPECT_GE(found, 8);
	EXPECT_LE(found, 16);
	free(data);
	free(back);
	mc_store_close(s);
}

static void *give(void *arg, size_t len)
{
	void **p = arg;

	*p = malloc(len);
	return *p;
}

TEST(scattered_slices_and_alloc)
{
	struct mc_store *s = open_store(8 << 20);
	char a[4], b[8], c[4];
	struct mc_iov in[3] = { { (void *)"abc", 3 }, { (void *)"", 0 }, { (void *)"defghij", 7 } };
	struct mc_iov out[2] = { { a, 4 }, { b, 8 } };
	struct mc_put p = { .key = key_of("k"), .iov = in, .nr_iov = 3 };
	struct mc_get g = { .key = key_of("k"), .iov = out, .nr_iov = 2 };
	struct mc_slice sl[3] = { { a, 2, 3, 0 }, { c, 9, 1, 0 }, { b, 8, 5, 0 } };
	struct mc_get_slices gs = { .key = key_of("k"), .slices = sl, .nr = 3 };
	void *mem = NULL;
	struct mc_get ga = { .key = key_of("k"), .alloc = give, .arg = &mem };

	ASSERT_TRUE(s);
	EXPECT_EQ(mc_store_put(s, &p, 1, NULL, 0), 1);
	EXPECT_EQ(mc_store_get(s, &g, 1, 0), 1);
	EXPECT_EQ(g.result, 10);
	EXPECT_MEMEQ(a, "abcd", 4);
	EXPECT_MEMEQ(b, "efghij", 6);
	EXPECT_EQ(mc_store_get_slices(s, &gs, 1, 0), 1);
	EXPECT_EQ(sl[0].result, 3);
	EXPECT_MEMEQ(a, "cde", 3);
	EXPECT_EQ(sl[1].result, 1);
	EXPECT_EQ(c[0], 'j');
	EXPECT_EQ(sl[2].result, -ERANGE);
	EXPECT_EQ(mc_store_get(s, &ga, 1, 0), 1);
	ASSERT_TRUE(mem);
	EXPECT_MEMEQ(mem, "abcdefghij", 10);
	free(mem);
	mc_store_close(s);
}

static int count_key(void *arg, const struct mc_list_item *item)
{
	(*(int *)arg)++;
	return 0;
}

TEST(batches_lists_and_patterns)
{
	struct mc_store *s = open_store(8 << 20);
	enum { N = 300 };
	static char key[N][16], val[N][16];
	static struct mc_iov iov[N];
	static struct mc_put p[N];
	static struct mc_query q[N];
	int n = 0;

	ASSERT_TRUE(s);
	for (int i = 0; i < N; i++) {
		snprintf(key[i], sizeof(key[i]), "%c-%d", i % 2 ? 'a' : 'b', i);
		snprintf(val[i], sizeof(val[i]), "value %d", i);
		iov[i] = (struct mc_iov){ val[i], sizeof(val[i]) };
		p[i] = (struct mc_put){ .key = key_of(key[i]), .iov = &iov[i], .nr_iov = 1 };
		q[i].key = p[i].key;
	}
	p[7].key.len = 0; /* one bad item spoils only itself */
	EXPECT_EQ(mc_store_put(s, p, N, NULL, 0), N - 1);
	EXPECT_EQ(p[7].result, -EINVAL);
	EXPECT_EQ(mc_store_exists(s, q, N, 0), N - 1);
	EXPECT_EQ(mc_store_list(s, "^a-", count_key, &n, 0), N / 2 - 1);
	EXPECT_EQ(n, N / 2 - 1);
	EXPECT_EQ(mc_store_remove_matching(s, "^a-", MC_REMOVE_FORCE, 0), N / 2 - 1);
	EXPECT_EQ(mc_store_remove_matching(s, NULL, MC_REMOVE_FORCE, 0), N / 2);
	EXPECT_EQ(mc_store_exists(s, q, N, 0), 0);
	mc_store_close(s);
}

TEST(tenants_do_not_see_each_other)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .tenant = "blue" };
	struct mc_store *s;
	char c;

	ASSERT_EQ(mc_store_open(&o, &s), 0);
	EXPECT_EQ(put(s, "k", "v", 1, 0), 0);
	EXPECT_EQ(get(s, "k", &c, 1), 1);
	EXPECT_TRUE(strchr(mc_store_name(s), ':'));
	mc_store_close(s);
}

TEST(registered_buffers)
{
	struct mc_store *s = open_store(8 << 20);
	char buf[256];

	ASSERT_TRUE(s);
	EXPECT_EQ(mc_store_buffer_add(s, buf, 128), 0);
	EXPECT_EQ(mc_store_buffer_add(s, buf + 64, 128), -EEXIST);
	EXPECT_EQ(mc_store_buffer_add(s, NULL, 1), -EINVAL);
	EXPECT_EQ(mc_store_buffer_add(s, buf, 0), -EINVAL);
	EXPECT_EQ(mc_store_buffer_has(s, buf + 10, 100), 1);
	EXPECT_EQ(mc_store_buffer_has(s, buf + 100, 100), 0);
	EXPECT_EQ(mc_store_buffer_add(s, buf + 128, 128), 0);
	EXPECT_EQ(mc_store_buffer_has(s, buf + 100, 100), 1);
	EXPECT_EQ(mc_store_buffer_del(s, buf + 1), -ENOENT);
	EXPECT_EQ(mc_store_buffer_del(s, buf), 0);
	EXPECT_EQ(mc_store_buffer_has(s, buf + 10, 1), 0);
	mc_store_close(s);
}

TEST(unknown_protocol)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .protocol = "pigeon" };
	struct mc_store *s = NULL;

	EXPECT_EQ(mc_store_open(&o, &s), -EPROTONOSUPPORT); /* though no engine is needed yet */
	EXPECT_TRUE(!s);
}

TEST(refused_in_a_forked_child)
{
	struct mc_store *s = open_store(8 << 20);
	char c;
	int status;
	pid_t pid;

	ASSERT_TRUE(s);
	EXPECT_EQ(put(s, "k", "v", 1, 0), 0);
	pid = fork();
	if (!pid)
		_exit(get(s, "k", &c, 1) == -EPERM ? 0 : 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(get(s, "k", &c, 1), 1);
	mc_store_close(s);
}
