// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names: a published region is held by its name, with an owner and a mode as files have, and the name holds the module.
 * A queue's name is no more than that and goes with the queue. Each user namespace has names of its own.
 */

#include <linux/ctype.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/jhash.h>
#include <linux/uaccess.h>

#include "kmod.h"
#include "netlink.h"

DEFINE_MUTEX(mc_names_lock);
static DEFINE_HASHTABLE(mc_names, 10);	/* guarded by mc_names_lock */

static u32 mc_name_hash(const struct user_namespace *ns, const char *name)
{
	return jhash(name, strlen(name), (u32)(unsigned long)ns);
}

u64 mc_new_id(void)
{
	static atomic64_t last_id = ATOMIC64_INIT(0);

	return atomic64_inc_return(&last_id);
}

void mc_name_init(struct mc_name *n, const struct cred *opener, bool queue)
{
	n->id = mc_new_id();
	n->queue = queue;
	n->ns = get_user_ns(opener->user_ns);
	n->creator = get_pid(task_tgid(current));
	n->uid = opener->fsuid;
	n->gid = opener->fsgid;
}

void mc_name_fini(struct mc_name *n)
{
	put_user_ns(n->ns);
	put_pid(n->creator);
}

struct mc_name *mc_name_find(const struct user_namespace *ns, const char *name)
{
	struct mc_name *n;

	lockdep_assert_held(&mc_names_lock);
	hash_for_each_possible(mc_names, n, node, mc_name_hash(ns, name))
		if (n->ns == ns && !strcmp(n->text, name))
			return n;
	return NULL;
}

void mc_name_remove(struct mc_name *n)
{
	lockdep_assert_held(&mc_names_lock);
	if (!n->text[0])
		return;
	hash_del(&n->node);
	n->text[0] = '\0';
}

u32 mc_name_pid(const struct mc_name *n)
{
	struct task_struct *task = get_pid_task(n->creator, PIDTYPE_TGID);

	if (!task)
		return 0;
	put_task_struct(task);
	return pid_vnr(n->creator);
}

bool mc_may_own(const struct cred *cred, kuid_t uid)
{
	return uid_eq(cred->fsuid, uid) || capable(CAP_SYS_ADMIN);
}

int mc_name_copy(char *name, u64 uptr, u32 len)
{
	u32 i;

	if (!len)
		return -EINVAL;
	if (len > MC_NAME_MAX)
		return -E2BIG;
	if (copy_from_user(name, u64_to_user_ptr(uptr), len))
		return -EFAULT;
	name[len] = '\0';
	for (i = 0; i < len; i++)
		if (!isascii(name[i]) || !(isalnum(name[i]) || strchr("._-", name[i])) || !name[i])
			return -EINVAL;
	return name[0] == '.' ? -EINVAL : 0;
}

/* As for files: the owner's bits, else the group's, else the others'; CAP_DAC_OVERRIDE over the namespace beats them. */
u32 mc_name_granted(const struct mc_name *n)
{
	const u32 all = n->queue ? MC_ACCESS_W : MC_ACCESS_R | MC_ACCESS_W;
	umode_t mode = n->mode;
	u32 access = 0;

	lockdep_assert_held(&mc_names_lock);
	if (!n->text[0])
		return 0;
	if (uid_eq(current_fsuid(), n->uid))
		mode >>= 6;
	else if (in_group_p(n->gid))
		mode >>= 3;
	if (mode & 4)
		access |= MC_ACCESS_R;
	if (mode & 2)
		access |= MC_ACCESS_W;
	if (access != all && ns_capable(n->ns, CAP_DAC_OVERRIDE))
		access = all;
	return access;
}

u32 mc_name_granted_unlocked(struct mc_name *n)
{
	u32 access;

	mutex_lock(&mc_names_lock);
	access = mc_name_granted(n);
	mutex_unlock(&mc_names_lock);
	return access;
}

kuid_t mc_name_uid(struct mc_name *n)
{
	kuid_t uid;

	mutex_lock(&mc_names_lock);
	uid = n->uid;
	mutex_unlock(&mc_names_lock);
	return uid;
}

