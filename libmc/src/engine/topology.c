/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This machine's locations and the NICs near each, in upstream's form and white space: tabs, " : ",
 * a newline at the end.
 * NICs come with the RDMA transport.
 */
#include "engine/engine.h"

#include "base/buf.h"
#include "dev/dev.h"

char *mc_topology_json(const char *devices)
{
	struct buf b = BUF_INIT;
	struct topo t;

	if (topo_read(NULL, &t))
		return NULL;
	buf_printf(&b, "{");
	for (int i = 0; i < t.nr_nodes; i++)
		buf_printf(&b, "%s\n\t\"cpu:%d\" : \n\t[\n\t\t[],\n\t\t[]\n\t]", i ? "," : "",
			   t.nodes[i].id);
	buf_printf(&b, "%s}\n", t.nr_nodes ? "\n" : "");
	topo_free(&t);
	buf_put_u8(&b, 0);
	if (b.err) {
		buf_fini(&b);
		return NULL;
	}
	return (char *)b.data;
}
