/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a store contributes after it was opened, and takes back: each part is a pool of its own, with an owner thread in this
 * process, under the segment name of this client. All functions are thread-safe.
 */
#ifndef MOONCAKE_MOUNT_H
#define MOONCAKE_MOUNT_H

#include <mooncake/replicas.h>
#include <mooncake/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * mc_store_mount_file - contribute a part of a file: tmpfs (/dev/shm), hugetlbfs, a DAX device.
 * @off: of the first byte, a multiple of the page size. @bytes: at least 1 MiB; the file is as long already.
 * @id:  what mc_store_unmount() takes, written on success.
 * What the file holds is overwritten, and nobody else may write there until it is unmounted. Clients on this machine reach the
 * memory as those elsewhere do.
 * Return: 0; -EINVAL range, or no file; -ERANGE beyond its end; -EACCES, -ENOENT … opening it; -ENOMEM; -EOPNOTSUPP embedded;
 * -ENOSYS MC_STORE_OF_NODE; -ECONNREFUSED, -ETIMEDOUT the master does not take it.
 */
MC_API int mc_store_mount_file(struct mc_store *s, const char *path, uint64_t off, uint64_t bytes, uint64_t deadline_ns,
			       struct mc_uuid *id);

/** mc_store_mount_memory - contribute fresh memory, as mc_store_opts.pool_bytes does. At least 1 MiB. Errors as above. */
MC_API int mc_store_mount_memory(struct mc_store *s, uint64_t bytes, uint64_t deadline_ns, struct mc_uuid *id);

/**
 * mc_store_unmount - take mounted memory back; its objects go, unless other segments have copies.
 * @grace_ns: so long what is there can still be read; nothing new is stored from now on. The call returns at once, and the rest
 * is done in the background. 0: when it returns, no client finds or reads anything there, and the memory is free.
 * Return: 0; -ENOENT no such id, or it is being unmounted already.
 */
MC_API int mc_store_unmount(struct mc_store *s, const struct mc_uuid *id, uint64_t grace_ns);

#ifdef __cplusplus
}
#endif

#endif
