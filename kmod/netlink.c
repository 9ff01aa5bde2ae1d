// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generic netlink family of <linux/mooncake_netlink.h>.
 *
 * Whose objects a caller may see is decided by the user who sent the request, as a dump goes on in whatever process reads
 * the socket; netlink_capable() asks both the socket's opener and the calling task.
 */

#include <linux/capability.h>
#include <linux/mooncake_netlink.h>
#include <linux/ratelimit.h>
#include <net/genetlink.h>

#include "compat.h"
#include "cq.h"
#include "netlink.h"

enum { MC_GROUP_EVENTS, MC_GROUP_RDMA };

static struct genl_family mc_nl_family;

static bool mc_nl_admin(struct sk_buff *request)
{
	return netlink_capable(request, CAP_SYS_ADMIN);
}

static bool mc_nl_may_see(struct sk_buff *request, kuid_t uid)
{
	return uid_eq(NETLINK_CREDS(request)->uid, uid) || mc_nl_admin(request);
}

static int mc_nl_put_u64(struct sk_buff *skb, int type, u64 value)
{
	return nla_put_u64_64bit(skb, type, value, MC_NL_A_PAD);
}

static int mc_nl_put_uid(struct sk_buff *skb, kuid_t uid)
{
	return nla_put_u32(skb, MC_NL_A_UID, from_kuid_munged(current_user_ns(), uid));
}

/* ---- regions ---- */

static int mc_nl_put_region(struct sk_buff *skb, struct mc_region *r, bool memory)
{
	struct mc_ioc_region_info i = {};
	char name[MC_NAME_MAX + 1];

	mc_info_read(r, &i, name, memory);
	if (mc_nl_put_u64(skb, MC_NL_A_ID, i.id) || mc_nl_put_u64(skb, MC_NL_A_LENGTH, i.length) ||
	    nla_put_u32(skb, MC_NL_A_STATE, i.state) || nla_put_u32(skb, MC_NL_A_BACKING, i.backing) ||
	    nla_put_u32(skb, MC_NL_A_PAGE_SHIFT, i.page_shift) || nla_put_s32(skb, MC_NL_A_NODE, i.node) ||
	    mc_nl_put_u64(skb, MC_NL_A_EPOCH, i.epoch) || mc_nl_put_u64(skb, MC_NL_A_GEN, i.gen) ||
	    nla_put_u32(skb, MC_NL_A_NR_FDS, i.nr_fds) || nla_put_u32(skb, MC_NL_A_NR_VMAS, i.nr_vmas) ||
	    nla_put_u32(skb, MC_NL_A_NR_ATTACH, i.nr_attach) || nla_put_u32(skb, MC_NL_A_UID, i.uid) ||
	    nla_put_u32(skb, MC_NL_A_GID, i.gid))
		return -EMSGSIZE;
	if (name[0] && (nla_put_string(skb, MC_NL_A_NAME, name) || nla_put_u32(skb, MC_NL_A_MODE, i.mode)))
		return -EMSGSIZE;
	if (i.owner_pid && nla_put_u32(skb, MC_NL_A_PID, i.owner_pid))
		return -EMSGSIZE;
	if (memory && (mc_nl_put_u64(skb, MC_NL_A_RESIDENT, i.resident) || mc_nl_put_u64(skb, MC_NL_A_HUGE, i.huge) ||
		       mc_nl_put_u64(skb, MC_NL_A_PINNED, i.pinned)))
		return -EMSGSIZE;
	return 0;
}

/* The region that the request names by its id, if the caller may see it; a reference. */
static struct mc_region *mc_nl_region(struct sk_buff *skb, struct genl_info *info)
{
	struct mc_region *r;

	if (!info->attrs[MC_NL_A_ID]) {
		GENL_SET_ERR_MSG(info, "which region? ID is missing");
		return ERR_PTR(-EINVAL);
	}
	r = mc_region_by_id(nla_get_u64(info->attrs[MC_NL_A_ID]));
	if (!IS_ERR(r) && !mc_nl_may_see(skb, mc_name_uid(&r->name))) {
		mc_region_put(r);
		r = ERR_PTR(-ENOENT);
	}
	return r;
}

static struct sk_buff *mc_nl_reply(struct genl_info *info, u8 cmd, void **head)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);

	if (!skb)
		return NULL;
	*head = genlmsg_put_reply(skb, info, &mc_nl_family, 0, cmd);
	if (*head)
		return skb;
	nlmsg_free(skb);
	return NULL;
}

