// SPDX-License-Identifier: GPL-2.0-only
/* Completion queues: a ring the consumer maps and reads without system calls, and ways to sleep until something is in it. */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>

#include "compat.h"
#include "cq.h"
#include "netlink.h"

#define MC_CQ_MAX_SPIN_US 1000u

/* Every queue that lives, by id. A queue leaves before it is freed, so under xa_lock what is found is there. */
static DEFINE_XARRAY(mc_cqs);
static atomic_t mc_nr_cqs = ATOMIC_INIT(0);

static void mc_cq_free(struct kref *ref)
{
	struct mc_cq *cq = container_of(ref, struct mc_cq, ref);

	xa_erase(&mc_cqs, cq->name.id);
	if (cq->eventfd)
		eventfd_ctx_put(cq->eventfd);
	vfree(cq->ring);
	mc_user_uncharge(cq->user, cq->ring_size);
	mc_name_fini(&cq->name);
	kfree(cq);
	atomic_dec(&mc_nr_cqs);
}

void mc_cq_put(struct mc_cq *cq)
{
	kref_put(&cq->ref, mc_cq_free);
}

struct mc_cq *mc_cq_next(u64 id)
{
	unsigned long index = id;
	struct mc_cq *cq;

	if (id >= ULONG_MAX)
		return ERR_PTR(-ENOENT);
	xa_lock(&mc_cqs);
	do {
		cq = xa_find_after(&mc_cqs, &index, ULONG_MAX, XA_PRESENT);
	} while (cq && !kref_get_unless_zero(&cq->ref));
	xa_unlock(&mc_cqs);
	return cq ? cq : ERR_PTR(-ENOENT);
}

unsigned int mc_cq_count(void)
{
	return atomic_read(&mc_nr_cqs);
}

static int mc_cq_release(struct inode *inode, struct file *file)
{
	struct mc_cq *cq = file->private_data;
	char text[MC_NAME_MAX + 1];

	mutex_lock(&mc_names_lock);
	strscpy(text, cq->name.text, sizeof(text));
	mc_name_remove(&cq->name);
	mutex_unlock(&mc_names_lock);
	if (text[0])
		mc_nl_queue_event(cq->name.id, mc_name_uid(&cq->name), text, MC_EV_QUEUE_UNPUBLISHED);
	spin_lock(&cq->lock);
	mc_cq_flag(cq, MC_CQ_K_DEAD, 0);
	spin_unlock(&cq->lock);
	wake_up_interruptible_poll(&cq->wait, EPOLLERR);
	kref_put(&cq->ref, mc_cq_free);
	return 0;
}

/* The posters are gone and none will come. */
static bool mc_cq_hup(struct mc_cq *cq, u32 kflags)
{
	return kflags & MC_CQ_K_HUP && !READ_ONCE(cq->named);
}

static __poll_t mc_cq_poll(struct file *file, poll_table *wait)
{
	struct mc_cq *cq = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &cq->wait, wait);
	mc_cq_arm(cq);
	if (mc_cq_used(cq))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (mc_cq_dead(cq) || mc_cq_hup(cq, READ_ONCE(cq->kflags)))
		mask |= EPOLLHUP;
	return mask;
}

__poll_t mc_cq_poll_post(struct mc_cq *cq, struct file *file, poll_table *wait)
{
	poll_wait(file, &cq->wait, wait);
	if (mc_cq_dead(cq))
		return EPOLLERR;
	return mc_cq_used(cq) < cq->entries ? EPOLLOUT | EPOLLWRNORM : 0;
}

static int mc_cq_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mc_cq *cq = file->private_data;

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff || vma->vm_end - vma->vm_start != cq->ring_size)
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	vm_flags_clear(vma, VM_MAYEXEC);
	return remap_vmalloc_range(vma, cq->ring, 0);
}

static long mc_cq_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mc_call(file, MC_ON_CQ, cmd, arg);
}

#ifdef CONFIG_PROC_FS
static void mc_cq_fdinfo(struct seq_file *m, struct file *file)
{
	struct mc_cq *cq = file->private_data;

	seq_printf(m, "mc-id:\t%llu\n", cq->name.id);
	seq_printf(m, "mc-entries:\t%u\nmc-ready:\t%u\nmc-dropped:\t%llu\nmc-posters:\t%u\nmc-kflags:\t%#x\n", cq->entries,
		   mc_cq_used(cq), READ_ONCE(cq->dropped), READ_ONCE(cq->posters), READ_ONCE(cq->kflags));
}
#endif

