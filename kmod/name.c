// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names: a published region is held by its name, with an owner and a mode as files have. Each user namespace has names
 * of its own. A name also holds the module.
 */

#include <linux/ctype.h>
#include <linux/hashtable.h>
#include <linux/jhash.h>
#include <linux/uaccess.h>

#include "kmod.h"

DEFINE_MUTEX(mc_names_lock);
static DEFINE_HASHTABLE(mc_names, 10);	/* guarded by mc_names_lock */

static u32 mc_name_hash(const struct user_namespace *ns, const char *name)
{
	return jhash(name, strlen(name), (u32)(unsigned long)ns);
}

static struct mc_region *mc_name_find(const struct user_namespace *ns, const char *name)
{
	struct mc_region *r;

	lockdep_assert_held(&mc_names_lock);
	hash_for_each_possible(mc_names, r, by_name, mc_name_hash(ns, name))
		if (r->ns == ns && !strcmp(r->name, name))
			return r;
	return NULL;
}

static int mc_name_copy(char *name, u64 uptr, u32 len)
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
static u32 mc_granted(const struct mc_region *r)
{
	umode_t mode = r->mode;
	u32 access = 0;

	lockdep_assert_held(&mc_names_lock);
	if (!r->name[0])
		return 0;
	if (uid_eq(current_fsuid(), r->uid))
		mode >>= 6;
	else if (in_group_p(r->gid))
		mode >>= 3;
	if (mode & 4)
		access |= MC_ACCESS_R;
	if (mode & 2)
		access |= MC_ACCESS_W;
	if (access != (MC_ACCESS_R | MC_ACCESS_W) && ns_capable(r->ns, CAP_DAC_OVERRIDE))
		access = MC_ACCESS_R | MC_ACCESS_W;
	return access;
}

u32 mc_region_granted(struct mc_region *r)
{
	u32 access;

	mutex_lock(&mc_names_lock);
	access = mc_granted(r);
	mutex_unlock(&mc_names_lock);
	return access;
}

/* Owner and group as asked for, if the caller may give the region to them. */
static int mc_publish_owner(const struct mc_region *r, const struct mc_ioc_region_publish *a, kuid_t *uid, kgid_t *gid)
{
	*uid = r->uid;
	*gid = r->gid;
	if (a->uid != (u32)-1)
		*uid = make_kuid(current_user_ns(), a->uid);
	if (a->gid != (u32)-1)
		*gid = make_kgid(current_user_ns(), a->gid);
	if (!uid_valid(*uid) || !gid_valid(*gid))
		return -EINVAL;
	if (!uid_eq(*uid, r->uid) && !capable(CAP_CHOWN))
		return -EPERM;
	if (!gid_eq(*gid, r->gid) && !in_group_p(*gid) && !capable(CAP_CHOWN))
		return -EPERM;
	return 0;
}

static int mc_publish(struct mc_region *r, const struct mc_ioc_region_publish *a, const char *name)
{
	kuid_t uid;
	kgid_t gid;
	int ret;

	lockdep_assert_held(&mc_names_lock);
	if (!(r->flags & MC_REGION_PERSIST_OK) || !mc_may_own(current_cred(), r->uid))
		return -EPERM;
	ret = mc_publish_owner(r, a, &uid, &gid);
	if (ret)
		return ret;
	if (r->name[0] || mc_name_find(r->ns, name))
		return -EEXIST;
	mutex_lock(&r->lock);
	ret = r->state & MC_STATE_REVOKED ? -EKEYREVOKED : 0;
	mutex_unlock(&r->lock);
	if (ret)
		return ret;

	strscpy(r->name, name, sizeof(r->name));
	r->uid = uid;
	r->gid = gid;
	r->mode = a->mode;
	mc_region_get(r);
	__module_get(THIS_MODULE);
	hash_add(mc_names, &r->by_name, mc_name_hash(r->ns, name));
	return 0;
}

int mc_region_publish(struct mc_call *call)
{
	struct mc_ioc_region_publish *a = call->arg;
	struct mc_handle *h = call->file->private_data;
	char name[MC_NAME_MAX + 1];
	int ret;

	if (a->flags || a->fd != -1 || a->mode & ~0666u || a->rsv)
		return -EINVAL;
	ret = mc_name_copy(name, a->name, a->name_len);
	if (ret)
		return ret;
	if (!(call->file->f_mode & FMODE_WRITE))
		return -EACCES;

	mutex_lock(&mc_names_lock);
	ret = mc_publish(h->region, a, name);
	mutex_unlock(&mc_names_lock);
	if (!ret)
		mc_event(h->region, MC_EVENT_REGION, MC_CQE_REGION, MC_EV_PUBLISHED);
	return ret;
}

/* The name's reference and its hold on the module pass to the caller. */
static int mc_unpublish(struct mc_region *r, bool force)
{
	int ret = 0;

	lockdep_assert_held(&mc_names_lock);
	if (!r || !r->name[0])
		return -ENOENT;
	if (!mc_may_own(current_cred(), r->uid))
		return mc_granted(r) ? -EPERM : -ENOENT;
	mutex_lock(&r->lock);
	if (r->writer && !force)
		ret = -EBUSY;
	mutex_unlock(&r->lock);
	if (ret)
		return ret;
	hash_del(&r->by_name);
	r->name[0] = '\0';
	return 0;
}

int mc_region_unpublish(struct mc_call *call)
{
	struct mc_ioc_region_publish *a = call->arg;
	struct mc_region *named = NULL, *r;
	char name[MC_NAME_MAX + 1];
	int ret;

	if (a->flags & ~MC_UNPUBLISH_FORCE || a->mode || a->uid || a->gid || a->rsv)
		return -EINVAL;
	if (call->on == MC_ON_REGION || a->fd != -1) {
		if (a->name || a->name_len)
			return -EINVAL;
		named = mc_region_of(call, a->fd);
		if (IS_ERR(named))
			return PTR_ERR(named);
	} else {
		ret = mc_name_copy(name, a->name, a->name_len);
		if (ret)
			return ret;
	}

	mutex_lock(&mc_names_lock);
	r = named ? named : mc_name_find(call->file->f_cred->user_ns, name);
	ret = mc_unpublish(r, a->flags & MC_UNPUBLISH_FORCE);
	mutex_unlock(&mc_names_lock);
	if (!ret) {
		mc_event(r, MC_EVENT_REGION, MC_CQE_REGION, MC_EV_UNPUBLISHED);
		mc_region_put(r);
		module_put(THIS_MODULE);
	}
	if (named)
		mc_region_put(named);
	return ret;
}

/* A reference to the published region that @a names and the caller may open. */
static struct mc_region *mc_open_find(struct mc_call *call, const struct mc_ioc_region_open *a, const char *name)
{
	const u32 want = a->access & (MC_ACCESS_R | MC_ACCESS_W);
	struct mc_region *r, *ret;
	u32 granted;

	if (a->name_len) {
		mutex_lock(&mc_names_lock);
		r = mc_name_find(call->file->f_cred->user_ns, name);
		if (r)
			mc_region_get(r);
		mutex_unlock(&mc_names_lock);
		if (!r)
			return ERR_PTR(-ENOENT);
	} else {
		r = mc_region_by_id(a->id);
		if (IS_ERR(r))
			return r;
	}

	mutex_lock(&mc_names_lock);
	granted = mc_granted(r);
	if (!r->name[0] || (!granted && !a->name_len))
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
