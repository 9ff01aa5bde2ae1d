// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking access away: REVOKE for good, MARK(PUNCH) for as long as it takes to free pages, MARK(SEAL_WRITE) from writers.
 * map.c shows why a closed gate is tight.
 */

#include <linux/rcupdate.h>
#include <linux/sched/signal.h>

#include "kmod.h"
#include "outlet.h"
#include "trace.h"

#define MC_SLICE (16ull << 20)	/* between two looks at signals */

/* Whoever comes from now on sees it; what is mapped is the caller's to take away. */
static void mc_gate_close(struct mc_region *r, u32 why)
{
	lockdep_assert_held(&r->gate_lock);
	WRITE_ONCE(r->gate, r->gate | why);
	/* Full barrier, pairs with mc_gate_open(); also waits for mc_vm_map_pages(). */
	synchronize_rcu();
	smp_mb();
}

bool mc_gate_open(struct mc_region *r)
{
	/* Pairs with the one in mc_gate_close(): done, then gate read; gate written, then looked for what was done. */
	smp_mb();
	return !READ_ONCE(r->gate);
}

int mc_gate_wait(struct mc_region *r)
{
	if (READ_ONCE(r->gate) & MC_GATE_REVOKED)
		return 0;
	if (mutex_lock_killable(&r->gate_lock))
		return -EINTR;
	mutex_unlock(&r->gate_lock);
	return 0;
}

/*
 * Do @step on every slice of [@offset, @end) of the memory that has pages, up to where huge pages end. In between the caller may
 * be killed, or the region get into the state @stop.
 */
static int mc_slices(struct mc_region *r, u64 offset, u64 end, u32 stop, u64 *sum,
		     int (*step)(struct mc_region *r, u64 offset, u64 length, u64 *sum))
{
	int ret = 0;
	u64 n;

	for (; (offset = mc_backing_next(r->mem, offset, end)) < end && !ret; offset += n) {
		n = min(end - offset, MC_SLICE - (offset & (MC_SLICE - 1)));
		if (fatal_signal_pending(current))
			return -EINTR;
		if (READ_ONCE(r->state) & stop)
			return -EKEYREVOKED;
		ret = step(r, offset, n, sum);
		cond_resched();
	}
	return ret;
}

/* ---- REVOKE ---- */

/* Nobody can pin any more; what is not pinned now nobody needs. Dma-bufs hold pages of their own accord. */
static void mc_revoked_free(struct mc_region *r, u64 offset, u64 length)
{
	mutex_lock(&r->gate_lock);
	mc_backing_punch(r->mem, offset, length, true);
	mutex_unlock(&r->gate_lock);
}

void mc_export_gone(struct mc_region *r)
{
	/* Who came too late came after the gate was written. */
	if (READ_ONCE(r->gate) & MC_GATE_REVOKED && r->mem && !r->adopted)
		mc_revoked_free(r, 0, r->length);
}

/* Without the lock in between: who else wants it does not wait for all of a large region. */
static int mc_revoke_slice(struct mc_region *r, u64 offset, u64 length, u64 *pinned)
{
	if (!r->adopted)
		mc_revoked_free(r, offset, length);
	*pinned += mc_backing_pinned(r->mem, offset, length);
	return 0;
}

int mc_revoke_access(struct mc_region *r, u64 *pinned)
{
	int ret = 0;

	*pinned = 0;
	mutex_lock(&r->lock);
	r->state |= MC_STATE_REVOKED;
	mutex_unlock(&r->lock);

	/* A PUNCH that has it ends now. */
	mutex_lock(&r->gate_lock);
	mc_gate_close(r, MC_GATE_REVOKED);
	if (r->mem) {
		mc_backing_zap(r->mem, r->mem_offset, r->length);
	} else if (r->pin) {
		mc_pin_free(r->pin);
		r->pin = NULL;
	}
	mutex_unlock(&r->gate_lock);
	if (r->import)
		mc_import_zap(r->import);
	/* No access is left in memory; what follows may be left to whoever calls again. */
	if (r->mem)
		ret = mc_slices(r, r->mem_offset, r->mem_offset + r->length, 0, pinned, mc_revoke_slice);
	mc_outlets_revoke(r);
	*pinned += atomic64_read(&r->exported);
	trace_mc_region_revoke(r->id, *pinned);
	mc_event(r, MC_EVENT_REGION, MC_CQE_REGION, MC_EV_REVOKED);
	return ret;
}

int mc_revoke(struct mc_region *r, u64 *pinned)
{
	int ret = mc_revoke_access(r, pinned);

	if (r->import)
		mc_import_let_go(r->import);
	return ret;
}

int mc_region_revoke(struct mc_call *call)
{
	struct mc_ioc_region_revoke *a = call->arg;
	struct mc_region *r;
	bool seen;
	int ret;

	if (a->flags || a->rsv)
		return -EINVAL;
	if (call->on == MC_ON_REGION || a->fd != -1) {
		if (a->id)
			return -EINVAL;
		r = mc_region_of(call, a->fd);
		seen = true;
	} else {
		r = mc_region_by_id(a->id);
		seen = false;
	}
	if (IS_ERR(r))
		return PTR_ERR(r);

	if (!mc_may_own(current_cred(), mc_name_uid(&r->name))) {
		seen = seen || mc_name_granted_unlocked(&r->name);
		mc_region_put(r);
		return seen ? -EPERM : -ENOENT;
	}
	ret = mc_revoke(r, &a->out_pinned);
	mc_region_put(r);
	return ret;
}

