// SPDX-License-Identifier: GPL-2.0-only
/* The RDMA devices that mooncake_rdma.ko has told of, and passing on what happens to them. */

#include <linux/slab.h>
#include <linux/xarray.h>

#include "compat.h"
#include "kmod.h"
#include "netlink.h"
#include "trace.h"

/* Serialises events too, so that everybody hears them in the order in which the list changed. */
static DEFINE_MUTEX(mc_rdma_lock);
static DEFINE_XARRAY(mc_rdma_devs);	/* by index, guarded by mc_rdma_lock */

static const char *mc_rdma_what(s32 what)
{
	switch (what) {
	case MC_EV_RDMA_ADD:
		return "MC_EVENT=rdma_add";
	case MC_EV_RDMA_REMOVE:
		return "MC_EVENT=rdma_remove";
	case MC_EV_RDMA_RENAME:
		return "MC_EVENT=rdma_rename";
	case MC_EV_RDMA_PORT_UP:
		return "MC_EVENT=rdma_port_up";
	case MC_EV_RDMA_PORT_DOWN:
		return "MC_EVENT=rdma_port_down";
	case MC_EV_RDMA_FATAL:
		return "MC_EVENT=rdma_fatal";
	}
	return NULL;			/* address changes come in floods */
}

static void mc_rdma_uevent(const struct mc_rdma_dev *dev, u32 port, s32 what)
{
	char name[80], node[32], at[32], *env[5] = { (char *)mc_rdma_what(what), name, node };

	if (!env[0])
		return;
	snprintf(name, sizeof(name), "MC_DEV=%s", dev->name);
	snprintf(node, sizeof(node), "MC_NODE=%d", dev->node);
	if (port) {
		snprintf(at, sizeof(at), "MC_PORT=%u", port);
		env[3] = at;
	}
	mc_dev_uevent(env);
}

static void mc_rdma_tell(const struct mc_rdma_dev *dev, u32 port, s32 what)
{
	lockdep_assert_held(&mc_rdma_lock);
	mc_event_rdma(dev->index, port, what);
	mc_nl_rdma_event(dev, port, what);
	mc_rdma_uevent(dev, port, what);
	trace_mc_rdma_event(dev->index, dev->name, port, what);
}

int mc_rdma_add(const struct mc_rdma_dev *dev)
{
	struct mc_rdma_dev *copy = kmemdup(dev, sizeof(*dev), GFP_KERNEL);
	int ret;

	if (!copy)
		return -ENOMEM;
	mutex_lock(&mc_rdma_lock);
	ret = xa_insert(&mc_rdma_devs, dev->index, copy, GFP_KERNEL);
	if (ret)
		kfree(copy);
	else
		mc_rdma_tell(copy, 0, MC_EV_RDMA_ADD);
	mutex_unlock(&mc_rdma_lock);
	return ret;
}
MC_EXPORT(mc_rdma_add);

void mc_rdma_remove(u32 index)
{
	struct mc_rdma_dev *dev;

	mutex_lock(&mc_rdma_lock);
	dev = xa_erase(&mc_rdma_devs, index);
	if (dev)
		mc_rdma_tell(dev, 0, MC_EV_RDMA_REMOVE);
	mutex_unlock(&mc_rdma_lock);
	kfree(dev);
}
MC_EXPORT(mc_rdma_remove);

void mc_rdma_rename(u32 index, const char *name)
{
	struct mc_rdma_dev *dev;

	mutex_lock(&mc_rdma_lock);
	dev = xa_load(&mc_rdma_devs, index);
	if (dev) {
		strscpy(dev->name, name, sizeof(dev->name));
		mc_rdma_tell(dev, 0, MC_EV_RDMA_RENAME);
	}
	mutex_unlock(&mc_rdma_lock);
}
MC_EXPORT(mc_rdma_rename);

void mc_rdma_port(u32 index, u32 port, s32 what)
{
	const u64 bit = port && port <= 64 ? BIT_ULL(port - 1) : 0;
	struct mc_rdma_dev *dev;

	mutex_lock(&mc_rdma_lock);
	dev = xa_load(&mc_rdma_devs, index);
	if (dev) {
		if (what == MC_EV_RDMA_PORT_UP)
			dev->ports_up |= bit;
		else if (what == MC_EV_RDMA_PORT_DOWN)
			dev->ports_up &= ~bit;
		mc_rdma_tell(dev, port, what);
	}
	mutex_unlock(&mc_rdma_lock);
}
MC_EXPORT(mc_rdma_port);

bool mc_rdma_next(unsigned long *index, struct mc_rdma_dev *out)
{
	struct mc_rdma_dev *dev;

	mutex_lock(&mc_rdma_lock);
	dev = xa_find(&mc_rdma_devs, index, U32_MAX, XA_PRESENT);
	if (dev)
		*out = *dev;
	mutex_unlock(&mc_rdma_lock);
	return dev;
}