static const struct file_operations mc_cq_fops = {
	.owner = THIS_MODULE,
	.release = mc_cq_release,
	.unlocked_ioctl = mc_cq_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = mc_cq_mmap,
	.poll = mc_cq_poll,
#ifdef CONFIG_PROC_FS
	.show_fdinfo = mc_cq_fdinfo,
#endif
	.llseek = noop_llseek,
};

struct mc_cq *mc_cq_from_fd(s32 fd)
{
	struct mc_cq *cq = ERR_PTR(-EINVAL);
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op == &mc_cq_fops && ((struct mc_cq *)file->private_data)->overflow == MC_CQ_DROP_COUNT) {
		cq = file->private_data;
		kref_get(&cq->ref);
	}
	fput(file);
	return cq;
}

struct mc_name *mc_cq_name(struct file *file)
{
	return file->f_op == &mc_cq_fops ? &((struct mc_cq *)file->private_data)->name : NULL;
}

void mc_cq_named(struct mc_name *n, bool named)
{
	struct mc_cq *cq = container_of(n, struct mc_cq, name);

	lockdep_assert_held(&mc_names_lock);
	spin_lock(&cq->lock);
	WRITE_ONCE(cq->named, named);
	spin_unlock(&cq->lock);
	/* Who waited for posters to come may have to stop. */
	mc_cq_wake(cq);
}

/* An SPSC poster gets whole pages: all but the first one. */
static size_t mc_cq_cqe_off(const struct mc_cq *cq)
{
	return cq->spsc ? PAGE_SIZE + 128 : sizeof(struct mc_cq_ring);
}

static int mc_cq_ring_new(struct mc_cq *cq)
{
	const size_t tail_off = cq->spsc ? PAGE_SIZE : offsetof(struct mc_cq_ring, tail);
	const size_t cqe_off = mc_cq_cqe_off(cq);

	cq->ring = mc_ring_alloc(cq->ring_size);
	if (!cq->ring)
		return -ENOMEM;
	cq->ring_tail = (void *)cq->ring + tail_off;
	cq->cqes = (void *)cq->ring + cqe_off;
	cq->ring->magic = MC_CQ_MAGIC;
	cq->ring->hdr_size = sizeof(*cq->ring);
	cq->ring->entries = cq->entries;
	cq->ring->mask = cq->entries - 1;
	cq->ring->cqe_off = cqe_off;
	cq->ring->cqe_size = sizeof(*cq->cqes);
	cq->ring->overflow = cq->overflow;
	cq->ring->tail_off = tail_off;
	return 0;
}

