// SPDX-License-Identifier: GPL-2.0-only
/*
 * Post files: the right to put entries into somebody else's queue, passed on like any descriptor.
 *
 * Entries are bounded by the ring; what a poster could spend without end is the consumer's sleep. So each post file may
 * wake a consumer that sleeps max_wakes times a second. One that is awake may be posted to at any rate.
 */

#include <linux/anon_inodes.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "cq.h"

static unsigned int max_wakes = 100000;
module_param(max_wakes, uint, 0644);
MODULE_PARM_DESC(max_wakes, "Posts per second through one file that may wake a sleeping consumer; 0: no limit");

struct mc_post {
	struct mc_cq *cq;
	struct pid *opener;		/* thread group */
	bool told;			/* somebody got this file, so the consumer hears when it goes */

	spinlock_t lock;
	/* guarded by lock: a bucket of a tenth of a second's wakes, counted in their nanoseconds */
	u64 saved_ns;
	u64 last_ns;
	u64 posted;
	u64 limited;
};

/* May this post wake somebody? */
static bool mc_post_allowed(struct mc_post *p)
{
	const u64 most = NSEC_PER_SEC / 10;
	unsigned int max = READ_ONCE(max_wakes);
	u64 now = ktime_get_ns(), price;
	bool ok;

	if (!max || !mc_cq_sleeps(p->cq))
		return true;
	/* A limit below ten a second still lets one through when the bucket is full. */
	price = min_t(u64, NSEC_PER_SEC / max, most);
	spin_lock(&p->lock);
	p->saved_ns = min(p->saved_ns + (now - p->last_ns), most);
	p->last_ns = now;
	ok = p->saved_ns >= price;
	if (ok)
		p->saved_ns -= price;
	else
		p->limited++;
	spin_unlock(&p->lock);
	return ok;
}

static int mc_post_release(struct inode *inode, struct file *file)
{
	struct mc_post *p = file->private_data;

	mc_cq_poster_del(p->cq, p->told);
	put_pid(p->opener);
	kfree(p);
	return 0;
}

static __poll_t mc_post_poll(struct file *file, poll_table *wait)
{
	struct mc_post *p = file->private_data;

	return mc_cq_poll_post(p->cq, file, wait);
}

static long mc_post_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mc_call(file, MC_ON_POST, cmd, arg);
}

/* The first page, to be read, or all others. */
static int mc_post_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mc_cq *cq = ((struct mc_post *)file->private_data)->cq;
	const unsigned long length = vma->vm_end - vma->vm_start;

	if (!cq->spsc)
		return -ENODEV;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff > 1 ||
	    length != (vma->vm_pgoff ? cq->ring_size - PAGE_SIZE : PAGE_SIZE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC || (!vma->vm_pgoff && vma->vm_flags & VM_WRITE))
		return -EACCES;
	vm_flags_clear(vma, vma->vm_pgoff ? VM_MAYEXEC : VM_MAYEXEC | VM_MAYWRITE);
	return remap_vmalloc_range(vma, cq->ring, vma->vm_pgoff);
}

#ifdef CONFIG_PROC_FS
static void mc_post_fdinfo(struct seq_file *m, struct file *file)
{
	struct mc_post *p = file->private_data;

	seq_printf(m, "mc-id:\t%llu\nmc-uid:\t%u\nmc-pid:\t%d\nmc-posted:\t%llu\nmc-limited:\t%llu\n", p->cq->name.id,
		   from_kuid_munged(current_user_ns(), file->f_cred->fsuid), pid_vnr(p->opener), READ_ONCE(p->posted),
		   READ_ONCE(p->limited));
}
#endif

static const struct file_operations mc_post_fops = {
	.owner = THIS_MODULE,
	.release = mc_post_release,
	.unlocked_ioctl = mc_post_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = mc_post_mmap,
	.poll = mc_post_poll,
#ifdef CONFIG_PROC_FS
	.show_fdinfo = mc_post_fdinfo,
#endif
	.llseek = noop_llseek,
};

struct file *mc_post_file(struct mc_cq *cq, bool told)
{
	struct mc_post *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	struct file *file;
	int ret;

