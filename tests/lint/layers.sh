#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Dependencies point one way: every #include "layer/..." of every layer, daemon and tool is held against the table.
cd "$(dirname "$0")/../.." || exit 1

allowed() { # what files below $1 may include
	case $1 in
	libmc/src/base) echo base ;;
	libmc/src/net | libmc/src/dev | libmc/src/proto) echo base "${1##*/}" ;;
	libmc/src/transport | libmc/src/meta) echo base net dev proto "${1##*/}" ;;
	libmc/src/engine) echo base net dev proto transport meta engine ;;
	libmc/src/pool) echo base net dev proto pool ;;
	libmc/src/store) echo base net dev proto engine pool store ;;
	libmc/src/tensor) echo base net dev proto engine pool store tensor ;;
	libmc/src/compat) echo base compat ;;
	libmc/src/capi) echo capi ;;
	daemon | daemon/master | daemon/metadata) echo base net proto master metadata ;;
	daemon/node) echo base net dev proto engine pool node ;;
	tools*) echo base net dev proto pool ;;
	python*) echo ;;
	esac
}

bad=0
for dir in libmc/src/base libmc/src/net libmc/src/dev libmc/src/proto libmc/src/transport libmc/src/meta libmc/src/engine \
	libmc/src/pool libmc/src/store libmc/src/tensor libmc/src/compat libmc/src/capi daemon daemon/master daemon/metadata daemon/node tools tools/ctl tools/bench tools/topology python/src; do
	[ -d "$dir" ] || continue
	ok=$(allowed "$dir")
	for f in "$dir"/*.c "$dir"/*.h; do
		[ -f "$f" ] || continue
		for layer in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$f" | sort -u); do
			case " $ok " in
			*" $layer "*) ;;
			*) echo "$f includes $layer/, but $dir may use only: ${ok:-public headers}"; bad=1 ;;
			esac
		done
	done
done

# rdma-core and CUDA belong to plug-ins, never to libmc.so itself.
if grep -lE '#include <(infiniband|rdma)/' libmc/src/*/*.c 2>/dev/null | grep -v '/rdma'; then
	echo 'the files above include verbs headers outside the rdma plug-in'
	bad=1
fi
exit $bad
