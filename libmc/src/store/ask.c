/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the master: encoded, sent, decoded, and the answer is to what was asked. */
#include "store/store.h"

static int decode(uint16_t type, struct ask *a)
{
	const void *data = a->reply.data;
	size_t len = a->reply.len;

	switch (type) {
	case MSG_LOCATE:
		return msg_located_decode(data, len, &a->scratch, &a->located);
	case MSG_EXISTS:
		return msg_existing_decode(data, len, &a->scratch, &a->existing);
	case MSG_REMOVE:
	case MSG_CLEAR:
		return msg_statuses_decode(data, len, &a->scratch, &a->statuses);
	case MSG_REMOVE_MATCH:
		return msg_count_decode(data, len, &a->scratch, &a->count);
	case MSG_LIST:
		return msg_list_reply_decode(data, len, &a->scratch, &a->list);
	case MSG_TASK_CREATE:
		return msg_task_id_decode(data, len, &a->scratch, &a->task_id);
	case MSG_TASK_QUERY:
		return msg_task_decode(data, len, &a->scratch, &a->task);
	case MSG_POOLS:
		return msg_pools_decode(data, len, &a->scratch, &a->pools);
	default:
		return -EINVAL;
	}
}

/* With the body encoded. */
static int ask(struct mc_store *s, uint16_t type, uint64_t deadline_ns, struct ask *a)
{
	int ret;

	buf_fini(&a->reply);
	scratch_reset(&a->scratch);
	ret = link_call(&s->master, type, &a->body, deadline_ns, &a->reply);
	return ret ? ret : decode(type, a);
}

static uint32_t nr_answers(uint16_t type, const struct ask *a)
{
	return type == MSG_LOCATE ? a->located.nr : type == MSG_EXISTS ? a->existing.nr : a->statuses.nr;
}

static int ask_keys(struct mc_store *s, uint16_t type, const struct msg_keys *m, uint64_t deadline_ns, struct ask *a)
{
	int ret;

	buf_reset(&a->body);
	msg_keys_encode(m, &a->body);
	ret = ask(s, type, deadline_ns, a);
	if (!ret && nr_answers(type, a) != m->nr)
		ret = -EBADMSG;
	if (!ret && type != MSG_REMOVE)
		pools_view_seen(s, type == MSG_LOCATE ? a->located.view : a->existing.view);
	return ret;
}

int store_ask_keys(struct mc_store *s, uint16_t type, const struct key *keys, unsigned nr, bool force, uint64_t deadline_ns,
	     struct ask *a)
{
	struct msg_keys m = { .touch = type != MSG_REMOVE, .force = force, .nr = nr, .keys = (struct key *)keys };

	return ask_keys(s, type, &m, deadline_ns, a);
}

int store_ask_keys_quietly(struct mc_store *s, uint16_t type, const struct key *keys, unsigned nr, uint64_t deadline_ns,
			   struct ask *a)
{
	struct msg_keys m = { .nr = nr, .keys = (struct key *)keys };

	return ask_keys(s, type, &m, deadline_ns, a);
}

int store_ask_clear(struct mc_store *s, const struct msg_clear *m, uint64_t deadline_ns, struct ask *a)
{
	int ret;

	buf_reset(&a->body);
	msg_clear_encode(m, &a->body);
	ret = ask(s, MSG_CLEAR, deadline_ns, a);
	return !ret && a->statuses.nr != m->nr ? -EBADMSG : ret;
}

int store_ask_task(struct mc_store *s, const struct msg_task_create *m, uint64_t deadline_ns, struct ask *a)
{
	buf_reset(&a->body);
	msg_task_create_encode(m, &a->body);
	return ask(s, MSG_TASK_CREATE, deadline_ns, a);
}

int store_ask_task_state(struct mc_store *s, const struct msg_task_id *m, uint64_t deadline_ns, struct ask *a)
{
	buf_reset(&a->body);
	msg_task_id_encode(m, &a->body);
	return ask(s, MSG_TASK_QUERY, deadline_ns, a);
}

int store_ask_match(struct mc_store *s, uint16_t type, const struct msg_match *m, uint64_t deadline_ns, struct ask *a)
{
	buf_reset(&a->body);
	msg_match_encode(m, &a->body);
	return ask(s, type, deadline_ns, a);
}

int store_ask_pools(struct mc_store *s, uint64_t deadline_ns, struct ask *a)
{
	return ask(s, MSG_POOLS, deadline_ns, a);
}

void ask_end(struct ask *a)
{
	scratch_fini(&a->scratch);
	buf_fini(&a->reply);
	buf_fini(&a->body);
}
