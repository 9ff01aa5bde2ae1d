/* SPDX-License-Identifier: Apache-2.0 */
/* The table of transports: adding one is a line here. */
#include "transport/transport.h"

const struct transport_ops *const transports[] = { &transport_local, &transport_module, &transport_tcp,
						     NULL };
