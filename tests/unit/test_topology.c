// SPDX-License-Identifier: Apache-2.0
/*
 * The topology text is upstream's to the byte: this is what its release 0.3.13 prints on a machine
 * without RDMA.
 */
#include "mctest.h"

#include <mooncake/engine.h>

#include "dev/dev.h"

TEST(as_upstream_writes_it)
{
	char *text = mc_topology_json(NULL), want[4096], *w = want;
	struct topo t;

	ASSERT_EQ(topo_read(NULL, &t), 0);
	w += sprintf(w, "{");
	for (int i = 0; i < t.nr_nodes; i++)
		w += sprintf(w, "%s\n\t\"cpu:%d\" : \n\t[\n\t\t[],\n\t\t[]\n\t]", i ? "," : "",
			     t.nodes[i].id);
	sprintf(w, "\n}\n");
	EXPECT_STREQ(text, want);
	topo_free(&t);
	free(text);
}
