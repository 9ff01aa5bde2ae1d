# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# What a stopped service and a machine without any process of ours keep: with the module all, without it what systemd can.
kept() { check 400 50 65536; }
stop_start() {
	systemctl stop mooncake-node && [ "$(prop node Result)" = success ] && [ -d /run/mooncake ] && systemctl start mooncake-node
}
gone() { kept >/run/found; cat /run/found; grep -q ' 50 missing, 0 wrong' /run/found; }
kill_all() {
	local node master
	node=$(prop node MainPID) master=$(prop master MainPID)
	kill -9 "$node" "$master" && within 60 started_anew node "$node" && within 60 started_anew master "$master"
}

t 'alice stores' as alice $objects put 400 50 65536
t 'with the module: node: stop, start' stop_start
t 'every object is there' within 60 kept
t 'node and master: kill -9 together' kill_all
t 'every object is there' within 60 kept
t 'the node without the module' without_module
t 'the objects went with the regions, and none is wrong' gone
t 'alice stores' as alice $objects put 400 50 65536
t 'without the module: node: stop, start' stop_start
if [ "$sd" -ge 254 ]; then
	t 'every object is there' within 60 kept
else
	echo "# systemd $sd keeps no descriptors of a stopped service"
	t 'the objects are gone, and none is wrong' gone
fi
t 'the node with the module again' with_module
