// SPDX-License-Identifier: Apache-2.0
/* get: an object's bytes. Nothing is written anywhere before all of them are here and checked. */
#include "ctl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static void *take(void *arg, size_t len)
{
	void **out = arg;

	*out = malloc(len ? len : 1);
	return *out;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_file(struct ctl *c, const void *data, size_t len)
{
	bool to_stdout = !strcmp(c->opt.output, "-");
	int fd = to_stdout ? STDOUT_FILENO : open(c->opt.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), ret;

	if (fd < 0)
		return fail(c, -errno, "%s", c->opt.output);
	ret = write_all(fd, data, len);
	if (!to_stdout && close(fd) && !ret)
		ret = -errno;
	return ret ? fail(c, ret, "%s", to_stdout ? "stdout" : c->opt.output) : EXIT_OK;
}

static int report(struct ctl *c, const struct mc_key *key, int64_t bytes)
{
	struct json_object *o;

	if (!c->opt.json)
		return EXIT_OK;
	o = json_object_new_object();
	key_json(o, key->data, key->len);
	json_object_object_add(o, "bytes", json_object_new_int64(bytes));
	json_object_object_add(o, "file", json_object_new_string(c->opt.output));
	json_print(o);
	return EXIT_OK;
}

int cmd_get(struct ctl *c)
{
	void *data = NULL;
	struct mc_get g = { .alloc = take, .arg = &data };
	int ret;

	if (c->opt.json && !strcmp(c->opt.output, "-"))
		return usage(c, "with --json the bytes go to a file: --output FILE");
	ret = word_key(c, 0, &g.key);
	if (ret)
		return ret;
	ret = store_connect(c, true);
	if (!ret && mc_store_get(c->store, &g, 1, c->deadline_ns) != 1)
		ret = g.result == -ENOENT ? fail(c, (int)g.result, "no object under this key") :
					    fail(c, (int)g.result, "get %s", c->words[0]);
	if (!ret)
		ret = write_file(c, data, (size_t)g.result);
	if (!ret)
		ret = report(c, &g.key, g.result);
	free(data);
	free((void *)(uintptr_t)g.key.data);
	return ret;
}
