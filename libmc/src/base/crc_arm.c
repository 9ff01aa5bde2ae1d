// SPDX-License-Identifier: Apache-2.0
/* CRC-32C with the ARMv8 CRC instructions. */
#include "base/crc.h"

#if defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>

#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif

static bool arm_usable(void)
{
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
}

__attribute__((target("+crc"))) static uint32_t arm_update(uint32_t state, const void *data,
							   size_t len)
{
	const uint8_t *p = data;

	for (; len >= 8; p += 8, len -= 8)
		state = __crc32cd(state, get_le64(p));
	while (len--)
		state = __crc32cb(state, *p++);
	return state;
}

const struct crc_ops crc_arm = { "armv8", arm_usable, arm_update };

#endif
