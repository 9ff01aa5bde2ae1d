/* SPDX-License-Identifier: Apache-2.0 */
/* Having objects copied and moved: the master keeps the tasks, owners carry them out. */
#include "store/store.h"

#include <stdio.h>

#include "base/log.h"

struct mc_uuid store_uuid(const uint8_t id[16])
{
	return (struct mc_uuid){ get_le64(id), get_le64(id + 8) }; /* as the master's HTTP routes have it */
}

static int ask_create(struct mc_store *s, const struct msg_task_create *m, uint64_t deadline_ns, struct mc_uuid *task)
{
	struct ask a = ASK_INIT;
	int ret = store_ask_task(s, m, deadline_ns, &a);

	if (!ret)
		*task = store_uuid(a.task_id.id);
	ask_end(&a);
	return ret;
}

static int text_of(const char *text, struct key *out)
{
	size_t len = text ? strlen(text) : 0;

	*out = (struct key){ text, (uint16_t)len };
	return len && len <= TEXT_MAX ? 0 : -EINVAL;
}

static int create(struct mc_store *s, enum task_type type, const struct mc_key *key, const char *source, const char *const *targets,
		  unsigned nr, uint64_t deadline_ns, struct mc_uuid *task)
{
	struct msg_task_create m = { .type = (uint8_t)type, .nr_targets = (uint16_t)nr };
	uint8_t full[FULL_KEY_MAX];
	int ret;

	ret = !nr ? -EINVAL : nr > TASK_TARGETS_MAX ? -E2BIG : key_make(s->tenant, key->data, key->len, full, &m.key.len);
	m.key.data = full;
	if (!ret && type == TASK_MOVE)
		ret = text_of(source, &m.source);
	for (unsigned i = 0; i < nr && !ret; i++)
		ret = text_of(targets[i], &m.target[i]);
	if (!ret)
		ret = store_enter(s);
	if (!ret) {
		ret = s->ops == &embedded_ops ? -EOPNOTSUPP : ask_create(s, &m, store_deadline(s, deadline_ns), task);
		store_leave(s);
	}
	if (ret)
		note_task(type == TASK_MOVE ? "move" : "copy", key, ret);
	return ret;
}

int mc_store_copy(struct mc_store *s, const struct mc_key *key, const char *const *targets, unsigned nr, uint64_t deadline_ns,
		  struct mc_uuid *task)
{
	return create(s, TASK_COPY, key, NULL, targets, nr, deadline_ns, task);
}

int mc_store_move(struct mc_store *s, const struct mc_key *key, const char *source, const char *target, uint64_t deadline_ns,
		  struct mc_uuid *task)
{
	return create(s, TASK_MOVE, key, source, &target, 1, deadline_ns, task);
}

static int ask_state(struct mc_store *s, const struct mc_uuid *task, uint64_t deadline_ns, struct mc_task *out)
{
	struct ask a = ASK_INIT;
	struct msg_task_id m;
	int ret;

	put_le64(m.id, task->hi);
	put_le64(m.id + 8, task->lo);
	ret = store_ask_task_state(s, &m, deadline_ns, &a);
	if (!ret) {
		*out = (struct mc_task){
			.id = store_uuid(a.task.id), .type = a.task.type, .status = a.task.status, .created_ms = a.task.created_ms,
			.updated_ms = a.task.updated_ms, .assigned = store_uuid(a.task.pool),
		};
		snprintf(out->message, sizeof(out->message), "%.*s", a.task.message.len,
			 a.task.message.len ? (const char *)a.task.message.data : "");
	}
	ask_end(&a);
	return ret;
}

int mc_store_task(struct mc_store *s, const struct mc_uuid *task, uint64_t deadline_ns, struct mc_task *out)
{
	int ret = store_enter(s);

	if (ret)
		return ret;
	ret = s->ops == &embedded_ops ? -ESRCH : ask_state(s, task, store_deadline(s, deadline_ns), out);
	if (ret)
		err_note("task %llu-%llu: %s", (unsigned long long)task->hi, (unsigned long long)task->lo,
			 ret == -ESRCH ? "it was never made, is long over, or its master was restarted" : strerror(-ret));
	store_leave(s);
	return ret;
}