/* Sends @skb, or frees it when @ret says that it did not get its contents. */
static int mc_nl_send(struct genl_info *info, struct sk_buff *skb, void *head, int ret)
{
	if (ret) {
		nlmsg_free(skb);
		return ret;
	}
	genlmsg_end(skb, head);
	return genlmsg_reply(skb, info);
}

static int mc_nl_region_get(struct sk_buff *request, struct genl_info *info)
{
	struct mc_region *r = mc_nl_region(request, info);
	struct sk_buff *skb;
	void *head;
	int ret = -ENOMEM;

	if (IS_ERR(r))
		return PTR_ERR(r);
	skb = mc_nl_reply(info, MC_NL_CMD_REGION_GET, &head);
	if (skb)
		ret = mc_nl_send(info, skb, head, mc_nl_put_region(skb, r, true));
	mc_region_put(r);
	return ret;
}

static int mc_nl_region_revoke(struct sk_buff *request, struct genl_info *info)
{
	struct mc_region *r;
	struct sk_buff *skb;
	u64 pinned;
	void *head;
	int ret;

	if (!mc_nl_admin(request))
		return -EPERM;
	r = mc_nl_region(request, info);
	if (IS_ERR(r))
		return PTR_ERR(r);
	/* Memory for the answer first: a call that fails has changed nothing. */
	skb = mc_nl_reply(info, MC_NL_CMD_REGION_REVOKE, &head);
	if (!skb) {
		mc_region_put(r);
		return -ENOMEM;
	}
	mc_nl_put_u64(skb, MC_NL_A_ID, r->id);
	ret = mc_revoke(r, &pinned);
	mc_region_put(r);
	mc_nl_put_u64(skb, MC_NL_A_PINNED, pinned);
	return mc_nl_send(info, skb, head, ret);
}

static int mc_nl_region_rm(struct sk_buff *request, struct genl_info *info)
{
	struct mc_region *r;
	int ret;

	if (!mc_nl_admin(request))
		return -EPERM;
	r = mc_nl_region(request, info);
	if (IS_ERR(r))
		return PTR_ERR(r);
	ret = mc_region_rm(r);
	if (ret)
		GENL_SET_ERR_MSG(info, "the region has no name");
	mc_region_put(r);
	return ret;
}

/* ---- dumps: each message is complete; args[0] says where the next one starts ---- */

/* Of commands that can be a do with an id as well: one that dumps names none. */
static int mc_nl_dump_start(struct netlink_callback *cb)
{
	return nlmsg_attrlen(cb->nlh, GENL_HDRLEN) ? -EINVAL : 0;
}

static void *mc_nl_dump_put(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd)
{
	return genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &mc_nl_family, NLM_F_MULTI, cmd);
}

/* True when the message at @head is finished, false when the rest has to wait for the next buffer. */
static bool mc_nl_dump_end(struct sk_buff *skb, void *head, int ret)
{
	if (!head)
		return false;
	if (ret) {
		genlmsg_cancel(skb, head);
		return false;
	}
	genlmsg_end(skb, head);
	return true;
}

static int mc_nl_region_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct mc_region *r;
	bool ok = true;
	void *head;

	while (ok && !IS_ERR(r = mc_region_next(cb->args[0]))) {
		if (mc_nl_may_see(cb->skb, mc_name_uid(&r->name))) {
			head = mc_nl_dump_put(skb, cb, MC_NL_CMD_REGION_GET);
			ok = mc_nl_dump_end(skb, head, head ? mc_nl_put_region(skb, r, false) : 0);
		}
		if (ok)
			cb->args[0] = r->id;
		mc_region_put(r);
	}
	return skb->len;
}

static int mc_nl_put_ctx(struct sk_buff *skb, const struct mc_ctx_info *c)
{
	return mc_nl_put_u64(skb, MC_NL_A_ID, c->id) || mc_nl_put_uid(skb, c->uid) ||
	       (c->pid && nla_put_u32(skb, MC_NL_A_PID, c->pid)) ||
	       (c->mask && mc_nl_put_u64(skb, MC_NL_A_EVENT_MASK, c->mask)) ? -EMSGSIZE : 0;
}

