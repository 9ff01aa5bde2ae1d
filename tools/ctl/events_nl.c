// SPDX-License-Identifier: Apache-2.0
/*
 * events: what the kernel module tells, line by line, until interrupted. It comes by netlink; region and queue events there
 * are for administrators, so that others hear of their own regions through a completion queue of /dev/mooncake.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mooncake.h>
#include <linux/mooncake_netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

struct watch {
	struct ctl *c;
	struct nl_sock *sock;
	int64_t left; /* events still to be told */
	bool admin;   /* netlink tells of all regions */
	/* where it does not: */
	int cq_fd, ctx_fd;
	struct mc_cq_ring *ring;
	size_t ring_size;
};

struct kind {
	uint32_t event;
	const char *object, *what;
};

static const struct kind kinds[] = {
	{ MC_EV_PUBLISHED, "region", "published" },
	{ MC_EV_UNPUBLISHED, "region", "unpublished" },
	{ MC_EV_REVOKED, "region", "revoked" },
	{ MC_EV_LEASE_CLEAN, "region", "writer left, clean" },
	{ MC_EV_LEASE_DIRTY, "region", "writer left, dirty" },
	{ MC_EV_RDMA_ADD, "rdma", "added" },
	{ MC_EV_RDMA_REMOVE, "rdma", "removed" },
	{ MC_EV_RDMA_RENAME, "rdma", "renamed" },
	{ MC_EV_RDMA_PORT_UP, "rdma", "port up" },
	{ MC_EV_RDMA_PORT_DOWN, "rdma", "port down" },
	{ MC_EV_RDMA_PORT_CHANGE, "rdma", "port changed" },
	{ MC_EV_RDMA_FATAL, "rdma", "failed" },
	{ MC_EV_QUOTA, "user", "refused memory" },
	{ MC_EV_QUEUE_PUBLISHED, "queue", "published" },
	{ MC_EV_QUEUE_UNPUBLISHED, "queue", "unpublished" },
};

static struct kind kind_of(uint32_t event)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].event == event)
			return kinds[i];
	return (struct kind){ event, "unknown", "event" };
}

/* What is told of an event besides itself; how a number is meant follows its name. */
static const struct field {
	int attr;
	const char *name;
	enum { NUMBER, SIGNED, BYTES, TEXT, OCTAL } as;
} fields[] = {
	{ MC_NL_A_ID, "id", NUMBER },
	{ MC_NL_A_NAME, "name", TEXT },
	{ MC_NL_A_RDMA_NAME, "device", TEXT },
	{ MC_NL_A_RDMA_INDEX, "index", NUMBER },
	{ MC_NL_A_RDMA_PORT, "port", NUMBER },
	{ MC_NL_A_RDMA_PARENT, "parent", TEXT },
	{ MC_NL_A_NODE, "node", SIGNED },
	{ MC_NL_A_LENGTH, "length", BYTES },
	{ MC_NL_A_UID, "uid", NUMBER },
	{ MC_NL_A_MODE, "mode", OCTAL },
	{ MC_NL_A_EPOCH, "epoch", NUMBER },
	{ MC_NL_A_BYTES_ALLOCATED, "allocated", BYTES },
	{ MC_NL_A_QUOTA, "quota", BYTES },
};

static uint64_t number(struct nlattr *a)
{
	return nla_len(a) >= 8 ? nla_get_u64(a) : nla_get_u32(a);
}

/* ---- telling ---- */

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

