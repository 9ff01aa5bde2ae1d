// SPDX-License-Identifier: Apache-2.0
/* put: a file, or what comes from stdin, as one object. */
#include "ctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP (1 * MiB)

static int read_all(int fd, struct buf *out)
{
	struct stat st;
	ssize_t n = 1;

	/* One byte more than a file has, so that its end shows without growing. */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && buf_reserve(out, (size_t)st.st_size + 1))
		return -ENOMEM;
	while (n) {
		if (out->len == out->cap && buf_reserve(out, READ_STEP))
			return -ENOMEM;
		n = read(fd, out->data + out->len, out->cap - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		out->len += (size_t)n;
	}
	return 0;
}

static int read_value(struct ctl *c, struct buf *out)
{
	bool from_stdin = !strcmp(c->opt.input, "-");
	int fd = from_stdin ? STDIN_FILENO : open(c->opt.input, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return fail(c, -errno, "%s", c->opt.input);
	ret = read_all(fd, out);
	if (!from_stdin)
		close(fd);
	if (ret)
		return fail(c, ret, "%s", from_stdin ? "stdin" : c->opt.input);
	return out->len ? EXIT_OK : fail(c, 0, "%s is empty: an object has at least one byte", from_stdin ? "stdin" : c->opt.input);
}

static int pin_flags(const struct ctl *c, uint32_t *flags)
{
	static const char *const names[] = { "none", "soft", "hard" };
	static const uint32_t values[] = { 0, MC_PUT_SOFT_PIN, MC_PUT_HARD_PIN };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(c->opt.pin, names[i])) {
			*flags |= values[i];
			return EXIT_OK;
		}
	return usage(c, "--pin %s is none of none, soft, hard", c->opt.pin);
}

static void report(struct ctl *c, const struct mc_key *key, size_t bytes, bool there)
{
	struct json_object *o;
	struct buf b = BUF_INIT;

	if (c->opt.json) {
		o = json_object_new_object();
		key_json(o, key->data, key->len);
		json_object_object_add(o, "bytes", json_object_new_uint64(bytes));
		json_object_object_add(o, "stored", json_object_new_boolean(!there));
		json_print(o);
		return;
	}
	key_text(key->data, key->len, &b);
	if (there)
		printf("%.*s is there already and stays unchanged; --replace takes its place\n", (int)b.len, (char *)b.data);
	else
		printf("%.*s: %s\n", (int)b.len, (char *)b.data, human_bytes(bytes).text);
	buf_fini(&b);
}

static int store_value(struct ctl *c, const struct mc_key *key, const struct buf *value, uint32_t flags)
{
	const struct mc_put_opts o = { .size = sizeof(o), .replicas = (unsigned)c->opt.replicas, .flags = flags };
	const struct mc_iov iov = { value->data, value->len };
	struct mc_put p = { .key = *key, .iov = &iov, .nr_iov = 1 };
	struct mc_query q = { .key = *key };
	bool there;

	there = !(flags & MC_PUT_REPLACE) && mc_store_exists(c->store, &q, 1, c->deadline_ns) == 1;
	if (!there && mc_store_put(c->store, &p, 1, &o, c->deadline_ns) != 1)
		return p.result == -ECONNREFUSED ? fail(c, p.result, "no pool takes the object; is a mooncake-node running?") :
						   fail(c, p.result, "put %s", c->words[0]);
	report(c, key, value->len, there);
	return EXIT_OK;
}

int cmd_put(struct ctl *c)
{
	uint32_t flags = c->opt.replace ? MC_PUT_REPLACE : 0;
	struct buf value = BUF_INIT;
	struct mc_key key;
	int ret;

	ret = pin_flags(c, &flags);
	if (!ret)
		ret = word_key(c, 0, &key);
	if (ret)
		return ret;
	ret = read_value(c, &value);
	if (!ret)
		ret = store_connect(c, true);
	if (!ret)
		ret = store_value(c, &key, &value, flags);
	buf_fini(&value);
	free((void *)(uintptr_t)key.data);
	return ret;
}
