// SPDX-License-Identifier: GPL-2.0-only
/*
 * Completion queues: a ring the consumer maps and reads without system calls, and ways to sleep until something is in it.
 *
 * The consumer may scribble over the whole ring. So the module keeps its own tail and size and reads two words only:
 * head, where nonsense makes the queue dead, and uflags.
 */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "kmod.h"
#include "trace.h"

#define MC_CQ_MAX_SPIN_US 1000u

struct mc_cq {
	struct kref ref;
	struct mc_cq_ring *ring;
	struct mc_cqe *cqes;		/* in @ring */
	size_t ring_size;
	u32 entries;
	u32 overflow;
	struct mc_user *user;		/* charged with ring_size */
	struct eventfd_ctx *eventfd;
	wait_queue_head_t wait;		/* consumers and posters */

	spinlock_t lock;
	/* guarded by lock; read without it where a stale value does no harm */
	u32 tail;
	u32 kflags;
	u64 dropped;
	bool lost;			/* entries since the last one appended */
	bool closed;			/* the consumer's file is gone */
	unsigned int posters;
};

static void mc_cq_free(struct kref *ref)
{
	struct mc_cq *cq = container_of(ref, struct mc_cq, ref);

	if (cq->eventfd)
		eventfd_ctx_put(cq->eventfd);
	vfree(cq->ring);
	mc_user_uncharge(cq->user, cq->ring_size);
	kfree(cq);
}

/* Entries the consumer has not taken; more than there can be means that head is nonsense. */
static u32 mc_cq_used(struct mc_cq *cq)
{
	/* Pairs with the consumer's release of head: its reads of the entries are done. */
	return READ_ONCE(cq->tail) - smp_load_acquire(&cq->ring->head);
}

static void mc_cq_flag(struct mc_cq *cq, u32 set, u32 clear)
{
	lockdep_assert_held(&cq->lock);
	WRITE_ONCE(cq->kflags, (cq->kflags | set) & ~clear);
	WRITE_ONCE(cq->ring->kflags, cq->kflags);
}

static int mc_cq_append(struct mc_cq *cq, const struct mc_cqe *cqe, u64 now)
{
	u32 used = mc_cq_used(cq);
	struct mc_cqe *slot;

	lockdep_assert_held(&cq->lock);
	if (cq->closed || cq->kflags & MC_CQ_K_DEAD)
		return -EPIPE;
	if (used > cq->entries) {
		mc_cq_flag(cq, MC_CQ_K_DEAD, 0);
		return -EPIPE;
	}
	if (used == cq->entries) {
		if (cq->overflow == MC_CQ_RESERVE)
			return -EAGAIN;
		cq->lost = true;
		WRITE_ONCE(cq->ring->dropped, ++cq->dropped);
		mc_cq_flag(cq, MC_CQ_K_OVERFLOWED, 0);
		trace_mc_cq_lost(cq, cq->dropped);
		return 0;
	}
	slot = &cq->cqes[cq->tail & (cq->entries - 1)];
	*slot = *cqe;
	slot->ts_ns = now;
	if (cq->lost)
		slot->flags |= MC_CQE_F_OVERFLOW_BEFORE;
	cq->lost = false;
	WRITE_ONCE(cq->ring->last_ts, now);
	WRITE_ONCE(cq->tail, cq->tail + 1);
	/* Pairs with the consumer's acquire of tail: the entry is there. */
	smp_store_release(&cq->ring->tail, cq->tail);
	return 0;
}

/* Somebody may have something to do: wake who sleeps, and only then. */
static void mc_cq_wake(struct mc_cq *cq)
{
	/* Full barrier inside: tail written, then sleepers looked for; they queue up, then look at tail. */
	if (wq_has_sleeper(&cq->wait))
		wake_up_interruptible_poll(&cq->wait, EPOLLIN | EPOLLHUP);
	if (cq->eventfd && !(READ_ONCE(cq->ring->uflags) & MC_CQ_U_NO_EVENTFD))
		mc_eventfd_signal(cq->eventfd);
}

int mc_cq_push(struct mc_cq *cq, const struct mc_cqe *cqe, u32 nr)
{
	u64 now = ktime_get_ns();
	int ret = 0;
	u32 i;

	spin_lock(&cq->lock);
	for (i = 0; i < nr && !ret; i++)
		ret = mc_cq_append(cq, &cqe[i], now);
	spin_unlock(&cq->lock);
	if (ret)
		i--;
	if (i || ret == -EPIPE)
		mc_cq_wake(cq);
	return i ? (int)i : ret;
}

