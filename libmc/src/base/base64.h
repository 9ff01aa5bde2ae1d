/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 with padding (RFC 4648, section 4), as JSON carries bytes. */
#ifndef MC_BASE64_H
#define MC_BASE64_H

#include "base/buf.h"

void base64_put(struct buf *b, const void *data, size_t len); /* appends the text, no terminator */

/* Appends the bytes. -EBADMSG: not base64, no padding, bits set that no byte holds; @b is unchanged then. */
int base64_get(struct buf *b, const char *text, size_t len);

#endif
