/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between engines. */
#include <limits.h>
#include <stdlib.h>

#include "capi/capi.h"

int notify_send(struct seg *to, const notify_msg_t *m)
{
	return mc_engine_code(mc_notify_send(to->segment, m->name, m->msg, te_talk_deadline()));
}

int genNotifyInEngine(transfer_engine_t engine, uint64_t target_id, notify_msg_t notify_msg)
{
	struct te *te = te_get(engine);
	int ret = INVALID_ARGUMENT;
	struct seg *s;

	if (te && notify_msg.name && notify_msg.msg) {
		ret = mc_engine_code(seg_get(te, target_id, &s));
		if (!ret) {
			ret = notify_send(s, &notify_msg);
			seg_put(s);
		}
	}
	te_put(te);
	return ret;
}

notify_msg_t *getNotifsFromEngine(transfer_engine_t engine, int *size)
{
	notify_msg_t *list = NULL, *grown;
	struct te *te = te_get(engine);
	struct mc_notify n;
	int nr = 0, cap = 0;

	while (te && size && nr < INT_MAX / 2) {
		if (nr == cap) {
			cap = cap ? 2 * cap : 16;
			grown = reallocarray(list, (size_t)cap, sizeof(*list));
			if (!grown)
				break; /* the rest comes with the next call */
			list = grown;
		}
		if (mc_notify_recv(te->engine, &n) != 1)
			break;
		list[nr++] = (notify_msg_t){ n.name, n.msg };
	}
	te_put(te);
	if (size)
		*size = nr;
	if (nr)
		return list;
	free(list);
	return NULL;
}

int freeNotifsMsgBuf(notify_msg_t *msg, int size)
{
	if (size < 0 || (!msg && size))
		return INVALID_ARGUMENT;
	for (int i = 0; i < size; i++) {
		free(msg[i].name);
		free(msg[i].msg);
	}
	free(msg);
	return 0;
}
