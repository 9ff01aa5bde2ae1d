/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a master or an owner of a pool. */
#include "pool/talk.h"

#include <mooncake/mooncake.h>

#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "dev/dev.h"
#include "net/net.h"
#include "proto/proto.h"

static int ask(struct mux *m, uint16_t type, const struct buf *body, uint64_t deadline_ns, struct buf *reply)
{
	struct mux_req r = { .type = type, .body = body->data, .body_len = body->len };
	int ret = body->err ? body->err : mux_call(m, &r, deadline_ns);

	*reply = r.reply; /* also with an error: a refused HELLO says which version the other end has */
	return ret;
}

static int greet(struct mux *m, const char *name, uint64_t deadline_ns, struct answer *out)
{
	struct msg_hello h = {
		.version_min = PROTO_VERSION_MIN,
		.version_max = PROTO_VERSION,
		.role = ROLE_TOOL,
		.name = { name, (uint16_t)strlen(name) },
		.software = { MC_VERSION, sizeof(MC_VERSION) - 1 },
	};
	struct scratch s = SCRATCH_INIT;
	struct buf body = BUF_INIT, reply = BUF_INIT;
	struct msg_hello_reply hr;
	int ret;

	random_bytes(h.id, sizeof(h.id));
	node_id(h.node);
	msg_hello_encode(&h, &body);
	ret = ask(m, MSG_HELLO, &body, deadline_ns, &reply);
	if (!msg_hello_reply_decode(reply.data, reply.len, &s, &hr))
		snprintf(out->software, sizeof(out->software), "%.*s", hr.software.len, (const char *)hr.software.data);
	else if (!ret)
		ret = -EBADMSG;
	scratch_fini(&s);
	buf_fini(&body);
	buf_fini(&reply);
	return ret;
}

static int ask_status(struct mux *m, uint64_t deadline_ns, struct answer *out)
{
	struct buf none = BUF_INIT, reply = BUF_INIT;
	int ret = ask(m, MSG_STATUS, &none, deadline_ns, &reply);

	buf_put_u8(&reply, 0);
	if (!ret && !reply.err)
		out->status = json_tokener_parse((const char *)reply.data);
	buf_fini(&reply);
	if (ret || json_object_is_type(out->status, json_type_object))
		return ret;
	json_object_put(out->status);
	out->status = NULL;
	return -EBADMSG;
}

int talk(const char *addr, const char *name, uint64_t deadline_ns, struct answer *out)
{
	struct net_addr a;
	struct mux *m;
	int fd, ret;

	*out = (struct answer){ 0 };
	ret = net_addr_parse(addr, MASTER_PORT, &a);
	if (!ret)
		ret = net_connect(&a, deadline_ns, &fd);
	if (ret)
		return ret;
	out->connected = true;
	ret = mux_open(fd, &m);
	if (ret) {
		close(fd);
		return ret;
	}
	ret = greet(m, name, deadline_ns, out);
	if (!ret)
		ret = ask_status(m, deadline_ns, out);
	mux_close(m);
	return ret;
}
