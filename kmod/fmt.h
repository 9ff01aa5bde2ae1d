/* SPDX-License-Identifier: GPL-2.0-only */
/* Included first everywhere, so that every message carries the module's name. */
#define pr_fmt(fmt) "mooncake: " fmt
