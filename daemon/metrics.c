// SPDX-License-Identifier: Apache-2.0
/* Prometheus' text format, as far as we need it. */
#include <inttypes.h>

#include "svc.h"

void metric_head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_u64(struct buf *out, const char *name, const char *labels, uint64_t value)
{
	if (labels)
		buf_printf(out, "%s{%s} %" PRIu64 "\n", name, labels, value);
	else
		buf_printf(out, "%s %" PRIu64 "\n", name, value);
}
