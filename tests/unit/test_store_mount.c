// SPDX-License-Identifier: Apache-2.0
/* Memory that a store mounts and takes back: fresh and of files, at once and with grace, with readers in between. */
#include "mctest.h"
#include "unit/store_rig.h"

#include <mooncake/mount.h>
#include <sys/mman.h>

static bool reads(struct mc_store *s, const char *key, size_t len, uint64_t seed)
{
	uint8_t *data = malloc(len);
	bool ok = st_get(s, key, data, len) == (int64_t)len && filled(data, len, seed);

	free(data);
	return ok;
}

static int put(struct mc_store *s, const char *key, size_t len, uint64_t seed)
{
	uint8_t *data = malloc(len);
	int ret;

	fill(data, len, seed);
	ret = st_put(s, key, data, len);
	free(data);
	return ret;
}

/* Lines of this process's map that have @text. */
static unsigned mapped(const char *text)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned nr = 0;

	while (fgets(line, sizeof(line), f))
		nr += strstr(line, text) != NULL;
	fclose(f);
	return nr;
}

static unsigned descriptors(void)
{
	unsigned nr = 0;

	for (int i = 0; i < 1024; i++)
		nr += fcntl(i, F_GETFD) >= 0;
	return nr;
}

/* A file of zeroes that goes when it is closed. */
static int file_make(char path[64], size_t len)
{
	int fd;

	strcpy(path, "/dev/shm/mc-mount-XXXXXX");
	fd = mkstemp(path);
	EXPECT_TRUE(fd >= 0);
	EXPECT_EQ(ftruncate(fd, (off_t)len), 0);
	return fd;
}

TEST(memory_comes_and_goes)
{
	struct mc_store *s, *mapping, *tcp;
	struct mc_uuid a, b;
	unsigned before;
	uint64_t end;

	NEED_MASTER();
	s = st_open(master.port, 0, NULL);
	mapping = st_open(master.port, 0, NULL);
	tcp = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && mapping && tcp);
	EXPECT_EQ(put(s, "k", 1000, 1), -ECONNREFUSED); /* nobody contributes anything */
	before = mapped("mooncake-mount");
	ASSERT_EQ(mc_store_mount_memory(s, 8 * MIB, SOON, &a), 0);
	ASSERT_EQ(put(s, "k", 100000, 1), 0);
	ASSERT_EQ(put(tcp, "t", 100000, 2), 0);
	EXPECT_TRUE(reads(s, "k", 100000, 1) && reads(mapping, "k", 100000, 1) && reads(tcp, "k", 100000, 1));
	EXPECT_TRUE(reads(s, "t", 100000, 2) && reads(mapping, "t", 100000, 2));
	ASSERT_EQ(mc_store_mount_memory(s, 8 * MIB, SOON, &b), 0);
	EXPECT_TRUE(a.hi != b.hi);
	for (unsigned i = 0; i < 20; i++) { /* more than one of them holds */
		char key[16];

		snprintf(key, sizeof(key), "m%u", i);
		EXPECT_EQ(put(s, key, 600000, i), 0);
	}
	EXPECT_EQ(mc_store_unmount(s, &a, 0), 0);
	EXPECT_EQ(mc_store_unmount(s, &a, 0), -ENOENT);
	ASSERT_EQ(put(s, "after", 100000, 3), 0);
	EXPECT_TRUE(reads(mapping, "after", 100000, 3));
	EXPECT_EQ(mc_store_unmount(s, &b, 0), 0);
	EXPECT_EQ(st_exists(tcp, "after"), 0);
	EXPECT_EQ(st_exists(mapping, "after"), 0);
	EXPECT_EQ(st_exists(s, "k"), 0);
	EXPECT_EQ(put(s, "k", 1000, 1), -ECONNREFUSED);
	/* Nobody keeps it mapped, though one of them asked for nothing since. */
	ASSERT_EQ(mc_store_mount_memory(s, 8 * MIB, SOON, &a), 0);
	ASSERT_EQ(put(s, "k", 1000, 4), 0);
	EXPECT_TRUE(reads(mapping, "k", 1000, 4));
	EXPECT_TRUE(mapped("mooncake-mount") > before);
	EXPECT_EQ(mc_store_unmount(s, &a, 0), 0);
	end = SOON;
	while (mapped("mooncake-mount") > before && !deadline_passed(end))
		usleep(1000);
	EXPECT_EQ(mapped("mooncake-mount"), before);
	mc_store_close(mapping);
	mc_store_close(s);
	mc_store_close(tcp);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(part_of_a_file)
{
	struct mc_store *s, *other;
	struct mc_uuid id;
	char path[64], first[4096];
	unsigned fds;
	uint64_t end;
	int fd;

	NEED_MASTER();
	s = st_open(master.port, 0, NULL);
	other = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s && other);
	fd = file_make(path, 9 * MIB);
	fill(first, sizeof(first), 77);
	ASSERT_EQ(pwrite(fd, first, sizeof(first), 0), (ssize_t)sizeof(first));
	ASSERT_EQ(pwrite(fd, first, sizeof(first), 9 * MIB - 4096), (ssize_t)sizeof(first));
	fds = descriptors();
	for (unsigned round = 0; round < 3; round++) { /* again, over what the last one left there */
		ASSERT_EQ(mc_store_mount_file(s, path, 4096, 8 * MIB, SOON, &id), 0);
		EXPECT_EQ(st_exists(other, "k"), 0);
		ASSERT_EQ(put(s, "k", 3 * MIB, round), 0);
		ASSERT_EQ(put(other, "o", 100000, round + 10), 0);
		EXPECT_TRUE(reads(s, "k", 3 * MIB, round) && reads(other, "k", 3 * MIB, round) && reads(s, "o", 100000, round + 10));
		EXPECT_EQ(mc_store_unmount(s, &id, 0), 0);
		EXPECT_TRUE(!reads(other, "k", 3 * MIB, round) && !reads(s, "k", 3 * MIB, round));
		EXPECT_EQ(mapped(path), 0);
		if (!round)
			fds = descriptors(); /* the engine and streams stay */
	}
	end = SOON;
	while (descriptors() > fds && !deadline_passed(end))
		usleep(1000);
	EXPECT_TRUE(descriptors() <= fds);
	EXPECT_EQ(pread(fd, first, sizeof(first), 0), (ssize_t)sizeof(first));
	EXPECT_TRUE(filled(first, sizeof(first), 77));
	EXPECT_EQ(pread(fd, first, sizeof(first), 9 * MIB - 4096), (ssize_t)sizeof(first));
	EXPECT_TRUE(filled(first, sizeof(first), 77)); /* nothing beside the range was touched */
	close(fd);
	unlink(path);
	mc_store_close(s);
	mc_store_close(other);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* Somebody cuts the file. */
