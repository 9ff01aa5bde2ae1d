#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Inside the guest, in the host's root under an overlay: load the module, run every program of the payload, unload. Then,
# where the kernel can, look for memory that nothing points to any more.
# Prints TAP; `# guest: exit 0` from init afterwards is the only sign that all of this was reached.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
cd /run/payload || exit 1
. ./env && export BUILD
ip link set lo up 2>/dev/null
bad=0

# The memory in use: what stays after unloading must be what was there before (within noise of 1 MiB per boot service).
used_kb() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^(AnonPages|Shmem|Unevictable):/ { n += $2 } END { print n }' /proc/meminfo
}

try() {	# try NAME COMMAND...: one program; TAP passes through, a failing exit status is remembered
	name=$1
	shift
	echo "# $name"
	began=$(cut -d . -f 1 /proc/uptime)
	timeout "$limit" "$@"
	rc=$?
	echo "# $name: $(($(cut -d . -f 1 /proc/uptime) - began)) s"
	case $rc in
	0) ;;
	1) bad=1 ;;	# the program said which
	77) echo "ok - $name # SKIP" ;;
	124) echo "not ok - $name (timed out)"; bad=1 ;;
	*) echo "not ok - $name (exit $rc)"; bad=1 ;;
	esac
}

# Emulation is slow, a kernel with every check on ten times slower. What a test allows itself grows with it.
limit=400 slow=4
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	limit=1200 slow=20
	# A processor that stays in the kernel for 10 s is a bug; elsewhere the usual 20 s.
	echo 5 >/proc/sys/kernel/watchdog_thresh
fi
export MC_TEST_SLOW=$slow

# The kernel's own modules, where modprobe looks for them.
rel=$(uname -r)
[ -e "/lib/modules/$rel" ] || { mkdir -p /lib/modules && ln -s "$modules/lib/modules/$rel" "/lib/modules/$rel"; }
mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm 2>/dev/null

[ -e $leaks ] && echo scan >$leaks && echo clear >$leaks
before=$(used_kb)
if ! insmod ./mooncake.ko; then
	echo "not ok - insmod mooncake.ko"
	exit 1
fi
insmod ./mooncake_test.ko || { echo "not ok - insmod mooncake_test.ko"; bad=1; }
[ -c /dev/mooncake ] || echo "not ok - no /dev/mooncake"
# What udev does on a real machine.
chgrp 1234 /dev/mooncake
chmod 0660 /dev/mooncake

# RDMA without hardware, for the tests that want it: rdma_rxe on a dummy interface, from the modules of this kernel.
rdma_on() {
	modprobe -q crc32_generic	# what rxe asks for by name, before its module for that could be found
	modprobe -a dummy rdma_rxe || { echo "# this kernel has no rdma_rxe"; return; }
	[ -e /sys/class/net/dummy0 ] || ip link add dummy0 type dummy
	insmod ./mooncake_rdma.ko || { echo "not ok - insmod mooncake_rdma.ko"; bad=1; }
}
rdma_off() {
	[ ! -e /sys/module/mooncake_rdma ] || rmmod mooncake_rdma rdma_rxe dummy || { echo "not ok - rmmod mooncake_rdma"; bad=1; }
}
# And with a device of it that has an address.
verbs_on() {
	rdma_on
	modprobe -a ib_uverbs loop ext4
	ip addr add 10.99.0.1/24 dev dummy0 && ip link set dummy0 up && rdma link add rxe0 type rxe netdev dummy0
}
verbs_off() {
	rdma link del rxe0
	rdma_off
}

case $what in
tests)
	for t in test_*; do
		[ -x "$t" ] || continue
		case $t in test_rdma* | test_ctl_events) rdma_on ;; test_verbs) verbs_on ;; esac
		try "$t" "./$t"
		case $t in test_rdma* | test_ctl_events) rdma_off ;; test_verbs) verbs_off ;; esac
	done
	# shellcheck disable=SC2086
	try fuzz_calls ./fuzz_calls $args
	;;
fuzz)
	limit=7200
	# shellcheck disable=SC2086
	try fuzz_calls ./fuzz_calls ${args:-600}
	;;
bench)
	limit=1200
	verbs_on
	try bench_kmod ./bench_kmod
	verbs_off
	# The same get from a memfd and from a region, and the system calls of it; a message through a socket and through rings.
	for m in off require; do
		export MC_KERNEL_MODULE=$m
		try "store, kernel_module $m" "$BUILD/tests/bench/bench_store" store.get.node.64KiB syscalls.get.node syscalls.put.node
	done
	try 'rings beside a socket' "$BUILD/tests/bench/bench_ring"
	;;
esac

if rmmod mooncake_test && rmmod mooncake; then
	echo "ok - rmmod"
else
	echo "not ok - rmmod"
	bad=1
fi
after=$(used_kb)
if [ $((after - before)) -lt 1024 ]; then
	echo "ok - memory before $before KiB, after $after KiB"
else
	echo "not ok - memory before $before KiB, after $after KiB"
	bad=1
fi
# Twice, so that nothing depends on a fresh boot.
for i in 1 2 3 4 5; do
	insmod ./mooncake.ko && rmmod mooncake || { echo "not ok - load and unload, round $i"; bad=1; }
done
if [ -e $leaks ]; then
	# What was freed through RCU or a work queue goes first; a scan reports what the one before it suspected.
	sleep 2
	echo scan >$leaks
	sleep 6
	echo scan >$leaks
	if [ -s $leaks ] && grep -q . $leaks; then
		sed 's/^/# /' $leaks
		echo "not ok - kmemleak"
		bad=1
	else
		echo "ok - kmemleak"
	fi
fi
exit $bad
