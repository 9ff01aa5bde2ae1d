# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# Restarts and deaths of daemons: what survives them, without the module: the pool lies in the manager's descriptor store.
restart() { local pid; pid=$(prop "$1" MainPID); systemctl restart "mooncake-$1" && started_anew "$1" "$pid"; }
kill9() { local pid; pid=$(prop "$1" MainPID); kill -9 "$pid" && within 60 started_anew "$1" "$pid"; }
hang() {	# frozen, it is found out by the watchdog
	local pid
	drop_in "$1" WatchdogSec=10 && systemctl restart "mooncake-$1" || return
	pid=$(prop "$1" MainPID)
	kill -STOP "$pid" && within 60 started_anew "$1" "$pid" && said "$1" 'atchdog timeout' || return
	drop_out "$1"
}
all() { within 60 check 0 150 65536 && check 0 150 65536; }

t 'the node without the module' without_module
t 'alice stores' as alice $objects put 0 100 65536
t 'bob stores' as bob setsid -w $objects put 100 50 65536
t 'node: restart' restart node
t 'every object is there' all
t 'node: kill -9' kill9 node
t 'every object is there' all
t 'node: frozen, restarted by the watchdog' hang node
t 'every object is there' all
t 'the manager anew' systemctl daemon-reexec
t 'node: restart' restart node
t 'every object is there' all
t 'master: kill -9' kill9 master
t 'every object is there' all
t 'master: frozen, restarted by the watchdog' hang master
t 'every object is there' all
t 'the node with the module again' with_module
