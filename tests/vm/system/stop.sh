# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# A stop under load is clean and in time, what dead clients held comes back, and who may not use the cache is told so.

load() { as "$1" $objects load "$2" 30 "$3" >"/run/load.$1" 2>&1 & }
holding() { [ "$(node_metric granted_bytes)" -gt 0 ]; }
all_back() { [ "$(node_metric granted_bytes)" = 0 ]; }
stops() {	# stops SERVICE SECONDS
	local from=$SECONDS
	systemctl stop "mooncake-$1" && [ "$(prop "$1" Result)" = success ] && [ "$(prop "$1" ExecMainStatus)" = 0 ] || return
	echo "# $1 stopped in $((SECONDS - from)) s"
	[ $((SECONDS - from)) -le "$2" ] && not said "$1" 'timed out. Killing' && systemctl start "mooncake-$1"
}
ended() {	# the loads went on, and read nothing wrong
	local rc=0 who pid
	for who in alice bob; do
		pid=$(pgrep -u "$who" -x objects) && kill -TERM "$pid"
	done
	wait || rc=1
	cat /run/load.alice /run/load.bob
	[ "$(grep -c ' 0 wrong' /run/load.alice /run/load.bob | grep -c ':1$')" = 2 ] && [ $rc = 0 ]
}
killed() { load alice 3000 65536; within 60 holding && pkill -9 -u alice -x objects && within 60 all_back; }
told() {	# eve cannot use the socket, and learns why; without authentication the loopback port still serves her
	as eve $objects check 1000 1 65536 2>&1 | grep 'node.sock: Permission denied'
}
wrong_flag() {
	systemctl stop mooncake-node
	cp /etc/default/mooncake-node /run/flags
	echo 'MOONCAKE_NODE_FLAGS=--no_such_flag=1' >/etc/default/mooncake-node
	not systemctl start mooncake-node && [ "$(prop node ExecMainStatus)" = 2 ] && [ "$(prop node ActiveState)" = failed ] &&
		said node no_such_flag -p err
	rc=$?
	cp /run/flags /etc/default/mooncake-node
	systemctl reset-failed mooncake-node && systemctl start mooncake-node && return $rc
}

load alice 1000 65536
load bob 2000 4096
t 'clients are at work' within 60 holding
t 'node: stops under load' stops node 30
t 'master: stops under load' stops master 10
t 'metadata: stops' stops metadata 10
t 'the clients went on and read nothing wrong' ended
t 'what a killed client held comes back' killed
t 'eve is told that the socket is not for her' told
t 'a wrong flag is an error in the journal, not a loop of restarts' wrong_flag
