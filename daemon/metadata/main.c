// SPDX-License-Identifier: Apache-2.0
/* mooncake-metadata: the HTTP metadata service as a program. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "meta_server.h"
#include "svc.h"

#define SAVE_NS (100 * NSEC_PER_MSEC)

struct settings {
	char *config_path, *log_level, *host, *file;
	int64_t port;
};

struct metadata {
	struct svc svc;
	struct settings set;
	struct meta_server *server;
	struct loop_timer save;
};

#define S(member) offsetof(struct settings, member)

static const struct conf_item items[] = {
	{ .name = "config_path", .type = CONF_STRING, .offset = S(config_path), .deflt = "",
	  .help = "settings from this file (.json, .yaml, or key = value); flags win" },
	{ .name = "log_level", .type = CONF_STRING, .offset = S(log_level), .deflt = "info",
	  .help = "error, warning, info or debug" },
	{ .name = "host", .type = CONF_STRING, .offset = S(host), .deflt = "127.0.0.1",
	  .help = "address to serve on; 0.0.0.0 or :: for all" },
	{ .name = "port", .type = CONF_INT, .min = 0, .max = 65535, .offset = S(port), .deflt = "8080",
	  .help = "port to serve on; 0: any" },
	{ .name = "file", .type = CONF_STRING, .offset = S(file), .deflt = "",
	  .help = "keep the metadata in this file across restarts" },
};

static void save(struct loop_timer *t)
{
	struct metadata *md = container_of(t, struct metadata, save);

	meta_server_save(md->server);
	loop_timer_set(md->svc.loop, t, clock_now_ns() + SAVE_NS, save);
}

static int serve(struct metadata *md)
{
	char status[64];
	uint16_t port;
	int ret;

	ret = meta_server_open(md->set.host, (uint16_t)md->set.port, md->set.file, &md->server, &port);
	if (ret)
		return ret;
	if (*md->set.file)
		save(&md->save);
	snprintf(status, sizeof(status), "serving on port %u", port);
	log_info("metadata service started on port %u, address %s, version %s", port, md->set.host, MC_VERSION);
	if (!strcmp(md->set.host, "127.0.0.1"))
		log_info("serving this machine only; --host=0.0.0.0 serves others too");
	svc_ready(&md->svc, status);
	return loop_run(md->svc.loop); /* SIGTERM ends it */
}

int main(int argc, char **argv)
{
	struct metadata md = { 0 };
	int ret;

	ret = svc_open(&md.svc, "mooncake-metadata", items, ARRAY_SIZE(items), &md.set, argc, argv);
	if (ret)
		return ret == 1 ? 0 : ret == -EINVAL ? 2 : 1;
	ret = serve(&md);
	svc_stopping(&md.svc, "stopping");
	loop_timer_del(md.svc.loop, &md.save);
	meta_server_close(md.server);
	svc_close(&md.svc);
	return ret ? 1 : 0;
}