static int mc_nl_ctx_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct mc_ctx_info c;
	bool ok = true;
	void *head;

	while (ok && mc_ctx_next(cb->args[0], &c)) {
		if (mc_nl_may_see(cb->skb, c.uid)) {
			head = mc_nl_dump_put(skb, cb, MC_NL_CMD_CTX_GET);
			ok = mc_nl_dump_end(skb, head, head ? mc_nl_put_ctx(skb, &c) : 0);
		}
		if (ok)
			cb->args[0] = c.id;
	}
	return skb->len;
}

static int mc_nl_put_cq(struct sk_buff *skb, struct mc_cq *cq)
{
	char name[MC_NAME_MAX + 1];
	u32 pid = mc_name_pid(&cq->name);
	kuid_t uid;
	umode_t mode;

	mutex_lock(&mc_names_lock);
	strscpy(name, cq->name.text, sizeof(name));
	uid = cq->name.uid;
	mode = cq->name.mode;
	mutex_unlock(&mc_names_lock);
	if (mc_nl_put_u64(skb, MC_NL_A_ID, cq->name.id) || mc_nl_put_uid(skb, uid) ||
	    mc_nl_put_u64(skb, MC_NL_A_LENGTH, cq->ring_size) || nla_put_u32(skb, MC_NL_A_ENTRIES, cq->entries) ||
	    nla_put_u32(skb, MC_NL_A_READY, mc_cq_used(cq)) || nla_put_u32(skb, MC_NL_A_OVERFLOW, cq->overflow) ||
	    nla_put_u32(skb, MC_NL_A_KFLAGS, READ_ONCE(cq->kflags)) ||
	    nla_put_u32(skb, MC_NL_A_POSTERS, READ_ONCE(cq->posters)) ||
	    mc_nl_put_u64(skb, MC_NL_A_DROPPED, READ_ONCE(cq->dropped)))
		return -EMSGSIZE;
	if (name[0] && (nla_put_string(skb, MC_NL_A_NAME, name) || nla_put_u32(skb, MC_NL_A_MODE, mode)))
		return -EMSGSIZE;
	return pid && nla_put_u32(skb, MC_NL_A_PID, pid) ? -EMSGSIZE : 0;
}

static int mc_nl_cq_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct mc_cq *cq;
	bool ok = true;
	void *head;

	while (ok && !IS_ERR(cq = mc_cq_next(cb->args[0]))) {
		if (mc_nl_may_see(cb->skb, mc_name_uid(&cq->name))) {
			head = mc_nl_dump_put(skb, cb, MC_NL_CMD_CQ_GET);
			ok = mc_nl_dump_end(skb, head, head ? mc_nl_put_cq(skb, cq) : 0);
		}
		if (ok)
			cb->args[0] = cq->name.id;
		mc_cq_put(cq);
	}
	return skb->len;
}

static int mc_nl_put_rdma(struct sk_buff *skb, const struct mc_rdma_dev *dev)
{
	return nla_put_u32(skb, MC_NL_A_RDMA_INDEX, dev->index) || nla_put_string(skb, MC_NL_A_RDMA_NAME, dev->name) ||
	       (dev->parent[0] && nla_put_string(skb, MC_NL_A_RDMA_PARENT, dev->parent)) ||
	       nla_put_s32(skb, MC_NL_A_NODE, dev->node) || nla_put_u32(skb, MC_NL_A_RDMA_PORTS, dev->nr_ports) ||
	       mc_nl_put_u64(skb, MC_NL_A_RDMA_PORTS_UP, dev->ports_up) ? -EMSGSIZE : 0;
}

static int mc_nl_rdma_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	unsigned long index = cb->args[0];
	struct mc_rdma_dev dev;
	bool ok = true;
	void *head;

	while (ok && mc_rdma_next(&index, &dev)) {
		head = mc_nl_dump_put(skb, cb, MC_NL_CMD_RDMA_DEV_GET);
		ok = mc_nl_dump_end(skb, head, head ? mc_nl_put_rdma(skb, &dev) : 0);
		if (ok)
			cb->args[0] = ++index;
	}
	return skb->len;
}

