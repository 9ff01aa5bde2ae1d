/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/mooncake-test, for tests only: a device that imports a dma-buf per open file and reaches it by DMA address, a GPU
 * that exports dma-bufs and takes them back, a driver with the functions of nvidia_p2p, and failures on demand. With the
 * parameter older_abi there is a /dev/mooncake of an older release beside it.
 */
#ifndef MOONCAKE_TEST_H
#define MOONCAKE_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The importer: at most one dma-buf per file. */

#define MCT_A_DYNAMIC	0x1		/* can be told to unmap, and does so */
#define MCT_A_KEEP	0x2		/* can be told, and does not care */
#define MCT_A_P2P	0x4		/* takes memory without struct pages */

struct mct_attach {
	__s32 fd;
	__u32 dir;			/* 0 both ways, 1 to the device, 2 from the device */
	__u32 out_entries;
	__u32 flags;			/* MCT_A_* */
	__aligned_u64 out_bytes;
};

struct mct_word {
	__aligned_u64 offset;		/* multiple of 8 */
	__aligned_u64 value;
};

struct mct_stat {
	__u32 moves;			/* times that it was told */
	__u32 mapped;
};

/* Are these the same pages that @addr is of the caller's memory? EBADSLT not. */
struct mct_verify {
	__aligned_u64 addr;
	__aligned_u64 offset;
	__aligned_u64 length;
};

/* The GPU: system memory behind a dma-buf. */

#define MCT_G_DYNAMIC	0x1		/* can move and revoke */
#define MCT_G_MMAP	0x2		/* page faults that give a page */
#define MCT_G_MMAP_PFN	0x4		/* page faults that enter a frame */
#define MCT_G_MMAP_ALL	0x8		/* everything at mmap(), no page faults */

struct mct_gpu {
	__aligned_u64 length;
	__u32 flags;			/* MCT_G_* */
	__u32 fd_flags;
	__s32 out_fd;
	__u32 rsv;
};

#define MCT_OP_STAT	0
#define MCT_OP_MOVE	1		/* @count times; really moves when nobody keeps it from that */
#define MCT_OP_REVOKE	2
#define MCT_OP_PEEK	3
#define MCT_OP_POKE	4

struct mct_gpu_op {
	__s32 fd;
	__u32 op;			/* MCT_OP_* */
	__u32 count;
	__u32 out_moved;
	__aligned_u64 offset;
	__aligned_u64 value;
	__u32 out_maps;
	__u32 out_pins;
	__u32 out_vmas;
	__u32 rsv;
};

/* Memory for nvidia_p2p: 64 KiB pages at addresses of its own. */

#define MCT_P2P_ALLOC	0		/* @length, multiple of 64 KiB; gives @addr */
#define MCT_P2P_FREE	1		/* callbacks are called, the memory goes with the last persistent pin */
#define MCT_P2P_STAT	2
#define MCT_P2P_PEEK	3		/* @addr, @value */
#define MCT_P2P_POKE	4

struct mct_p2p {
	__u32 op;
	__u32 delay_us;			/* FREE: between unlinking the pins and calling back */
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 value;
	__u32 out_pins;
	__u32 out_persistent;
	__u32 out_callbacks;		/* since the module was loaded */
	__u32 out_allocs;		/* that are not wholly gone */
};

/* Failures: of calls to @point, let @skip pass and then fail @times with @err. */

#define MCT_FAIL_ATTACH	0
#define MCT_FAIL_PIN	1
#define MCT_FAIL_MAP	2
#define MCT_FAIL_MMAP	3
#define MCT_FAIL_P2P	4		/* getting pages */
#define MCT_NR_FAIL	5

struct mct_fail {
	__u32 point;			/* MCT_FAIL_* */
	__u32 skip;
	__u32 times;
	__s32 err;			/* negative */
};

#define MCT_ATTACH	_IOWR(0xC5, 0x00, struct mct_attach)
#define MCT_PEEK	_IOWR(0xC5, 0x01, struct mct_word)
#define MCT_POKE	_IOW(0xC5, 0x02, struct mct_word)
#define MCT_STAT	_IOR(0xC5, 0x03, struct mct_stat)
#define MCT_REMAP	_IO(0xC5, 0x04)
#define MCT_UNMAP	_IO(0xC5, 0x05)
#define MCT_VERIFY	_IOW(0xC5, 0x06, struct mct_verify)
#define MCT_GPU		_IOWR(0xC5, 0x10, struct mct_gpu)
#define MCT_GPU_OP	_IOWR(0xC5, 0x11, struct mct_gpu_op)
#define MCT_P2P		_IOWR(0xC5, 0x20, struct mct_p2p)
#define MCT_FAIL	_IOW(0xC5, 0x30, struct mct_fail)

#endif
