/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/mooncake-test, a device that imports one dma-buf per open file and reaches it by DMA address. Tests only. */
#ifndef MOONCAKE_TEST_H
#define MOONCAKE_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct mct_attach {
	__s32 fd;
	__u32 dir;			/* 0 both ways, 1 to the device, 2 from the device */
	__u32 out_entries;
	__u32 rsv;
	__aligned_u64 out_bytes;
};

struct mct_word {
	__aligned_u64 offset;		/* multiple of 8 */
	__aligned_u64 value;
};

#define MCT_ATTACH	_IOWR(0xC5, 0x00, struct mct_attach)
#define MCT_PEEK	_IOWR(0xC5, 0x01, struct mct_word)
#define MCT_POKE	_IOW(0xC5, 0x02, struct mct_word)

#endif