/* Owner and group as asked for, if the caller may give the name to them. */
static int mc_publish_owner(const struct mc_name *n, const struct mc_ioc_region_publish *a, kuid_t *uid, kgid_t *gid)
{
	*uid = n->uid;
	*gid = n->gid;
	if (a->uid != (u32)-1)
		*uid = make_kuid(current_user_ns(), a->uid);
	if (a->gid != (u32)-1)
		*gid = make_kgid(current_user_ns(), a->gid);
	if (!uid_valid(*uid) || !gid_valid(*gid))
		return -EINVAL;
	if (!uid_eq(*uid, n->uid) && !capable(CAP_CHOWN))
		return -EPERM;
	if (!gid_eq(*gid, n->gid) && !in_group_p(*gid) && !capable(CAP_CHOWN))
		return -EPERM;
	return 0;
}

/* @r: the region whose name @n is, or NULL. */
static int mc_name_give(struct mc_name *n, struct mc_region *r, const struct mc_ioc_region_publish *a, const char *text)
{
	kuid_t uid;
	kgid_t gid;
	int ret;

	lockdep_assert_held(&mc_names_lock);
	if ((r && !(r->flags & MC_REGION_PERSIST_OK)) || !mc_may_own(current_cred(), n->uid))
		return -EPERM;
	ret = mc_publish_owner(n, a, &uid, &gid);
	if (ret)
		return ret;
	if (n->text[0] || mc_name_find(n->ns, text))
		return -EEXIST;
	if (r) {
		mutex_lock(&r->lock);
		ret = r->state & MC_STATE_REVOKED ? -EKEYREVOKED : 0;
		mutex_unlock(&r->lock);
		if (ret)
			return ret;
		mc_region_get(r);
		__module_get(THIS_MODULE);
	}
	strscpy(n->text, text, sizeof(n->text));
	n->uid = uid;
	n->gid = gid;
	n->mode = a->mode;
	hash_add(mc_names, &n->node, mc_name_hash(n->ns, text));
	if (n->queue)
		mc_cq_named(n, true);
	return 0;
}

int mc_publish(struct mc_call *call)
{
	const u32 modes = call->on == MC_ON_REGION ? 0666 : 0222;
	struct mc_ioc_region_publish *a = call->arg;
	struct mc_region *r = NULL;
	char text[MC_NAME_MAX + 1];
	struct mc_name *n;
	int ret;

	if (a->flags || a->fd != -1 || a->mode & ~modes || a->rsv)
		return -EINVAL;
	ret = mc_name_copy(text, a->name, a->name_len);
	if (ret)
		return ret;
	if (!(call->file->f_mode & FMODE_WRITE))
		return -EACCES;
	if (call->on == MC_ON_REGION)
		r = ((struct mc_handle *)call->file->private_data)->region;
	n = r ? &r->name : mc_cq_name(call->file);

	mutex_lock(&mc_names_lock);
	ret = mc_name_give(n, r, a, text);
	mutex_unlock(&mc_names_lock);
	if (ret)
		return ret;
	if (r)
		mc_event(r, MC_EVENT_REGION, MC_CQE_REGION, MC_EV_PUBLISHED);
	else
		mc_nl_queue_event(n->id, mc_name_uid(n), text, MC_EV_QUEUE_PUBLISHED);
	return 0;
}

/* The file that the call was issued on or names by @fd, with a reference; it is a region or a queue. */
static struct file *mc_named_file(struct mc_call *call, s32 fd, struct mc_name **out)
{
	struct file *file;

	if (call->on != MC_ON_CTX)
		file = fd == -1 ? get_file(call->file) : ERR_PTR(-EINVAL);
	else
		file = fget(fd) ?: ERR_PTR(-EBADF);
	if (IS_ERR(file))
		return file;
	if (file->f_op == &mc_region_fops)
		*out = &((struct mc_handle *)file->private_data)->region->name;
	else
		*out = mc_cq_name(file);
	if (*out)
		return file;
	fput(file);
	return ERR_PTR(-EINVAL);
}