void mc_cq_put(struct mc_cq *cq)
{
	kref_put(&cq->ref, mc_cq_free);
}

void mc_cq_poster_add(struct mc_cq *cq)
{
	kref_get(&cq->ref);
	spin_lock(&cq->lock);
	cq->posters++;
	mc_cq_flag(cq, 0, MC_CQ_K_HUP);
	spin_unlock(&cq->lock);
}

void mc_cq_poster_del(struct mc_cq *cq)
{
	static const struct mc_cqe gone = { .type = MC_CQE_PEER };
	bool last;

	spin_lock(&cq->lock);
	last = !--cq->posters;
	if (last)
		mc_cq_flag(cq, MC_CQ_K_HUP, 0);
	spin_unlock(&cq->lock);
	if (last) {
		/* Into a full ring this does not go; the flag and poll say the same. */
		mc_cq_push(cq, &gone, 1);
		mc_cq_wake(cq);
	}
	kref_put(&cq->ref, mc_cq_free);
}

static int mc_cq_release(struct inode *inode, struct file *file)
{
	struct mc_cq *cq = file->private_data;

	spin_lock(&cq->lock);
	cq->closed = true;
	spin_unlock(&cq->lock);
	wake_up_interruptible_poll(&cq->wait, EPOLLERR);
	kref_put(&cq->ref, mc_cq_free);
	return 0;
}

static __poll_t mc_cq_poll(struct file *file, poll_table *wait)
{
	struct mc_cq *cq = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &cq->wait, wait);
	if (mc_cq_used(cq))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(cq->kflags) & (MC_CQ_K_HUP | MC_CQ_K_DEAD))
		mask |= EPOLLHUP;
	return mask;
}

__poll_t mc_cq_poll_post(struct mc_cq *cq, struct file *file, poll_table *wait)
{
	poll_wait(file, &cq->wait, wait);
	if (READ_ONCE(cq->closed) || READ_ONCE(cq->kflags) & MC_CQ_K_DEAD)
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

static struct mc_cq *mc_cq_new(const struct cred *opener, u32 entries, u32 overflow)
{
	struct mc_cq *cq = kzalloc(sizeof(*cq), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!cq)
		return ERR_PTR(-ENOMEM);
	kref_init(&cq->ref);
	cq->entries = roundup_pow_of_two(entries);
	cq->overflow = overflow;
	cq->ring_size = PAGE_ALIGN(sizeof(*cq->ring) + cq->entries * sizeof(*cq->cqes));
	init_waitqueue_head(&cq->wait);
	spin_lock_init(&cq->lock);
	cq->user = mc_user_charge(opener->fsuid, cq->ring_size, mc_may_exceed_quota());
	if (IS_ERR(cq->user)) {
		ret = PTR_ERR(cq->user);
		goto err_free;
	}
	cq->ring = vmalloc_user(cq->ring_size);
	if (!cq->ring) {
		ret = -ENOMEM;
		goto err_uncharge;
	}
	cq->cqes = (struct mc_cqe *)(cq->ring + 1);
	cq->ring->magic = MC_CQ_MAGIC;
	cq->ring->hdr_size = sizeof(*cq->ring);
	cq->ring->entries = cq->entries;
	cq->ring->mask = cq->entries - 1;
	cq->ring->cqe_off = sizeof(*cq->ring);
	cq->ring->cqe_size = sizeof(*cq->cqes);
	cq->ring->overflow = overflow;
	return cq;

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
	file = mc_post_file(cq);
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
	if (a->flags & MC_CQ_SPSC)
		return -EOPNOTSUPP;
	if (a->flags & MC_CQ_EVENTFD) {
		eventfd = eventfd_ctx_fdget(a->eventfd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	cq = mc_cq_new(call->file->f_cred, a->entries, a->overflow);
	if (IS_ERR(cq)) {
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return PTR_ERR(cq);
	}
	cq->eventfd = eventfd;
	a->out_ring_size = cq->ring_size;
	a->out_entries = cq->entries;
	a->out_cqe_off = sizeof(*cq->ring);
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
	if (kflags & MC_CQ_K_HUP)
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