TEST(a_file_is_cut)
{
	struct mc_store *s, *other;
	struct mc_uuid id;
	char path[64];
	uint8_t data[1000];
	int fd;

	NEED_MASTER();
	s = st_open(master.port, 0, NULL);
	other = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && other);
	fd = file_make(path, 8 * MIB);
	ASSERT_EQ(mc_store_mount_file(s, path, 0, 8 * MIB, SOON, &id), 0);
	for (unsigned i = 0; i < 40; i++) {
		char key[16];

		snprintf(key, sizeof(key), "c%u", i);
		ASSERT_EQ(put(s, key, 100000, i), 0);
	}
	ASSERT_EQ(ftruncate(fd, 4096), 0);
	for (unsigned i = 0; i < 40; i++) {
		char key[16];
		int64_t ret;

		snprintf(key, sizeof(key), "c%u", i);
		ret = st_get(s, key, data, sizeof(data));
		EXPECT_TRUE(ret < 0);
		ret = st_get(other, key, data, sizeof(data));
		EXPECT_TRUE(ret < 0);
	}
	EXPECT_EQ(mc_store_unmount(s, &id, 0), 0);
	close(fd);
	unlink(path);
	mc_store_close(s);
	mc_store_close(other);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(refusals)
{
	struct mc_store_opts eo = { .size = sizeof(eo), .master = "embedded", .pool_bytes = 4 * MIB };
	struct mc_uuid id = { 5, 6 };
	struct mc_store *s;
	char path[64];
	int fd;

	NEED_MASTER();
	fd = file_make(path, 4 * MIB);
	s = st_open(master.port, 0, NULL);
	ASSERT_TRUE(s);
	EXPECT_EQ(mc_store_mount_file(s, "/dev/shm/there/is/none", 0, MIB, SOON, &id), -ENOENT);
	EXPECT_EQ(mc_store_mount_file(s, "/dev/shm", 0, MIB, SOON, &id), -EISDIR);
	EXPECT_EQ(mc_store_mount_file(s, path, 0, 4 * MIB + 1, SOON, &id), -ERANGE);
	EXPECT_EQ(mc_store_mount_file(s, path, 4096, 4 * MIB, SOON, &id), -ERANGE);
	EXPECT_EQ(mc_store_mount_file(s, path, 100, MIB, SOON, &id), -EINVAL);
	EXPECT_EQ(mc_store_mount_file(s, path, UINT64_MAX - 4095, MIB, SOON, &id), -EINVAL);
	EXPECT_EQ(mc_store_mount_file(s, path, 0, MIB - 1, SOON, &id), -EINVAL);
	EXPECT_EQ(mc_store_mount_file(s, path, 0, 0, SOON, &id), -EINVAL);
	EXPECT_EQ(mc_store_mount_memory(s, 0, SOON, &id), -EINVAL);
	EXPECT_EQ(mc_store_mount_memory(s, (uint64_t)1 << 46, SOON, &id), -ENOMEM);
	EXPECT_EQ(mc_store_unmount(s, &id, 0), -ENOENT);
	EXPECT_EQ(id.hi, 5);
	EXPECT_EQ(mapped(path), 0);
	EXPECT_EQ(rig_stop(&master, SIGKILL), 128 + SIGKILL);
	EXPECT_TRUE(mc_store_mount_file(s, path, 0, 4 * MIB, deadline_after_ms(300), &id) < 0);
	EXPECT_EQ(mapped(path), 0);
	mc_store_shutdown(s);
	EXPECT_EQ(mc_store_mount_memory(s, MIB, SOON, &id), -ESHUTDOWN);
	EXPECT_EQ(mc_store_unmount(s, &id, 0), -ESHUTDOWN);
	mc_store_close(s);
	ASSERT_EQ(mc_store_open(&eo, &s), 0);
	EXPECT_EQ(mc_store_mount_memory(s, MIB, SOON, &id), -EOPNOTSUPP);
	EXPECT_EQ(mc_store_mount_file(s, path, 0, MIB, SOON, &id), -EOPNOTSUPP);
	EXPECT_EQ(mc_store_unmount(s, &id, 0), -ENOENT);
	mc_store_close(s);
	close(fd);
	unlink(path);
}

