/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of mooncake_test.ko share. */
#ifndef MCT_H
#define MCT_H

#include <linux/dma-buf.h>
#include <linux/mutex.h>

#include "../mooncake_test.h"

/* One per open file. */
struct mct {
	struct mutex lock;
	struct dma_buf *buf;
	struct dma_buf_attachment *at;
	enum dma_data_direction dir;
	u32 flags;			/* MCT_A_* */
	/* guarded by the dma-buf's reservation lock when attached dynamically */
	struct sg_table *sgt;
	u32 moves;
};

/* main.c */
struct device *mct_device(void);

/* importer.c */
long mct_attach(struct mct *t, struct mct_attach *a);
long mct_remap(struct mct *t);
long mct_unmap(struct mct *t);
long mct_word(struct mct *t, struct mct_word *w, bool write);
long mct_stat(struct mct *t, struct mct_stat *s);
long mct_verify(struct mct *t, const struct mct_verify *v);
void mct_detach(struct mct *t);

/* gpu.c */
long mct_gpu(struct mct_gpu *a);
long mct_gpu_op(struct mct_gpu_op *a);

/* p2p.c */
long mct_p2p(struct mct *t, struct mct_p2p *a);
/* @t goes, and what it allocated. */
void mct_p2p_release(struct mct *t);
void mct_p2p_exit(void);

/* fault.c */
void mct_fault_init(void);
void mct_fault_exit(void);
long mct_fault_set(const struct mct_fail *f);
/* 0, or the error that the call is to fail with. */
int mct_fault(unsigned int point);

/* older.c */
int mct_older_init(void);
void mct_older_exit(void);

#endif
