#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Print where this machine's package manager gets Debian from: other releases are taken from there too.
#
#   tests/vm/mirror.sh Debian | Debian-Security
set -eu
uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | sed -n "s|^$1 ||p" | head -n 1)
[ -n "$uri" ] || { echo "mirror.sh: no source of $1 is configured; run apt-get update" >&2; exit 1; }
echo "${uri%/}"