static int mc_nl_put_sums(struct sk_buff *skb)
{
	return nla_put_u32(skb, MC_NL_A_REGIONS, mc_region_count()) || nla_put_u32(skb, MC_NL_A_QUEUES, mc_cq_count()) ||
	       nla_put_u32(skb, MC_NL_A_CONTEXTS, mc_ctx_count()) ||
	       mc_nl_put_u64(skb, MC_NL_A_BYTES_ALLOCATED, mc_total_bytes()) ||
	       mc_nl_put_u64(skb, MC_NL_A_BYTES_PINNED, mc_pinned_bytes()) ||
	       mc_nl_put_u64(skb, MC_NL_A_QUOTA, mc_user_limit()) ? -EMSGSIZE : 0;
}

/* args[0]: 0 the sums, else one more than the uid to go on at. */
static int mc_nl_stats_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	unsigned long uid;
	bool ok = true;
	u32 charges;
	void *head;
	u64 bytes;

	if (!cb->args[0]) {
		head = mc_nl_dump_put(skb, cb, MC_NL_CMD_STATS_GET);
		if (!mc_nl_dump_end(skb, head, head ? mc_nl_put_sums(skb) : 0))
			return skb->len;
		cb->args[0] = 1;
	}
	uid = cb->args[0] - 1;
	while (ok && mc_user_next(&uid, &bytes, &charges)) {
		if (mc_nl_may_see(cb->skb, KUIDT_INIT(uid))) {
			head = mc_nl_dump_put(skb, cb, MC_NL_CMD_STATS_GET);
			ok = mc_nl_dump_end(skb, head, head && (mc_nl_put_uid(skb, KUIDT_INIT(uid)) ||
				mc_nl_put_u64(skb, MC_NL_A_BYTES_ALLOCATED, bytes) ||
				nla_put_u32(skb, MC_NL_A_CHARGES, charges)) ? -EMSGSIZE : 0);
		}
		if (ok)
			cb->args[0] = ++uid + 1;
	}
	return skb->len;
}

static int mc_nl_get_info(struct sk_buff *request, struct genl_info *info)
{
	struct sk_buff *skb;
	void *head;

	skb = mc_nl_reply(info, MC_NL_CMD_GET_INFO, &head);
	if (!skb)
		return -ENOMEM;
	return mc_nl_send(info, skb, head, nla_put_u32(skb, MC_NL_A_ABI_MAJOR, MC_ABI_MAJOR) ||
		nla_put_u32(skb, MC_NL_A_ABI_MINOR, MC_ABI_MINOR) ||
		mc_nl_put_u64(skb, MC_NL_A_FEATURES, mc_features(0)) ||
		mc_nl_put_u64(skb, MC_NL_A_FEATURES_HIGH, mc_features(1)) ||
		nla_put(skb, MC_NL_A_INSTANCE, sizeof(mc_instance), mc_instance) ? -EMSGSIZE : 0);
}

/* ---- events ---- */

/* A message for @group, or NULL when nobody listens. */
static struct sk_buff *mc_nl_event(unsigned int group, s32 what, void **head)
{
	struct sk_buff *skb;

	if (!genl_has_listeners(&mc_nl_family, &init_net, group))
		return NULL;
	skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!skb)
		return NULL;
	*head = genlmsg_put(skb, 0, 0, &mc_nl_family, 0, MC_NL_CMD_EVENT);
	if (*head && !nla_put_u32(skb, MC_NL_A_EVENT, what))
		return skb;
	nlmsg_free(skb);
	return NULL;
}

static void mc_nl_multicast(struct sk_buff *skb, void *head, unsigned int group, int ret)
{
	if (ret) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, head);
	genlmsg_multicast_netns(&mc_nl_family, &init_net, skb, 0, group, GFP_KERNEL);
}

void mc_nl_region_event(struct mc_region *r, const char *name, s32 what)
{
	struct sk_buff *skb;
	void *head;
	int ret;

	skb = mc_nl_event(MC_GROUP_EVENTS, what, &head);
	if (!skb)
		return;
	ret = mc_nl_put_region(skb, r, false);
	if (!ret && name)
		ret = nla_put_string(skb, MC_NL_A_NAME, name);
	mc_nl_multicast(skb, head, MC_GROUP_EVENTS, ret);
}

void mc_nl_rdma_event(const struct mc_rdma_dev *dev, u32 port, s32 what)
{
	struct sk_buff *skb;
	void *head;
	int ret;

	skb = mc_nl_event(MC_GROUP_RDMA, what, &head);
	if (!skb)
		return;
	ret = mc_nl_put_rdma(skb, dev);
	if (!ret && port)
		ret = nla_put_u32(skb, MC_NL_A_RDMA_PORT, port);
	mc_nl_multicast(skb, head, MC_GROUP_RDMA, ret);
}

