// SPDX-License-Identifier: Apache-2.0
/* HELLO, as whoever waits for the answer says it. */
#include <mooncake/mooncake.h>

#include "base/log.h"
#include "net/net.h"
#include "pool/owner.h"

int greet(struct mux *m, const struct greeting *g, const char *peer, uint64_t deadline_ns, struct msg_hello_reply *out)
{
	struct msg_hello h = {
		.version_min = PROTO_VERSION_MIN,
		.version_max = PROTO_VERSION,
		.role = (uint8_t)g->role,
		.name = { g->name, (uint16_t)strlen(g->name) },
		.software = { MC_VERSION, sizeof(MC_VERSION) - 1 },
	};
	struct scratch scratch = SCRATCH_INIT;
	struct buf body = BUF_INIT;
	struct mux_req r = { .type = MSG_HELLO };
	int ret;

	memcpy(h.id, g->id, sizeof(h.id));
	memcpy(h.node, g->node, sizeof(h.node));
	msg_hello_encode(&h, &body);
	ret = body.err;
	if (ret)
		goto out;
	r.body = body.data;
	r.body_len = body.len;
	ret = mux_call(m, &r, deadline_ns);
	if (ret == -EPROTO)
		log_err("%s speaks another protocol version than %d to %d; install the same release on both sides", peer,
			PROTO_VERSION_MIN, PROTO_VERSION);
	else if (ret)
		log_warn_limited("%s does not answer the greeting: %s", peer, strerror(-ret));
	if (!ret)
		ret = msg_hello_reply_decode(r.reply.data, r.reply.len, &scratch, out);
	out->software = (struct key){ NULL, 0 }; /* pointed into the reply */
out:
	scratch_fini(&scratch);
	buf_fini(&body);
	buf_fini(&r.reply);
	return ret;
}
