/* SPDX-License-Identifier: Apache-2.0 */
/* What may happen to a conversation in its middle, when something sits between the two ends to bring it about. */
#ifndef MC_TEST_STRIKE_H
#define MC_TEST_STRIKE_H

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

enum strike {
	CUT,	 /* both ends see the other close */
	RESET,	 /* both ends see a reset */
	SILENCE, /* nothing passes any more, on this and on later connections */
	KILL,	 /* who serves is killed */
	STOP,	 /* who serves is stopped */
	NR_STRIKES
};

/* @hard: the other end sees a reset. */
static inline void strike_close(int fd, bool hard)
{
	struct linger l = { .l_onoff = 1 };

	if (hard)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

#endif