void mc_nl_queue_event(u64 id, kuid_t uid, const char *text, s32 what)
{
	struct sk_buff *skb;
	void *head;

	skb = mc_nl_event(MC_GROUP_EVENTS, what, &head);
	if (skb)
		mc_nl_multicast(skb, head, MC_GROUP_EVENTS, mc_nl_put_u64(skb, MC_NL_A_ID, id) ||
				mc_nl_put_uid(skb, uid) || nla_put_string(skb, MC_NL_A_NAME, text));
}

void mc_nl_quota_event(kuid_t uid, u64 bytes)
{
	/* A user who asks again and again does not fill the listeners' buffers. */
	static struct ratelimit_state limit = RATELIMIT_STATE_INIT_FLAGS(limit, HZ, 20, RATELIMIT_MSG_ON_RELEASE);
	struct sk_buff *skb;
	void *head;

	if (!__ratelimit(&limit))
		return;
	skb = mc_nl_event(MC_GROUP_EVENTS, MC_EV_QUOTA, &head);
	if (skb)
		mc_nl_multicast(skb, head, MC_GROUP_EVENTS,
				mc_nl_put_uid(skb, uid) || mc_nl_put_u64(skb, MC_NL_A_LENGTH, bytes) ||
				mc_nl_put_u64(skb, MC_NL_A_BYTES_ALLOCATED, mc_user_bytes(uid)) ||
				mc_nl_put_u64(skb, MC_NL_A_QUOTA, mc_user_limit()));
}

/* ---- the family ---- */

static const struct nla_policy mc_nl_no_policy[MC_NL_A_ID + 1] = {
	[MC_NL_A_ID] = { .type = NLA_REJECT },
};

static const struct nla_policy mc_nl_id_policy[MC_NL_A_ID + 1] = {
	[MC_NL_A_ID] = { .type = NLA_U64 },
};

#define MC_NL_OP(nr, attrs, ...) { .cmd = MC_NL_CMD_##nr, .policy = (attrs), .maxattr = MC_NL_A_ID, __VA_ARGS__ }

static const struct genl_ops mc_nl_ops[] = {
	MC_NL_OP(GET_INFO, mc_nl_no_policy, .doit = mc_nl_get_info),
	MC_NL_OP(REGION_GET, mc_nl_id_policy, .doit = mc_nl_region_get, .start = mc_nl_dump_start,
		 .dumpit = mc_nl_region_dump),
	MC_NL_OP(REGION_REVOKE, mc_nl_id_policy, .doit = mc_nl_region_revoke),
	MC_NL_OP(REGION_RM, mc_nl_id_policy, .doit = mc_nl_region_rm),
	MC_NL_OP(CTX_GET, mc_nl_no_policy, .dumpit = mc_nl_ctx_dump),
	MC_NL_OP(CQ_GET, mc_nl_no_policy, .dumpit = mc_nl_cq_dump),
	MC_NL_OP(RDMA_DEV_GET, mc_nl_no_policy, .dumpit = mc_nl_rdma_dump),
	MC_NL_OP(STATS_GET, mc_nl_no_policy, .dumpit = mc_nl_stats_dump),
};

static const struct genl_multicast_group mc_nl_groups[] = {
	[MC_GROUP_EVENTS] = { .name = MC_NL_GROUP_EVENTS, .flags = MC_MCAST_ADMIN },
	[MC_GROUP_RDMA] = { .name = MC_NL_GROUP_RDMA },
};

static struct genl_family mc_nl_family __ro_after_init = {
	.name = MC_NL_FAMILY,
	.version = MC_NL_VERSION,
	.maxattr = MC_NL_A_ID,
	.module = THIS_MODULE,
	.ops = mc_nl_ops,
	.n_ops = ARRAY_SIZE(mc_nl_ops),
	.mcgrps = mc_nl_groups,
	.n_mcgrps = ARRAY_SIZE(mc_nl_groups),
	.resv_start_op = MC_NL_CMD_GET_INFO,
	/* A revocation takes its time, which is nothing to other families. */
	.parallel_ops = true,
};

int mc_nl_init(void)
{
	return genl_register_family(&mc_nl_family);
}

void mc_nl_exit(void)
{
	genl_unregister_family(&mc_nl_family);
}
