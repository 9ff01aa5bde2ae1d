// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filling a large region before anybody asks for its pages: threads on the node the pages come from take slice after
 * slice. The caller only waits, and may be killed; the threads account to its memory cgroup by using its mm.
 */

#include <linux/cpuset.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>
#include <linux/wait.h>

#include "kmod.h"

#define MC_SLICE	(64ull << 20)	/* what a thread takes at a time */
#define MC_THREADS_MAX	16u

static unsigned int populate_threads;
module_param(populate_threads, uint, 0644);
MODULE_PARM_DESC(populate_threads, "Threads that fill one region; 0: one for each processor of the node; at most 16");

struct mc_fill {
	struct file *mem;
	u64 length;
	bool must_be_huge;
	struct mm_struct *mm;
	atomic64_t next;		/* offset of the first slice nobody has taken */
	bool stop;
	int error;			/* the first */
	atomic_t running;
	wait_queue_head_t done;
};

static void mc_fill_fail(struct mc_fill *f, int error)
{
	cmpxchg(&f->error, 0, error);
	WRITE_ONCE(f->stop, true);
}

static int mc_fill_thread(void *arg)
{
	struct mc_fill *f = arg;
	u64 offset;
	int ret = 0;

	kthread_use_mm(f->mm);
	while (!READ_ONCE(f->stop) && !ret) {
		offset = atomic64_fetch_add(MC_SLICE, &f->next);
		if (offset >= f->length)
			break;
		ret = mc_backing_populate(f->mem, offset, min(MC_SLICE, f->length - offset), f->must_be_huge, &f->stop);
	}
	if (ret)
		mc_fill_fail(f, ret);
	kthread_unuse_mm(f->mm);
	if (atomic_dec_and_test(&f->running))
		wake_up(&f->done);
	return 0;
}

/* How many threads; 0: the caller does it, as only it may take pages from where it may. */
static unsigned int mc_fill_threads(u64 length, int node)
{
	unsigned int want = READ_ONCE(populate_threads);

#ifdef CONFIG_NUMA
	if (node == NUMA_NO_NODE && current->mempolicy)
		return 0;
#endif
	if (node == NUMA_NO_NODE ? !nodes_subset(node_states[N_MEMORY], cpuset_current_mems_allowed) :
				   !node_isset(node, cpuset_current_mems_allowed))
		return 0;
	if (!want)
		want = cpumask_weight(cpumask_of_node(node == NUMA_NO_NODE ? numa_node_id() : node));
	return min3(want, MC_THREADS_MAX, (unsigned int)min_t(u64, length / MC_SLICE, UINT_MAX));
}

static unsigned int mc_fill_start(struct mc_fill *f, struct task_struct **threads, unsigned int want, int node)
{
	const struct cpumask *cpus = cpumask_of_node(node);
	struct task_struct *t;
	unsigned int n;

	for (n = 0; n < want; n++) {
		t = kthread_create_on_node(mc_fill_thread, f, node, "mooncake/%d", node);
		if (IS_ERR(t))
			break;
		if (cpumask_intersects(cpus, cpu_online_mask))
			set_cpus_allowed_ptr(t, cpus);
		threads[n] = get_task_struct(t);
		atomic_inc(&f->running);
	}
	/* All are counted before the first can be the last. */
	for (want = 0; want < n; want++)
		wake_up_process(threads[want]);
	return n;
}

int mc_populate(struct file *mem, u64 length, int node, bool must_be_huge)
{
	struct mc_fill f = { .mem = mem, .length = length, .must_be_huge = must_be_huge, .mm = current->mm };
	struct task_struct *threads[MC_THREADS_MAX];
	unsigned int n = mc_fill_threads(length, node);

	init_waitqueue_head(&f.done);
	if (n)
		n = mc_fill_start(&f, threads, n, node == NUMA_NO_NODE ? numa_node_id() : node);
	if (!n)
		return mc_backing_populate(mem, 0, length, must_be_huge, &f.stop);
	if (wait_event_killable(f.done, !atomic_read(&f.running)))
		mc_fill_fail(&f, -EINTR);
	/* Also waits for those that have yet to notice; a page more and they do. */
	while (n) {
		kthread_stop(threads[--n]);
		put_task_struct(threads[n]);
	}
	return f.error;
}
