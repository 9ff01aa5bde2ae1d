// SPDX-License-Identifier: GPL-2.0-only
/* Quotas: every byte of a region is charged to the user who created it, until the region goes. */

#include <linux/capability.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "kmod.h"
#include "netlink.h"

struct mc_user {
	kuid_t uid;
	u64 bytes;
	unsigned int charges;
};

static unsigned long long max_region_bytes;
module_param(max_region_bytes, ullong, 0644);
MODULE_PARM_DESC(max_region_bytes, "Bytes of regions per user; 0: a quarter of memory. CAP_IPC_LOCK has no limit");

static DEFINE_MUTEX(mc_users_lock);
/* guarded by mc_users_lock */
static DEFINE_XARRAY(mc_users);		/* by uid in the initial user namespace */
static u64 mc_bytes;

void mc_user_set_limit(u64 bytes)
{
	WRITE_ONCE(max_region_bytes, bytes);
}

u64 mc_user_limit(void)
{
	u64 limit = READ_ONCE(max_region_bytes);

	return limit ? limit : (u64)totalram_pages() << PAGE_SHIFT >> 2;
}

bool mc_may_exceed_quota(void)
{
	return capable(CAP_IPC_LOCK);
}

struct mc_user *mc_user_charge(kuid_t uid, u64 bytes, bool unlimited)
{
	struct mc_user *user;
	u64 sum;
	int ret;

	mutex_lock(&mc_users_lock);
	user = xa_load(&mc_users, __kuid_val(uid));
	if (check_add_overflow(user ? user->bytes : 0, bytes, &sum) || (!unlimited && sum > mc_user_limit())) {
		mutex_unlock(&mc_users_lock);
		mc_nl_quota_event(uid, bytes);
		return ERR_PTR(-EDQUOT);
	}
	if (!user) {
		user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
		if (!user) {
			ret = -ENOMEM;
			goto err_unlock;
		}
		user->uid = uid;
		ret = xa_err(xa_store(&mc_users, __kuid_val(uid), user, GFP_KERNEL_ACCOUNT));
		if (ret) {
			kfree(user);
			goto err_unlock;
		}
	}
	user->bytes = sum;
	user->charges++;
	mc_bytes += bytes;
	mutex_unlock(&mc_users_lock);
	return user;

err_unlock:
	mutex_unlock(&mc_users_lock);
	return ERR_PTR(ret);
}

void mc_user_uncharge(struct mc_user *user, u64 bytes)
{
	mutex_lock(&mc_users_lock);
	user->bytes -= bytes;
	mc_bytes -= bytes;
	if (!--user->charges) {
		xa_erase(&mc_users, __kuid_val(user->uid));
		kfree(user);
	}
	mutex_unlock(&mc_users_lock);
}

u64 mc_user_bytes(kuid_t uid)
{
	struct mc_user *user;
	u64 bytes;

	mutex_lock(&mc_users_lock);
	user = xa_load(&mc_users, __kuid_val(uid));
	bytes = user ? user->bytes : 0;
	mutex_unlock(&mc_users_lock);
	return bytes;
}

bool mc_user_next(unsigned long *uid, u64 *bytes, u32 *charges)
{
	struct mc_user *user;

	mutex_lock(&mc_users_lock);
	user = xa_find(&mc_users, uid, U32_MAX, XA_PRESENT);
	if (user) {
		*bytes = user->bytes;
		*charges = user->charges;
	}
	mutex_unlock(&mc_users_lock);
	return user;
}

u64 mc_total_bytes(void)
{
	u64 bytes;

	mutex_lock(&mc_users_lock);
	bytes = mc_bytes;
	mutex_unlock(&mc_users_lock);
	return bytes;
}