TEST(grace)
{
	struct mc_replicas r = { .key = key_of("k") };
	struct mc_key k = key_of("k");
	struct mc_store *s, *other;
	struct mc_uuid id, rest, task;
	uint64_t start, end;
	char leaving[MC_SEGMENT_NAME_BYTES];
	const char *target = leaving;

	NEED_MASTER();
	s = st_open(master.port, 0, NULL);
	other = st_open(master.port, 8 * MIB, NULL);
	ASSERT_TRUE(s && other);
	ASSERT_EQ(mc_store_mount_memory(s, 8 * MIB, SOON, &id), 0);
	for (unsigned i = 0;; i++) { /* until one lies there */
		ASSERT_EQ(put(s, "k", 100000, 1), 0);
		ASSERT_EQ(mc_store_replicas(other, &r, 1, SOON), 1);
		strcpy(leaving, r.replica[0].segment);
		mc_replicas_free(&r, 1);
		if (strcmp(leaving, mc_store_name(other)))
			break;
		ASSERT_TRUE(i < 1000);
		ASSERT_EQ(st_remove(s, "k"), 0);
	}
	start = clock_now_ns();
	EXPECT_EQ(mc_store_unmount(s, &id, NSEC_PER_SEC), 0);
	EXPECT_TRUE(clock_now_ns() - start < NSEC_PER_SEC / 2);
	EXPECT_EQ(mc_store_unmount(s, &id, 0), -ENOENT);
	/* Readable, and takes nothing: what is put goes to the other one. */
	for (unsigned i = 0; i < 20; i++) {
		char key[16];

		snprintf(key, sizeof(key), "n%u", i);
		EXPECT_EQ(put(s, key, 100000, i), 0);
		r.key = key_of(key);
		EXPECT_EQ(mc_store_replicas(other, &r, 1, SOON), 1);
		if (r.result == 1)
			EXPECT_STREQ(r.replica[0].segment, mc_store_name(other));
		mc_replicas_free(&r, 1);
	}
	EXPECT_TRUE(reads(s, "k", 100000, 1) && reads(other, "k", 100000, 1));
	r.key = key_of("n1");
	k = key_of("n1");
	end = SOON;
	while (mc_store_copy(s, &k, &target, 1, SOON, &task) != -EHOSTDOWN && !deadline_passed(start + NSEC_PER_SEC))
		usleep(1000);
	/* It may be copied out before it goes. */
	k = key_of("k");
	target = mc_store_name(other);
	EXPECT_EQ(mc_store_copy(s, &k, &target, 1, SOON, &task), 0);
	while (mapped("mooncake-mount") && !deadline_passed(end))
		usleep(1000);
	EXPECT_EQ(mapped("mooncake-mount"), 0);
	EXPECT_TRUE(clock_now_ns() - start >= NSEC_PER_SEC);
	EXPECT_TRUE(reads(s, "k", 100000, 1) && reads(other, "k", 100000, 1));
	EXPECT_TRUE(reads(s, "n3", 100000, 3));

	/* Who closes does not wait for it. */
	ASSERT_EQ(mc_store_mount_memory(s, 8 * MIB, SOON, &rest), 0);
	EXPECT_EQ(mc_store_unmount(s, &rest, 3600 * NSEC_PER_SEC), 0);
	start = clock_now_ns();
	mc_store_close(s);
	EXPECT_TRUE(clock_now_ns() - start < 5 * NSEC_PER_SEC);
	mc_store_close(other);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* ---- readers under load: a hit is right, whatever is mounted at the moment ---- */

struct readers {
	struct mc_store *s;
	atomic_bool stop;
	atomic_uint hits, wrong;
};

static void *read_on(void *arg)
{
	struct readers *r = arg;
	static _Thread_local uint8_t data[70000];

	for (unsigned i = 0; !atomic_load(&r->stop); i++) {
		char key[16];
		int64_t n;

		snprintf(key, sizeof(key), "l%u", i % 16);
		n = st_get(r->s, key, data, sizeof(data));
		if (n < 0)
			continue;
		atomic_fetch_add(&r->hits, 1);
		if (n != 60000 || !filled(data, 60000, i % 16))
			atomic_fetch_add(&r->wrong, 1);
	}
	return NULL;
}

static void load(bool file)
{
	struct readers r[2] = { 0 };
	pthread_t thread[2];
	struct mc_store *s;
	struct mc_uuid id;
	char path[64];
	int fd;

	fd = file_make(path, 4 * MIB);
	s = st_open(master.port, 0, NULL);
	r[0].s = st_open(master.port, 0, NULL);
	r[1].s = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(s && r[0].s && r[1].s);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, read_on, &r[i]);
	for (unsigned round = 0; round < 6; round++) {
		uint64_t end = SOON;
		unsigned hits[2];

		ASSERT_EQ(file ? mc_store_mount_file(s, path, 0, 4 * MIB, SOON, &id) : mc_store_mount_memory(s, 4 * MIB, SOON, &id), 0);
		/* Other places each time, so that a stale one is another object's. */
		for (unsigned i = 0; i < 16; i++) {
			char key[16];

			snprintf(key, sizeof(key), "l%u", (i * 5 + round * 3) % 16);
			EXPECT_EQ(put(s, key, 60000, (i * 5 + round * 3) % 16), 0);
		}
		for (unsigned i = 0; i < 2; i++) {
			hits[i] = atomic_load(&r[i].hits);
			while (atomic_load(&r[i].hits) < hits[i] + 20 && !deadline_passed(end))
				usleep(1000);
			EXPECT_TRUE(atomic_load(&r[i].hits) >= hits[i] + 20);
		}
		EXPECT_EQ(mc_store_unmount(s, &id, round % 2 ? 20 * NSEC_PER_MSEC : 0), 0);
		while (round % 2 && (file ? mapped(path) : st_exists(s, "l0") == 1) && !deadline_passed(end))
			usleep(1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&r[i].stop, true);
		pthread_join(thread[i], NULL);
		EXPECT_EQ(atomic_load(&r[i].wrong), 0);
		mc_store_close(r[i].s);
	}
	mc_store_close(s);
	close(fd);
	unlink(path);
}

TEST(never_wrong_bytes_from_memory)
{
	NEED_MASTER();
	load(false);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(never_wrong_bytes_from_a_file)
{
	NEED_MASTER();
	load(true);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}
