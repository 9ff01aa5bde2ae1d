/* SPDX-License-Identifier: Apache-2.0 */
/* Between conf.c and conf_file.c. */
#ifndef MC_CONF_IMPL_H
#define MC_CONF_IMPL_H

#include "base/conf.h"

/* conf_set() with words for the log line that say where the text stood. */
int conf_apply(struct conf *c, const char *where, const char *name, const char *text,
	       enum conf_source from);

#endif
