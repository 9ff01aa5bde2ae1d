# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# The module comes and goes, and the node lives with either: its sandbox lets it have /dev/mooncake and no other device.

quota() {	# the daemon is not held to what users are
	systemctl stop mooncake-node && regions_gone || return
	echo 1048576 >/sys/module/mooncake/parameters/max_region_bytes
	systemctl start mooncake-node && regions | grep . || return
	echo 0 >/sys/module/mooncake/parameters/max_region_bytes
}
stored() { check 300 50 65536; }
sandbox_has() { drop_in node 'ExecStartPre=/bin/sh -c "exec 3<>/dev/mooncake"' && systemctl restart mooncake-node && drop_out node; }
sandbox_lacks() {	# everybody may use this one
	chmod 666 /dev/fuse
	as alice sh -c 'exec 3<>/dev/fuse' && drop_in node 'ExecStartPre=/bin/sh -c "! (exec 3<>/dev/fuse)"' &&
		systemctl restart mooncake-node && drop_out node
}
unloaded() {
	systemctl stop mooncake-node && not modprobe -r mooncake && regions_gone && modprobe -r mooncake && [ ! -e /dev/mooncake ] &&
		within 60 not systemctl -q is-active dev-mooncake.device
}
# What is wrong with the module, and what to do, as a user hears it.
doctor_says() { as "$1" mooncakectl doctor --json | sed 's/},/\n/g' | grep '"check":"module"' | tee /dev/stderr | grep -q -- "$2"; }
loaded() { modprobe mooncake && within 60 opens alice && refused eve && systemctl -q is-active dev-mooncake.device; }

t 'the node'\''s sandbox has /dev/mooncake' sandbox_has
t 'and no other device' sandbox_lacks
t 'the quota of users is not the daemon'\''s' quota
t 'doctor: a member of the group hears that all is well' doctor_says alice '"level":"ok"'
t 'doctor: a stranger hears how to become one' doctor_says eve 'usermod -aG mooncake'
t 'the module is unloaded when its regions are removed, not before' unloaded
t 'the node starts without it' systemctl start mooncake-node
t 'doctor: the module is to be loaded' doctor_says alice 'modprobe mooncake'
t 'alice stores' as alice $objects put 300 50 65536
t 'the module is loaded: udev again gives it to the group and nobody else' loaded
t 'node: restart' systemctl restart mooncake-node
t 'every object is there' within 60 stored

# An RDMA device that exists in software only: udev loads the module that watches such devices, and that starts a target.
rdma_appears() {
	modprobe dummy && { [ -e /sys/class/net/dummy0 ] || ip link add dummy0 type dummy; } && ip link set dummy0 up &&
		modprobe rdma_rxe && rdma link add mc0 type rxe netdev dummy0 && within 60 [ -e /sys/module/mooncake_rdma ] &&
		within 60 systemctl -q is-active mooncake-rdma@mc0.target
}
rdma_goes() { rdma link del mc0 && within 60 not systemctl -q is-active mooncake-rdma@mc0.target; }
rdma_again() {
	rdma link add mc0 type rxe netdev dummy0 && within 60 systemctl -q is-active mooncake-rdma@mc0.target && rdma_goes &&
		modprobe -r mooncake_rdma rdma_rxe
}
t 'an RDMA device appears: its target is reached' rdma_appears
t 'it goes: its target is left' rdma_goes
t 'and again' rdma_again
