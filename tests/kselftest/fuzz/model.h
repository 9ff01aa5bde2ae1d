/* SPDX-License-Identifier: GPL-2.0-only */
/* What a worker that knows keeps beside every object, and what its three files share. */
#ifndef MC_FUZZ_MODEL_H
#define MC_FUZZ_MODEL_H

#include "fuzz.h"

#define OBJS 10
#define MAPS 4
#define PAGES_MAX 1024u

enum kind { NONE, REGION, PINNED, MEMFD };

struct map {
	char *p;
	uint32_t first, n;
	bool write;
};

struct obj {
	enum kind kind;
	int fd;
	uint64_t id;
	uint32_t pages, flags;
	bool sealed, revoked, dirty;
	char name[32];			/* empty: not published */
	uint8_t *bytes;			/* the first of every page */
	struct map map[MAPS];
	int dmabuf;			/* -1, or the one export there is */
	uint32_t dmabuf_pages;
	int lease;			/* -1, or the file that holds it */
	bool clean;
	uint64_t epoch, gen;
	char *own;			/* PINNED: the memory itself */
	int memfd;
};

struct model {
	struct rnd r;
	uint64_t seed;
	unsigned int op, names;
	int ctx;
	struct obj obj[OBJS];
	char *buf;			/* PAGES_MAX pages of our own */
};

extern struct model w;

/* Does not return. */
void __attribute__((noreturn)) wrong(const char *what, long got, long want);
/* Counts the call; ends the worker when @got is not what had to come. */
void expect(const char *what, long got, long want);
/* Any object, or one of a kind; NULL now and then. */
struct obj *some(enum kind kind);
/* Room for an object, or NULL. */
struct obj *slot(void);
bool mapped(const struct obj *o);
/* Some pages of @o. */
void window(const struct obj *o, uint32_t *first, uint32_t *n);
/* One element; @bytes copied. */
long copy(struct mc_copy_vec *v, uint64_t *bytes);
/* What @o holds is what it must hold. */
void check_bytes(struct obj *o, uint32_t first, uint32_t n);
void unpublish(struct obj *o, bool force);
void drop(struct obj *o);

/* model_memory.c */
void op_map(void);
void op_map_wrong(void);
void op_touch(void);
void op_unmap(void);
void op_remap(void);
void op_advise(void);
void op_file(void);
void op_copy_in(void);
void op_copy_out(void);
void op_copy_between(void);
void op_dmabuf(void);
void op_dup(void);
void op_fork(void);

/* model_calls.c */
void op_create(void);
void op_create_wrong(void);
void op_pin(void);
void op_import(void);
void op_punch(void);
void op_seal(void);
void op_revoke(void);
void op_publish(void);
void op_unpublish(void);
void op_open(void);
void op_lease(void);
void op_info(void);
void op_export(void);
void op_drop(void);

#endif