static struct mc_region *mc_name_region(struct mc_name *n)
{
	return n->queue ? NULL : container_of(n, struct mc_region, name);
}

/* For a region, the name's reference and its hold on the module pass to the caller. @text: the name it had. */
static int mc_name_take(struct mc_name *n, bool force, char *text)
{
	struct mc_region *r;
	bool busy;

	lockdep_assert_held(&mc_names_lock);
	if (!n || !n->text[0])
		return -ENOENT;
	if (!mc_may_own(current_cred(), n->uid))
		return mc_name_granted(n) ? -EPERM : -ENOENT;
	r = mc_name_region(n);
	if (r && !force) {
		mutex_lock(&r->lock);
		busy = r->writer;
		mutex_unlock(&r->lock);
		if (busy)
			return -EBUSY;
	}
	strscpy(text, n->text, MC_NAME_MAX + 1);
	mc_name_remove(n);
	if (n->queue)
		mc_cq_named(n, false);
	return 0;
}

/* @r has lost the name @text, whose hold on it and the module ends here. */
static void mc_unpublished(struct mc_region *r, const char *text)
{
	mc_event_named(r, text, MC_EVENT_REGION, MC_CQE_REGION, MC_EV_UNPUBLISHED);
	mc_region_put(r);
	module_put(THIS_MODULE);
}

int mc_region_rm(struct mc_region *r)
{
	char text[MC_NAME_MAX + 1];

	mutex_lock(&mc_names_lock);
	strscpy(text, r->name.text, sizeof(text));
	mc_name_remove(&r->name);
	mutex_unlock(&mc_names_lock);
	if (!text[0])
		return -ENOENT;
	mc_unpublished(r, text);
	return 0;
}

int mc_unpublish(struct mc_call *call)
{
	struct mc_ioc_region_publish *a = call->arg;
	struct mc_region *r = NULL;
	struct mc_name *n = NULL;
	struct file *file = NULL;
	char text[MC_NAME_MAX + 1];
	kuid_t uid;
	u64 id;
	int ret;

	if (a->flags & ~MC_UNPUBLISH_FORCE || a->mode || a->uid || a->gid || a->rsv)
		return -EINVAL;
	if (call->on != MC_ON_CTX || a->fd != -1) {
		if (a->name || a->name_len)
			return -EINVAL;
		file = mc_named_file(call, a->fd, &n);
		if (IS_ERR(file))
			return PTR_ERR(file);
	} else {
		ret = mc_name_copy(text, a->name, a->name_len);
		if (ret)
			return ret;
	}

	mutex_lock(&mc_names_lock);
	if (!n)
		n = mc_name_find(call->file->f_cred->user_ns, text);
	ret = mc_name_take(n, a->flags & MC_UNPUBLISH_FORCE, text);
	/* Outside of the lock a queue found by its name may be gone. */
	if (!ret) {
		r = mc_name_region(n);
		id = n->id;
		uid = n->uid;
	}
	mutex_unlock(&mc_names_lock);
	if (r)
		mc_unpublished(r, text);
	else if (!ret)
		mc_nl_queue_event(id, uid, text, MC_EV_QUEUE_UNPUBLISHED);
	if (file)
		fput(file);
	return ret;
}

/* A reference to the published region that @a names and the caller may open. */
static struct mc_region *mc_open_find(struct mc_call *call, const struct mc_ioc_region_open *a, const char *name)
{
	const u32 want = a->access & (MC_ACCESS_R | MC_ACCESS_W);
	struct mc_region *r = ERR_PTR(-ENOENT), *ret;
	struct mc_name *n;
	u32 granted;

