/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two processes on a node say to each other before one copies from the other's memory through
 * /dev/mooncake: packets on an abstract Unix socket. Who asks sends his descriptor of the device
 * along, to show that he may open it; who answers sends one of the memory (dev.h, share_memory()).
 */
#ifndef MC_TRANSPORT_MODULE_H
#define MC_TRANSPORT_MODULE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "base/loop.h"
#include "dev/dev.h"
#include "transport/transport.h"

#define LOAN_MAGIC 0x314e4f4c4b434d4dULL

struct loan_ask {
	uint64_t magic;
	uint64_t addr;
};

/* @status 0: [@addr, @addr + @len), which contains the address asked for, is the descriptor's. -EFAULT: not reachable. */
struct loan_reply {
	uint64_t magic;
	uint64_t asked;
	int64_t status;
	uint64_t addr, len;
};

/* Of the engine with that table of reachable ranges in that process. */
socklen_t loan_socket(const struct process_id *who, int reach_fd, struct sockaddr_un *out);

/* Answers, on @loop, while it is open. -EOPNOTSUPP: no module. */
struct lender;
int lender_open(struct loop *loop, struct reach_table *reach, struct lender **out);
void lender_close(struct lender *l);

#endif
