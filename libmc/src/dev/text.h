/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of /proc and /sys. Nothing outside dev includes this. */
#ifndef MC_DEV_TEXT_H
#define MC_DEV_TEXT_H

#include "base/base.h"

/* The first @size - 1 bytes of a file, terminated. Return: how many, or a negative errno. */
int file_text(const char *path, char *text, size_t size);

/* A number that makes up a file, e.g. memory.current; -EBADMSG: something else is in it. */
int file_u64(const char *path, uint64_t *out);

/* The bytes of a line of @text such as "MemTotal:  123 kB"; -1: no such line. */
int64_t text_kb_bytes(const char *text, const char *field);

/* The same of /proc/meminfo. 0: no such line. */
uint64_t meminfo_bytes(const char *field);

/*
 * Calls @fn for each name in a folder, in the order of strverscmp(), until it returns something else than 0. Return: that, 0
 * also when there is no such folder, -ENOMEM.
 */
int dir_each(const char *path, int (*fn)(void *arg, const char *name), void *arg);

/* The NUMA node of a device, by its folder in sysfs; -1: not known. */
int device_node(const char *folder);

#endif
