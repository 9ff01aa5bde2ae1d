# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# The three daemons run in their sandboxes and serve users of group mooncake.
up() { active master && active metadata && active node; }
ready() { prop "$1" StatusText | grep -q "$2"; }
levels() {	# what is said at which level
	said node 'region\|segment' -p info..info && said master 'Master service started' -p info..info &&
		not said node 'serving' -p warning && not said master 'started' -p notice
}

t 'all three were started by the boot' within 60 up
t 'the master is ready and says where' ready master 'serving on port 50051'
t 'the node is ready and says where' ready node 'serving unix:/run/mooncake/node.sock'
t 'log lines have their levels' levels
t 'the environment file was read' test "$(node_metric capacity_bytes)" -le $((64 << 20))
t 'mooncakectl finds it all' as alice mooncakectl status

t 'alice stores' as alice $objects put 0 100 65536
t 'alice reads' as alice $objects check 0 100 65536
t 'bob reads, in another session' as bob setsid -w $objects check 0 100 65536
t 'bob stores' as bob setsid -w $objects put 100 50 65536
t 'alice reads what bob stored' as alice $objects check 100 50 65536