static void print_time(void)
{
	uint64_t now = wall_ns();
	time_t s = (time_t)(now / NSEC_PER_SEC);
	char text[16];
	struct tm tm;

	localtime_r(&s, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	printf("%s.%03" PRIu64 " ", text, now % NSEC_PER_SEC / NSEC_PER_MSEC);
}

static void print_field(const struct field *f, struct nlattr *a)
{
	switch (f->as) {
	case NUMBER:
		printf("  %s %" PRIu64, f->name, number(a));
		break;
	case SIGNED:
		/* A device that belongs to no node is none people need to hear of. */
		if ((int32_t)number(a) >= 0)
			printf("  %s %d", f->name, (int32_t)number(a));
		break;
	case BYTES:
		printf("  %s %s", f->name, human_bytes(number(a)).text);
		break;
	case TEXT:
		printf("  %s %s", f->name, nla_get_string(a));
		break;
	case OCTAL:
		printf("  %s %04o", f->name, (unsigned)number(a));
		break;
	}
}

static void json_field(struct json_object *o, const struct field *f, struct nlattr *a)
{
	struct json_object *v;

	if (f->as == TEXT)
		v = json_object_new_string(nla_get_string(a));
	else if (f->as == SIGNED)
		v = json_object_new_int((int32_t)number(a));
	else
		v = json_object_new_uint64(number(a));
	json_object_object_add(o, f->name, v);
}

/* One line, out at once: whoever reads a pipe wants it now. */
static void tell(struct watch *w, uint32_t event, struct nlattr **attrs)
{
	struct kind k = kind_of(event);
	struct json_object *o = NULL;

	if (w->left <= 0)
		return;
	w->left--;
	if (w->c->opt.json) {
		o = json_object_new_object();
		json_object_object_add(o, "time_ns", json_object_new_uint64(wall_ns()));
		json_object_object_add(o, "object", json_object_new_string(k.object));
		json_object_object_add(o, "what", json_object_new_string(k.what));
		json_object_object_add(o, "event", json_object_new_int((int)event));
	} else {
		print_time();
		printf("%s %s", k.object, k.what);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct nlattr *a = attrs[fields[i].attr];

		if (!a)
			continue;
		if (o)
			json_field(o, &fields[i], a);
		else
			print_field(&fields[i], a);
	}
	if (o) {
		printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
		json_object_put(o);
	} else {
		putchar('\n');
	}
	fflush(stdout);
}

/* ---- netlink ---- */

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[MC_NL_A_MAX + 1];
	struct genlmsghdr *g = nlmsg_data(nlmsg_hdr(msg));
	struct watch *w = arg;

	if (g->cmd != MC_NL_CMD_EVENT || genlmsg_parse(nlmsg_hdr(msg), 0, attrs, MC_NL_A_MAX, NULL) || !attrs[MC_NL_A_EVENT])
		return NL_SKIP;
	tell(w, nla_get_u32(attrs[MC_NL_A_EVENT]), attrs);
	return NL_OK;
}

static int join(struct watch *w, const char *group)
{
	int id = genl_ctrl_resolve_grp(w->sock, MC_NL_FAMILY, group);

	return id < 0 ? id : nl_socket_add_membership(w->sock, id);
}

static int open_netlink(struct watch *w)
{
	int ret;

	w->sock = nl_socket_alloc();
	if (!w->sock)
		return fail(w->c, -ENOMEM, "netlink");
	ret = genl_connect(w->sock);
	if (ret)
		return fail(w->c, 0, "netlink: %s", nl_geterror(ret));
	ret = genl_ctrl_resolve(w->sock, MC_NL_FAMILY);
	if (ret == -NLE_OBJ_NOTFOUND)
		return fail(w->c, 0, "the kernel module is not loaded, or this is a network namespace of its own: modprobe mooncake");
	if (ret < 0)
		return fail(w->c, 0, "netlink family %s: %s", MC_NL_FAMILY, nl_geterror(ret));
	nl_socket_disable_seq_check(w->sock);
	nl_socket_modify_cb(w->sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, w);
	nl_socket_set_nonblocking(w->sock);
	/* What does not fit is lost, and said so. */
	nl_socket_set_buffer_size(w->sock, 1 << 20, 0);
	ret = join(w, MC_NL_GROUP_RDMA);
	if (ret)
		return fail(w->c, 0, "group %s: %s", MC_NL_GROUP_RDMA, nl_geterror(ret));
	w->admin = !join(w, MC_NL_GROUP_EVENTS);
	return EXIT_OK;
}

/* ---- one's own regions, for who is no administrator ---- */

