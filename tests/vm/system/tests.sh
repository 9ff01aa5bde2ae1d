#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Inside the guest, as a service of its systemd: what is installed does what it says. Speaks TAP.
#	tests.sh SECTION...	the files beside this one, without .sh
#
#	alice, bob	members of group mooncake; eve is not
#	objects		puts and checks objects (objects.c)
nr=0 sd=$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')
log=/run/test.log
objects=/opt/test/objects

t() {	# t NAME COMMAND...: one test; what it said is shown when it fails, and its comments always
	local name=$1 rc
	shift
	nr=$((nr + 1))
	"$@" >$log 2>&1
	rc=$?
	grep '^#' $log
	if [ $rc = 0 ]; then
		echo "ok $nr - $name"
	else
		echo "not ok $nr - $name ($rc)"
		sed 's/^/#  /' $log
	fi
}
as() { local who=$1; shift; setpriv --reuid "$who" --regid "$who" --init-groups "$@"; }
not() { ! "$@"; }
within() {	# within SECONDS COMMAND...: it becomes true by then
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || { echo "not within its time: $*"; return 1; }
		sleep 0.2
	done
}
prop() { systemctl show -P "$2" "mooncake-$1"; }
active() { [ "$(prop "$1" ActiveState)" = active ]; }
started_anew() { active "$1" && [ "$(prop "$1" MainPID)" != "$2" ]; }
drop_in() {	# drop_in SERVICE LINE...
	local dir=/run/systemd/system/mooncake-$1.service.d
	shift
	mkdir -p "$dir" && printf '[Service]\n' >"$dir/test.conf" && printf '%s\n' "$@" >>"$dir/test.conf" && systemctl daemon-reload
}
without_module() {	# from its next start on; what the module holds of it goes
	mkdir -p /run/systemd/system/mooncake-node.service.d
	printf '[Service]\nEnvironment=MC_KERNEL_MODULE=off\n' >/run/systemd/system/mooncake-node.service.d/module.conf
	systemctl daemon-reload && systemctl stop mooncake-node && regions_gone && systemctl start mooncake-node
}
with_module() {	# what systemd holds of it goes first
	rm /run/systemd/system/mooncake-node.service.d/module.conf && systemctl daemon-reload && systemctl stop mooncake-node || return
	[ "$sd" -lt 254 ] || systemctl clean --what=fdstore mooncake-node
	systemctl start mooncake-node
}
regions() { mooncakectl region list --json | tr ',' '\n' | grep '"name"' | cut -d '"' -f 4; }
# shellcheck disable=SC2046
regions_gone() { [ -z "$(regions)" ] || mooncakectl region rm $(regions); }
drop_out() { rm "/run/systemd/system/mooncake-$1.service.d/test.conf" && systemctl daemon-reload; }
said() { journalctl -q -b -u "mooncake-$1" -o cat "${@:3}" | grep -q -- "$2"; }
check() { as alice $objects check "$@"; }
device() { [ "$(stat -c '%U:%G %a' /dev/mooncake)" = 'root:mooncake 660' ]; }
opens() { as "$1" sh -c 'exec 3<>/dev/mooncake'; }
refused() { not opens "$1" && opens "$1" 2>&1 | grep -i 'permission denied'; }
node_metric() {
	exec 3<>/dev/tcp/127.0.0.1/9300 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && sed -n "s/^mooncake_node_$1 //p" <&3 | tr -d '\r'
}

cd "$(dirname "$0")" || exit 1
# shellcheck source=/dev/null
for section in "$@"; do
	echo "# $section, systemd $sd, $(cut -d ' ' -f 1 /proc/uptime) s after the start"
	. "./$section.sh"
done
echo "1..$nr"