/* ---- MARK ---- */

/* The steps of PUNCH, on a slice; pages are ours to free when nothing has them mapped or pinned. */
static int mc_punch_zap(struct mc_region *r, u64 offset, u64 length, u64 *freed)
{
	mc_backing_zap(r->mem, offset, length);
	return 0;
}

static int mc_punch_pinned(struct mc_region *r, u64 offset, u64 length, u64 *freed)
{
	return mc_backing_pinned(r->mem, offset, length) ? -EBUSY : 0;
}

static int mc_punch_free(struct mc_region *r, u64 offset, u64 length, u64 *freed)
{
	*freed += mc_backing_punch(r->mem, offset, length, false);
	return 0;
}

static int mc_punch_step(struct mc_region *r, const struct mc_ioc_region_mark *a, u64 *freed,
			 int (*step)(struct mc_region *r, u64 offset, u64 length, u64 *freed))
{
	return mc_slices(r, a->offset, a->offset + a->length, MC_STATE_REVOKED, freed, step);
}

/*
 * Without region->lock, which everybody else needs now and then: gate_lock keeps sealing out (mc_seal()) and exports wait
 * at the gate (mc_outlet_init()).
 */
static int mc_punch(struct mc_region *r, struct mc_ioc_region_mark *a)
{
	int ret;

	if (mutex_lock_killable(&r->gate_lock))
		return -EINTR;
	if (READ_ONCE(r->state) & (MC_STATE_REVOKED | MC_STATE_SEALED)) {
		ret = READ_ONCE(r->state) & MC_STATE_REVOKED ? -EKEYREVOKED : -EPERM;
		mutex_unlock(&r->gate_lock);
		return ret;
	}
	mc_gate_close(r, MC_GATE_PUNCH);
	ret = atomic_read(&r->nr_exports) ? -EBUSY : mc_punch_step(r, a, NULL, mc_punch_zap);
	if (!ret)
		ret = mc_punch_step(r, a, NULL, mc_punch_pinned);
	if (!ret)
		ret = mc_punch_step(r, a, &a->out_purged, mc_punch_free);
	WRITE_ONCE(r->gate, r->gate & ~MC_GATE_PUNCH);
	trace_mc_region_punch(r->id, a->offset, a->length, ret);
	mutex_unlock(&r->gate_lock);

	mutex_lock(&r->lock);
	if (!ret || a->out_purged)
		r->gen++;
	a->out_gen = r->gen;
	mutex_unlock(&r->lock);
	return ret;
}

static int mc_seal(struct mc_region *r)
{
	int ret;

	lockdep_assert_held(&r->lock);
	/* Who punches is a writer, and may take long. */
	if (READ_ONCE(r->gate) & MC_GATE_PUNCH)
		return -EBUSY;
	if (mutex_lock_killable(&r->gate_lock))
		return -EINTR;
	/* New writers are kept out by r->lock; a pin for writing outlives the mapping it was made through. */
	ret = atomic_read(&r->nr_writers) || atomic_read(&r->nr_exports) ? -EBUSY :
		mc_slices(r, 0, r->length, 0, NULL, mc_punch_pinned);
	if (!ret) {
		r->state |= MC_STATE_SEALED;
		if (r->writer) {
			r->writer->clean = true;
			r->state &= ~MC_STATE_DIRTY;
		}
	}
	mutex_unlock(&r->gate_lock);
	return ret;
}

static int mc_mark(struct mc_handle *h, struct mc_ioc_region_mark *a)
{
	struct mc_region *r = h->region;
	int ret = 0;

	lockdep_assert_held(&r->lock);
	if (r->state & MC_STATE_REVOKED)
		return -EKEYREVOKED;
	switch (a->op) {
	case MC_MARK_SEAL_WRITE:
		if (!(r->state & MC_STATE_SEALED))
			ret = mc_seal(r);
		break;
	case MC_MARK_CLEAN:
	case MC_MARK_DIRTY:
		if (!h->lease)
			return -EPERM;
		h->clean = a->op == MC_MARK_CLEAN;
		if (h->clean)
			r->state &= ~MC_STATE_DIRTY;
		break;
	}
	a->out_gen = r->gen;
	return ret;
}

int mc_region_mark(struct mc_call *call)
{
	struct mc_ioc_region_mark *a = call->arg;
	struct mc_handle *h = call->file->private_data;
	struct mc_region *r = h->region;
	u64 end;
	int ret;

	if (a->flags || a->fd != -1)
		return -EINVAL;
	switch (a->op) {
	case MC_MARK_COLD:
	case MC_MARK_HOT:
		return -EOPNOTSUPP;
	case MC_MARK_PUNCH:
		if (!a->length || !PAGE_ALIGNED(a->offset) || !PAGE_ALIGNED(a->length) ||
		    check_add_overflow(a->offset, a->length, &end) || end > r->length)
			return -EINVAL;
		break;
	case MC_MARK_SEAL_WRITE:
	case MC_MARK_CLEAN:
	case MC_MARK_DIRTY:
		if (a->offset || a->length)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (!(call->file->f_mode & FMODE_WRITE))
		return -EACCES;
	if ((a->op == MC_MARK_PUNCH || a->op == MC_MARK_SEAL_WRITE) && (!r->mem || r->adopted))
		return -EOPNOTSUPP;

	a->out_purged = 0;
	if (a->op == MC_MARK_PUNCH)
		return mc_punch(r, a);
	mutex_lock(&r->lock);
	ret = mc_mark(h, a);
	mutex_unlock(&r->lock);
	return ret;
}