static int subscribe(struct watch *w)
{
	struct mc_ioc_cq_create q = { .size = sizeof(q), .entries = 4096, .eventfd = -1, .fd_flags = O_RDWR | O_CLOEXEC };
	struct mc_ioc_events e = { .size = sizeof(e), .mask = MC_EVENT_REGION | MC_EVENT_PEER };
	void *p;

	w->ctx_fd = open("/dev/mooncake", O_RDWR | O_CLOEXEC);
	if (w->ctx_fd < 0 || ioctl(w->ctx_fd, MC_IOC_CQ_CREATE, &q))
		return -errno;
	w->cq_fd = q.out_fd;
	w->ring_size = q.out_ring_size;
	p = mmap(NULL, w->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, w->cq_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	w->ring = p;
	e.cq_fd = w->cq_fd;
	return ioctl(w->ctx_fd, MC_IOC_EVENTS, &e) ? -errno : 0;
}

/* The attributes that netlink would have brought, from REGION_INFO; a region that is gone has its number only. */
static void tell_entry(struct watch *w, const struct mc_cqe *e)
{
	char name[MC_NAME_MAX + 1] = "";
	struct mc_ioc_region_info i = { .size = sizeof(i), .fd = -1, .id = e->data, .name = (uintptr_t)name,
					.name_len = MC_NAME_MAX };
	struct nlattr *attrs[MC_NL_A_MAX + 1] = { 0 };
	struct nl_msg *msg = nlmsg_alloc();

	if (!msg)
		return;
	nla_put_u64(msg, MC_NL_A_ID, e->data);
	if (!ioctl(w->ctx_fd, MC_IOC_REGION_INFO, &i)) {
		nla_put_u64(msg, MC_NL_A_LENGTH, i.length);
		nla_put_u32(msg, MC_NL_A_UID, i.uid);
		nla_put_u64(msg, MC_NL_A_EPOCH, i.epoch);
		if (i.name_len) {
			nla_put_string(msg, MC_NL_A_NAME, name);
			nla_put_u32(msg, MC_NL_A_MODE, i.mode);
		}
	}
	nla_parse(attrs, MC_NL_A_MAX, nlmsg_attrdata(nlmsg_hdr(msg), 0), nlmsg_attrlen(nlmsg_hdr(msg), 0), NULL);
	tell(w, (uint32_t)e->res, attrs);
	nlmsg_free(msg);
}

static void drain(struct watch *w)
{
	uint32_t head = w->ring->head;
	struct mc_cqe e;

	/* Pairs with the module's release of tail. */
	while (w->left > 0 && head != __atomic_load_n(&w->ring->tail, __ATOMIC_ACQUIRE)) {
		memcpy(&e, (char *)w->ring + w->ring->cqe_off + (size_t)(head & w->ring->mask) * w->ring->cqe_size, sizeof(e));
		__atomic_store_n(&w->ring->head, ++head, __ATOMIC_RELEASE);
		if (e.flags & MC_CQE_F_OVERFLOW_BEFORE)
			fprintf(stderr, "mooncakectl: warning: events were lost here\n");
		tell_entry(w, &e);
	}
}

/* ---- the command ---- */

static int watch(struct watch *w, uint64_t deadline_ns)
{
	struct pollfd p[2] = { { .fd = nl_socket_get_fd(w->sock), .events = POLLIN }, { .fd = w->cq_fd, .events = POLLIN } };
	int ret;

	while (w->left > 0) {
		ret = poll(p, w->ring ? 2 : 1, deadline_left_ms(deadline_ns));
		if (ret < 0 && errno != EINTR)
			return fail(w->c, -errno, "poll");
		if (!ret)
			return EXIT_OK;
		ret = nl_recvmsgs_default(w->sock);
		if (ret == -NLE_NOMEM)
			fprintf(stderr, "mooncakectl: warning: events were lost here\n");
		else if (ret < 0 && ret != -NLE_AGAIN && ret != -NLE_INTR)
			return fail(w->c, 0, "netlink: %s", nl_geterror(ret));
		if (w->ring)
			drain(w);
	}
	return EXIT_OK;
}

/* The time limit that every command has is none here unless it was asked for. */
static uint64_t deadline(const struct ctl *c)
{
	for (size_t i = 0; i < c->conf.nr_items; i++)
		if (!strcmp(c->conf.items[i].name, "timeout") && c->conf.source[i] != CONF_DEFAULT)
			return c->deadline_ns;
	return DEADLINE_NEVER;
}

int cmd_events(struct ctl *c)
{
	struct watch w = { .c = c, .left = c->opt.max, .cq_fd = -1, .ctx_fd = -1 };
	int ret, err;

	ret = open_netlink(&w);
	if (!ret && !w.admin) {
		err = subscribe(&w);
		if (err)
			fprintf(stderr, "mooncakectl: warning: only RDMA devices: region events need CAP_SYS_ADMIN, or those of "
				"your own /dev/mooncake: %s\n", strerror(-err));
	}
	if (!ret)
		ret = watch(&w, deadline(c));
	if (w.ring)
		munmap(w.ring, w.ring_size);
	if (w.cq_fd >= 0)
		close(w.cq_fd);
	if (w.ctx_fd >= 0)
		close(w.ctx_fd);
	nl_socket_free(w.sock);
	return ret;
}
