// SPDX-License-Identifier: Apache-2.0
/* events, in a build without libnl. events_nl.c is the other one. */
#include "ctl.h"

int cmd_events(struct ctl *c)
{
	return fail(c, 0, "this mooncakectl was built without libnl: install libnl-genl-3-dev, then make");
}