	if (a->name_len) {
		mutex_lock(&mc_names_lock);
		n = mc_name_find(call->file->f_cred->user_ns, name);
		if (n && n->queue)
			r = ERR_PTR(-EPROTOTYPE);
		else if (n)
			r = mc_name_region(n);
		if (!IS_ERR(r))
			mc_region_get(r);
		mutex_unlock(&mc_names_lock);
		if (IS_ERR(r))
			return r;
	} else {
		r = mc_region_by_id(a->id);
		if (IS_ERR(r))
			return r;
	}

	mutex_lock(&mc_names_lock);
	granted = mc_name_granted(&r->name);
	if (!r->name.text[0] || (!granted && !a->name_len))
		ret = ERR_PTR(-ENOENT);
	else if (want & ~granted)
		ret = ERR_PTR(-EACCES);
	else
		ret = r;
	mutex_unlock(&mc_names_lock);
	if (IS_ERR(ret))
		mc_region_put(r);
	return ret;
}

/* The call succeeded: from here on, going without MC_MARK_CLEAN means something. */
static void mc_open_commit(struct mc_call *call)
{
	struct mc_handle *h = call->new_file[0]->private_data;

	mutex_lock(&h->region->lock);
	h->armed = true;
	mutex_unlock(&h->region->lock);
}

static int mc_open(struct mc_call *call, struct mc_region *r, struct mc_ioc_region_open *a)
{
	u32 fd_flags = a->fd_flags | (a->access & MC_ACCESS_W ? O_RDWR : O_RDONLY);
	struct file *file;
	int ret = 0;

	a->out_state = mc_region_state(r);
	mutex_lock(&r->lock);
	if (r->state & MC_STATE_REVOKED)
		ret = -EKEYREVOKED;
	else if (r->state & MC_STATE_SEALED && a->access & MC_ACCESS_W)
		ret = -EACCES;
	a->out_epoch = r->epoch;
	mutex_unlock(&r->lock);
	if (ret)
		return ret;

	file = mc_handle_file(r, fd_flags, a->access & MC_ACCESS_EXCL_WRITER);
	if (IS_ERR(file))
		return PTR_ERR(file);
	a->out_id = r->id;
	a->out_length = r->length;
	if (a->access & MC_ACCESS_EXCL_WRITER) {
		/* Only now can neither change any more. */
		mutex_lock(&r->lock);
		a->out_epoch = r->epoch;
		a->out_state = (a->out_state & ~(MC_STATE_DIRTY | MC_STATE_WRITER)) | (r->state & MC_STATE_DIRTY);
		mutex_unlock(&r->lock);
		call->commit = mc_open_commit;
	}
	return mc_call_new_file(call, file, fd_flags, &a->out_fd);
}

/* The holder of a file may do with the region what the file allows, published or not. */
static int mc_reopen(struct mc_call *call, struct mc_ioc_region_open *a)
{
	struct mc_handle *h = call->file->private_data;

	if (a->name || a->name_len || a->id || a->access & MC_ACCESS_EXCL_WRITER)
		return -EINVAL;
	if (a->access & MC_ACCESS_W && !(call->file->f_mode & FMODE_WRITE))
		return -EACCES;
	return mc_open(call, h->region, a);
}

int mc_region_open(struct mc_call *call)
{
	struct mc_ioc_region_open *a = call->arg;
	char name[MC_NAME_MAX + 1];
	struct mc_region *r;
	int ret;

	if (a->flags || a->rsv || a->fd_flags & ~(u32)O_CLOEXEC)
		return -EINVAL;
	if (a->access != MC_ACCESS_R && a->access != (MC_ACCESS_R | MC_ACCESS_W) &&
	    a->access != (MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER))
		return -EINVAL;
	if (call->on == MC_ON_REGION)
		return mc_reopen(call, a);
	/* One of the two. */
	if (a->name_len ? a->id != 0 : a->name != 0 || !a->id)
		return -EINVAL;
	if (a->name_len) {
		ret = mc_name_copy(name, a->name, a->name_len);
		if (ret)
			return ret;
	}
	r = mc_open_find(call, a, name);
	if (IS_ERR(r))
		return PTR_ERR(r);
	ret = mc_open(call, r, a);
	mc_region_put(r);
	return ret;
}
