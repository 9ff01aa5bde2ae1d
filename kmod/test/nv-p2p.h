/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of NVIDIA's interface for peer memory as kmod/nvp2p.c uses, for tests on machines without NVIDIA's headers:
 * p2p.c implements it. Names, layouts and version numbers are those of <nv-p2p.h> of the open GPU kernel modules.
 */
#ifndef MCT_NV_P2P_H
#define MCT_NV_P2P_H

#include <linux/types.h>

#define NVIDIA_P2P_PAGE_TABLE_VERSION 0x00010002
#define NVIDIA_P2P_PAGE_TABLE_VERSION_COMPATIBLE(t)						\
	((t)->version >> 16 == NVIDIA_P2P_PAGE_TABLE_VERSION >> 16 &&				\
	 ((t)->version & 0xffff) >= (NVIDIA_P2P_PAGE_TABLE_VERSION & 0xffff))

enum nvidia_p2p_page_size_type {
	NVIDIA_P2P_PAGE_SIZE_4KB,
	NVIDIA_P2P_PAGE_SIZE_64KB,
	NVIDIA_P2P_PAGE_SIZE_128KB,
};

struct nvidia_p2p_page {
	uint64_t physical_address;
	uint32_t registers[6];
};

struct nvidia_p2p_page_table {
	uint32_t version;
	uint32_t page_size;		/* enum nvidia_p2p_page_size_type */
	struct nvidia_p2p_page **pages;
	uint32_t entries;
	uint8_t *gpu_uuid;
};

int nvidia_p2p_get_pages(uint64_t token, uint32_t va_space, uint64_t addr, uint64_t length,
			 struct nvidia_p2p_page_table **table, void (*free_callback)(void *data), void *data);
int nvidia_p2p_put_pages(uint64_t token, uint32_t va_space, uint64_t addr, struct nvidia_p2p_page_table *table);
int nvidia_p2p_get_pages_persistent(uint64_t addr, uint64_t length, struct nvidia_p2p_page_table **table, uint32_t flags);
int nvidia_p2p_put_pages_persistent(uint64_t addr, struct nvidia_p2p_page_table *table, uint32_t flags);

#endif
