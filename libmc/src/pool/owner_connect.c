// SPDX-License-Identifier: Apache-2.0
/* Reaching the master: names are resolved and connections made on a thread that lives for one attempt. */
#include <unistd.h>

#include "base/thread.h"
#include "pool/owner_private.h"

static int attempt(struct connector *cn)
{
	struct net_addr a;
	int ret;

	ret = net_addr_parse(cn->addr, MASTER_PORT, &a);
	if (ret)
		return ret;
	return net_connect(&a, deadline_after_ns(LINK_CONNECT_NS), &cn->fd);
}

static void *connector_main(void *arg)
{
	struct connector *cn = arg;

	cn->fd = -1;
	cn->err = attempt(cn);
	loop_post(cn->loop, &cn->done);
	return NULL;
}

static void connector_done(struct loop_work *w)
{
	struct connector *cn = container_of(w, struct connector, done);
	struct owner *ow = container_of(cn, struct owner, link.connector);

	connector_join(ow);
	link_connected(ow, cn->fd, cn->err);
}

int connector_start(struct owner *ow)
{
	struct connector *cn = &ow->link.connector;
	int ret;

	cn->loop = ow->loop;
	cn->done.fn = connector_done;
	memcpy(cn->addr, ow->master, sizeof(cn->addr));
	ret = thread_start(&cn->thread, "mc-connect", connector_main, cn);
	cn->running = !ret;
	return ret;
}

void connector_join(struct owner *ow)
{
	struct connector *cn = &ow->link.connector;

	if (!cn->running)
		return;
	pthread_join(cn->thread, NULL); /* it posted, so it is at its end */
	cn->running = false;
}