static struct mc_cq *mc_cq_new(const struct cred *opener, const struct mc_ioc_cq_create *a)
{
	struct mc_cq *cq = kzalloc(sizeof(*cq), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!cq)
		return ERR_PTR(-ENOMEM);
	kref_init(&cq->ref);
	cq->entries = roundup_pow_of_two(a->entries);
	cq->overflow = a->overflow;
	cq->spsc = a->flags & MC_CQ_SPSC;
	init_waitqueue_head(&cq->wait);
	spin_lock_init(&cq->lock);
	cq->ring_size = PAGE_ALIGN(mc_cq_cqe_off(cq) + cq->entries * sizeof(*cq->cqes));
	cq->user = mc_user_charge(opener->fsuid, cq->ring_size, mc_may_exceed_quota());
	if (IS_ERR(cq->user)) {
		ret = PTR_ERR(cq->user);
		goto err_free;
	}
	ret = mc_cq_ring_new(cq);
	if (ret)
		goto err_uncharge;
	mc_name_init(&cq->name, opener, true);
	ret = xa_err(xa_store(&mc_cqs, cq->name.id, cq, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_fini;
	atomic_inc(&mc_nr_cqs);
	return cq;

err_fini:
	mc_name_fini(&cq->name);
	vfree(cq->ring);
err_uncharge:
	mc_user_uncharge(cq->user, cq->ring_size);
err_free:
	kfree(cq);
	return ERR_PTR(ret);
}

/* The queue's file, which takes over @cq's first reference; and a post file when asked for. */
static int mc_cq_files(struct mc_call *call, struct mc_cq *cq, struct mc_ioc_cq_create *a)
{
	struct file *file;
	int ret;

	file = anon_inode_getfile("[mooncake:cq]", &mc_cq_fops, cq, O_RDWR);
	if (IS_ERR(file)) {
		kref_put(&cq->ref, mc_cq_free);
		return PTR_ERR(file);
	}
	ret = mc_call_new_file(call, file, a->fd_flags, &a->out_fd);
	if (ret || !(a->flags & MC_CQ_POST_FD))
		return ret;
	file = mc_post_file(cq, true);
	if (IS_ERR(file))
		return PTR_ERR(file);
	return mc_call_new_file(call, file, a->fd_flags, &a->out_post_fd);
}

int mc_cq_create(struct mc_call *call)
{
	struct mc_ioc_cq_create *a = call->arg;
	struct eventfd_ctx *eventfd = NULL;
	struct mc_cq *cq;

	if (a->flags & ~(MC_CQ_POST_FD | MC_CQ_EVENTFD | MC_CQ_SPSC) || a->overflow > MC_CQ_RESERVE)
		return -EINVAL;
	if (!a->entries || a->entries > MC_CQ_MAX_ENTRIES || (a->fd_flags & ~(u32)O_CLOEXEC) != O_RDWR)
		return -EINVAL;
	if (!(a->flags & MC_CQ_EVENTFD) && a->eventfd != -1)
		return -EINVAL;
	if (a->flags & MC_CQ_SPSC && (a->flags & MC_CQ_EVENTFD || a->overflow != MC_CQ_RESERVE))
		return -EINVAL;
	if (a->flags & MC_CQ_EVENTFD) {
		eventfd = eventfd_ctx_fdget(a->eventfd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	cq = mc_cq_new(call->file->f_cred, a);
	if (IS_ERR(cq)) {
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return PTR_ERR(cq);
	}
	cq->eventfd = eventfd;
	a->out_ring_size = cq->ring_size;
	a->out_entries = cq->entries;
	a->out_cqe_off = mc_cq_cqe_off(cq);
	a->out_post_fd = -1;
	return mc_cq_files(call, cq, a);
}

/* 1: @min entries are there, or as many as will ever be; 0: wait; -EPIPE. */
static int mc_cq_ready(struct mc_cq *cq, u32 min, u32 *ready)
{
	u32 kflags = READ_ONCE(cq->kflags), used;

	/* The flags first: what was posted before they were set counts. */
	smp_rmb();
	used = mc_cq_used(cq);
	*ready = used;
	if (kflags & MC_CQ_K_DEAD || used > cq->entries)
		return -EPIPE;
	if (used >= min)
		return 1;
	if (mc_cq_hup(cq, kflags))
		return used ? 1 : -EPIPE;
	return 0;
}

static int mc_cq_spin(struct mc_cq *cq, struct mc_ioc_cq_wait *a)
{
	u64 until = ktime_get_ns() + (u64)a->spin_us * NSEC_PER_USEC;
	int ret;

	for (;;) {
		ret = mc_cq_ready(cq, a->min, &a->out_ready);
		if (ret || !a->spin_us || need_resched() || signal_pending(current) || ktime_get_ns() >= until)
			return ret;
		cpu_relax();
	}
}

static int mc_cq_sleep(struct mc_cq *cq, struct mc_ioc_cq_wait *a)
{
	ktime_t expires = a->timeout_ns > KTIME_MAX ? KTIME_MAX : (ktime_t)a->timeout_ns;
	DEFINE_WAIT(wait);
	bool late = false;
	int ret;

	for (;;) {
		prepare_to_wait(&cq->wait, &wait, TASK_INTERRUPTIBLE);
		mc_cq_arm(cq);
		ret = mc_cq_ready(cq, a->min, &a->out_ready);
		if (ret)
			break;
		if (late) {
			ret = -ETIME;
			break;
		}
		if (signal_pending(current)) {
			/* The time is absolute, so the call can simply be made again. */
			ret = -ERESTARTSYS;
			break;
		}
		if (a->timeout_ns == U64_MAX)
			schedule();
		else
			late = !schedule_hrtimeout(&expires, HRTIMER_MODE_ABS);
	}
	finish_wait(&cq->wait, &wait);
	return ret;
}

int mc_cq_wait(struct mc_call *call)
{
	struct mc_ioc_cq_wait *a = call->arg;
	struct mc_cq *cq = call->file->private_data;
	int ret;

	if (a->flags || a->fd != -1 || a->rsv || a->sigsetsize || !a->min || a->min > cq->entries ||
	    a->spin_us > MC_CQ_MAX_SPIN_US)
		return -EINVAL;
	if (a->sigmask)
		return -EOPNOTSUPP;
	ret = mc_cq_spin(cq, a);
	if (!ret && !a->timeout_ns)
		ret = -EAGAIN;
	if (!ret)
		ret = mc_cq_sleep(cq, a);
	return ret < 0 ? ret : 0;
}
