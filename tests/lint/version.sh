#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The version is written once, in mooncake.h; whatever must repeat it says the same.
cd "$(dirname "$0")/../.." || exit 1
v=$(sed -n 's/^#define MC_VERSION "\(.*\)"/\1/p' libmc/include/mooncake/mooncake.h)
bad=0
[ -n "$v" ] || { echo 'mooncake.h has no MC_VERSION'; exit 1; }
[ ! -f dkms.conf ] || grep -q "PACKAGE_VERSION=\"\{0,1\}$v\"\{0,1\}$" dkms.conf || { echo "dkms.conf does not say $v"; bad=1; }
grep -q "^MC_${v%.*} {" libmc/libmc.map || { echo "libmc.map has no node MC_${v%.*}"; bad=1; }
grep -L "^\.TH [^ ]* [0-9] \"\" \"Mooncake $v\" " docs/man/* | sed "s/\$/: its .TH does not say Mooncake $v/" | grep . && bad=1
exit $bad
