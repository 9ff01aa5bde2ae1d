// SPDX-License-Identifier: Apache-2.0
/* copy, move, task: copies of objects in other segments. The first two follow what they began to its end. */
#include "ctl.h"

#include <inttypes.h>
#include <mooncake/replicas.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"

#define LOOK_NS (20 * NSEC_PER_MSEC)

static const char *status_text(int status)
{
	static const char *const names[] = { "pending", "processing", "failed", "success" };

	return names[status & 3];
}

static int print_task(struct ctl *c, const struct mc_task *t)
{
	char id[64];
	struct json_object *o;

	snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, t->id.hi, t->id.lo);
	if (!c->opt.json) {
		printf("%s %s: %s%s%s\n", t->type == MC_TASK_MOVE ? "move" : "copy", id, status_text(t->status),
		       t->message[0] ? ", " : "", t->message);
	} else {
		o = json_object_new_object();
		json_object_object_add(o, "id", json_object_new_string(id));
		json_object_object_add(o, "type", json_object_new_string(t->type == MC_TASK_MOVE ? "move" : "copy"));
		json_object_object_add(o, "status", json_object_new_string(status_text(t->status)));
		json_object_object_add(o, "created_ms", json_object_new_uint64(t->created_ms));
		json_object_object_add(o, "updated_ms", json_object_new_uint64(t->updated_ms));
		json_object_object_add(o, "message", json_object_new_string(t->message));
		json_print(o);
	}
	return t->status == MC_TASK_FAILED ? EXIT_FAILED : EXIT_OK;
}

/* Until it ended, or there is no time left: then it goes on without us. */
static int follow(struct ctl *c, const struct mc_uuid *id)
{
	const struct timespec look = { .tv_nsec = LOOK_NS };
	struct mc_task t;
	int ret;

	while (!(ret = mc_store_task(c->store, id, c->deadline_ns, &t)) && t.status < MC_TASK_FAILED &&
	       !deadline_passed(c->deadline_ns))
		nanosleep(&look, NULL);
	if (ret)
		return fail(c, ret, "task %" PRIu64 "-%" PRIu64, id->hi, id->lo);
	ret = print_task(c, &t);
	return t.status < MC_TASK_FAILED ? EXIT_FAILED : ret;
}

static int refused(struct ctl *c, int err)
{
	if (err == -EINVAL)
		return fail(c, 0, "%s: no such segment, or source and target are not two; \"mooncakectl pools\" shows segments", c->cmd->name);
	if (err == -EHOSTDOWN)
		return fail(c, 0, "%s: the target takes no objects at present", c->cmd->name);
	if (err == -EDQUOT)
		return fail(c, 0, "%s: too many tasks wait at the master", c->cmd->name);
	return err == -ENOENT ? fail(c, 0, "%s: there is no such object", c->cmd->name) : fail(c, err, "%s", c->cmd->name);
}

int cmd_copy(struct ctl *c)
{
	bool move = c->cmd->max_words == 3;
	struct mc_uuid id;
	struct mc_key key;
	int ret, err;

	ret = word_key(c, 0, &key);
	if (ret)
		return ret;
	ret = store_connect(c, false);
	if (!ret) {
		err = move ? mc_store_move(c->store, &key, c->words[1], c->words[2], c->deadline_ns, &id) :
			     mc_store_copy(c->store, &key, (const char *const *)&c->words[1], (unsigned)c->nr_words - 1,
					   c->deadline_ns, &id);
		ret = err ? refused(c, err) : follow(c, &id);
	}
	free((void *)(uintptr_t)key.data);
	return ret;
}

int cmd_task(struct ctl *c)
{
	struct mc_uuid id;
	struct mc_task t;
	int ret, end = 0;

	if (sscanf(c->words[0], "%" SCNu64 "-%" SCNu64 "%n", &id.hi, &id.lo, &end) != 2 || c->words[0][end])
		return usage(c, "%s is no task: two numbers with a dash between them", c->words[0]);
	ret = store_connect(c, false);
	if (ret)
		return ret;
	ret = mc_store_task(c->store, &id, c->deadline_ns, &t);
	if (ret == -ESRCH)
		return fail(c, 0, "task %s is unknown: never made, long over, or the master was restarted since", c->words[0]);
	return ret ? fail(c, ret, "task %s", c->words[0]) : print_task(c, &t);
}
