/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of mooncakectl doctor: each says what it found, and how to repair what is wrong. */
#ifndef MC_CTL_DOCTOR_H
#define MC_CTL_DOCTOR_H

#include "ctl.h"

enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARNING, LEVEL_ERROR };

struct doctor {
	struct ctl *ctl;
	uint64_t deadline_ns;
	struct json_object *findings;
	unsigned count[LEVEL_ERROR + 1];
	struct json_object *status; /* of the master, NULL when it did not answer */
};

/* @fix NULL where nothing is to be done. */
void found(struct doctor *d, enum level level, const char *check, const char *fix, const char *fmt, ...) mc_printf(5, 6);

/* doctor_machine.c */
void check_kernel(struct doctor *d);
void check_memory(struct doctor *d);
void check_huge_pages(struct doctor *d);
void check_memlock(struct doctor *d);
void check_files(struct doctor *d);
void check_copying(struct doctor *d);

/* The first line of a small file; "" when it cannot be read. */
void first_line(const char *path, char *out, size_t size);

/* doctor_module.c */
void check_module(struct doctor *d);

/* doctor_cluster.c: in this order, the first fills d->status. */
void check_master(struct doctor *d);
void check_admin(struct doctor *d);
void check_metadata(struct doctor *d);
void check_pools(struct doctor *d);

/* doctor_ports.c */
void check_ports(struct doctor *d);

struct port_user {
	uint16_t port;
	char addr[64]; /* "127.0.0.1" */
	char program[32]; /* "?" when it is somebody else's and cannot be seen */
	int pid;
};
/* Who listens on TCP here: at most @max. Return: how many. */
unsigned ports_in_use(struct port_user *out, unsigned max);

#endif
