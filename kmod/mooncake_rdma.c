// SPDX-License-Identifier: GPL-2.0-only
/* mooncake_rdma.ko: watches RDMA devices and their ports, and tells mooncake.ko. It needs nothing of a device but its name. */

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/mooncake.h>
#include <rdma/ib_verbs.h>

#include "compat.h"
#include "rdma.h"

struct mcr {
	struct ib_event_handler handler;
};

static struct ib_client mcr_client;

/* Process context, since 5.7; never after ib_unregister_event_handler() has returned. */
static void mcr_event(struct ib_event_handler *handler, struct ib_event *event)
{
	u32 port = event->element.port_num;
	s32 what;

	switch (event->event) {
	case IB_EVENT_PORT_ACTIVE:
		what = MC_EV_RDMA_PORT_UP;
		break;
	case IB_EVENT_PORT_ERR:
		what = MC_EV_RDMA_PORT_DOWN;
		break;
	case IB_EVENT_LID_CHANGE:
	case IB_EVENT_PKEY_CHANGE:
	case IB_EVENT_GID_CHANGE:
		what = MC_EV_RDMA_PORT_CHANGE;
		break;
	case IB_EVENT_DEVICE_FATAL:
		what = MC_EV_RDMA_FATAL;
		port = 0;
		break;
	default:
		return;
	}
	mc_rdma_port(event->device->index, port, what);
}

static u64 mcr_ports_up(struct ib_device *ibdev)
{
	struct ib_port_attr attr;
	u64 up = 0;
	u32 port;

	rdma_for_each_port(ibdev, port)
		if (port <= 64 && !ib_query_port(ibdev, port, &attr) && attr.state == IB_PORT_ACTIVE)
			up |= BIT_ULL(port - 1);
	return up;
}

static int mcr_add(struct ib_device *ibdev)
{
	struct device *parent = ibdev->dev.parent;
	struct mc_rdma_dev dev = {
		.index = ibdev->index,
		.node = NUMA_NO_NODE,
		.nr_ports = ibdev->phys_port_cnt,
		.ports_up = mcr_ports_up(ibdev),
	};
	struct mcr *m;
	int ret;

	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	strscpy(dev.name, dev_name(&ibdev->dev), sizeof(dev.name));
	if (parent) {
		dev.node = dev_to_node(parent);
		strscpy(dev.parent, dev_name(parent), sizeof(dev.parent));
	}
	ret = mc_rdma_add(&dev);
	if (ret) {
		kfree(m);
		return ret;
	}
	ib_set_client_data(ibdev, &mcr_client, m);
	INIT_IB_EVENT_HANDLER(&m->handler, ibdev, mcr_event);
	ib_register_event_handler(&m->handler);
	return 0;
}

static void mcr_remove(struct ib_device *ibdev, void *data)
{
	struct mcr *m = data;

	ib_unregister_event_handler(&m->handler);
	mc_rdma_remove(ibdev->index);
	kfree(m);
}

static void mcr_rename(struct ib_device *ibdev, void *data)
{
	mc_rdma_rename(ibdev->index, dev_name(&ibdev->dev));
}

static struct ib_client mcr_client = {
	.name = "mooncake",
	.add = mcr_add,
	.remove = mcr_remove,
	.rename = mcr_rename,
	.no_kverbs_req = 1,
};

static int __init mcr_init(void)
{
	return ib_register_client(&mcr_client);
}

static void __exit mcr_exit(void)
{
	ib_unregister_client(&mcr_client);
}

module_init(mcr_init);
module_exit(mcr_exit);
MODULE_DESCRIPTION("Mooncake: RDMA devices that come and go");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
MC_IMPORT_NS_MOONCAKE;
