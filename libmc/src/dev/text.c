// SPDX-License-Identifier: Apache-2.0
/* Small files of /proc and /sys. */
#include "dev/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

int file_text(const char *path, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n = 0;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	ret = n < 0 ? -errno : (int)len;
	text[len] = 0;
	close(fd);
	return ret;
}

int file_u64(const char *path, uint64_t *out)
{
	char text[64], *end;
	int ret = file_text(path, text, sizeof(text));
	uint64_t v;

	if (ret < 0)
		return ret;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (end == text || errno || (*end && *end != '\n'))
		return -EBADMSG;
	*out = v;
	return 0;
}

int64_t text_kb_bytes(const char *text, const char *field)
{
	const char *p = strstr(text, field);
	int64_t kb, bytes;

	if (!p)
		return -1;
	kb = strtoll(p + strlen(field), NULL, 10);
	return kb < 0 || check_mul(kb, (int64_t)1024, &bytes) ? -1 : bytes;
}

uint64_t meminfo_bytes(const char *field)
{
	char text[8192];
	int64_t v;

	if (file_text("/proc/meminfo", text, sizeof(text)) < 0)
		return 0;
	v = text_kb_bytes(text, field);
	return v < 0 ? 0 : (uint64_t)v;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

int dir_each(const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	struct dirent **all;
	int nr = scandir(path, &all, visible, versionsort), ret = 0;

	if (nr < 0)
		return errno == ENOMEM ? -ENOMEM : 0;
	for (int i = 0; i < nr; i++) {
		if (!ret)
			ret = fn(arg, all[i]->d_name);
		free(all[i]);
	}
	free(all);
	return ret;
}

int device_node(const char *folder)
{
	char path[PATH_MAX], text[32], *end;
	long node;

	if (snprintf(path, sizeof(path), "%s/numa_node", folder) >= PATH_MAX || file_text(path, text, sizeof(text)) <= 0)
		return -1;
	node = strtol(text, &end, 10);
	return end == text || *end != '\n' || node < 0 || node > INT_MAX ? -1 : (int)node;
}