	if (!p)
		return ERR_PTR(-ENOMEM);
	p->cq = cq;
	p->told = told;
	spin_lock_init(&p->lock);
	ret = mc_cq_poster_add(cq);
	if (ret) {
		kfree(p);
		return ERR_PTR(ret);
	}
	if (told)
		mc_cq_poster_here(cq);
	p->opener = get_pid(task_tgid(current));
	file = anon_inode_getfile("[mooncake:post]", &mc_post_fops, p, O_RDWR);
	if (IS_ERR(file)) {
		mc_cq_poster_del(cq, told);
		put_pid(p->opener);
		kfree(p);
	}
	return file;
}

/* Without entries: wake the consumer of an SPSC ring, where it says that it may sleep. */
static int mc_post_kick(struct mc_post *p, struct mc_ioc_cq_post *a)
{
	if (!p->cq->spsc || a->vec)
		return -EINVAL;
	if (mc_cq_dead(p->cq))
		return -EPIPE;
	if (READ_ONCE(p->cq->kflags) & MC_CQ_K_ARMED && !mc_post_allowed(p))
		return -EAGAIN;
	a->out_posted = 0;
	return mc_cq_kick(p->cq);
}

int mc_cq_post(struct mc_call *call)
{
	struct mc_post *p = call->file->private_data;
	struct mc_ioc_cq_post *a = call->arg;
	struct mc_cqe *cqe;
	int ret = 0;
	u32 i;

	if (a->flags || a->post_fd != -1 || a->rsv)
		return -EINVAL;
	if (!a->nr)
		return mc_post_kick(p, a);
	if (a->nr > MC_MAX_BATCH)
		return -E2BIG;
	if (p->cq->spsc)
		return -EINVAL;
	cqe = vmemdup_user(u64_to_user_ptr(a->vec), a->nr * sizeof(*cqe));
	if (IS_ERR(cqe))
		return PTR_ERR(cqe);
	/* Only the module says anything but NOTIFY, so that the rest can be believed. */
	for (i = 0; i < a->nr; i++)
		if (cqe[i].type != MC_CQE_NOTIFY || cqe[i].flags & ~MC_CQE_F_MORE)
			ret = -EINVAL;
	if (!ret && !mc_cq_dead(p->cq) && !mc_post_allowed(p))
		ret = -EAGAIN;
	if (!ret)
		ret = mc_cq_push(p->cq, cqe, a->nr);
	kvfree(cqe);
	if (ret < 0)
		return ret;
	spin_lock(&p->lock);
	p->posted += ret;
	spin_unlock(&p->lock);
	a->out_posted = ret;
	return 0;
}

/* A reference to the published queue called @text, if the caller may post to it. */
static struct mc_cq *mc_post_find(const struct user_namespace *ns, const char *text)
{
	struct mc_cq *cq;
	struct mc_name *n;

	mutex_lock(&mc_names_lock);
	n = mc_name_find(ns, text);
	if (!n) {
		cq = ERR_PTR(-ENOENT);
	} else if (!n->queue) {
		cq = ERR_PTR(-EPROTOTYPE);
	} else if (!(mc_name_granted(n) & MC_ACCESS_W)) {
		cq = ERR_PTR(-EACCES);
	} else {
		/* The name goes before the consumer's file does, and that holds the queue. */
		cq = container_of(n, struct mc_cq, name);
		kref_get(&cq->ref);
	}
	mutex_unlock(&mc_names_lock);
	return cq;
}

static void mc_open_post_commit(struct mc_call *call)
{
	struct mc_post *p = call->new_file[0]->private_data;

	p->told = true;
	mc_cq_poster_here(p->cq);
}

int mc_cq_open_post(struct mc_call *call)
{
	struct mc_ioc_region_open *a = call->arg;
	char text[MC_NAME_MAX + 1];
	struct file *file;
	struct mc_cq *cq;
	int ret;

	if (a->flags || a->rsv || a->id || a->access != MC_ACCESS_POST || a->fd_flags & ~(u32)O_CLOEXEC)
		return -EINVAL;
	ret = mc_name_copy(text, a->name, a->name_len);
	if (ret)
		return ret;
	cq = mc_post_find(call->file->f_cred->user_ns, text);
	if (IS_ERR(cq))
		return PTR_ERR(cq);
	file = mc_post_file(cq, false);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto out_put;
	}
	ret = mc_call_new_file(call, file, a->fd_flags, &a->out_fd);
	a->out_id = cq->name.id;
	a->out_length = cq->spsc ? cq->ring_size : 0;
	a->out_epoch = 0;
	a->out_state = MC_STATE_PUBLISHED;
	call->commit = mc_open_post_commit;
out_put:
	mc_cq_put(cq);
	return ret;
}
