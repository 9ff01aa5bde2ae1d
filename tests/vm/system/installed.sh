# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# Files, users, device: what is there after the boot.
users() { getent passwd mooncake && [ "$(getent group mooncake)" = "mooncake:x:$(id -g mooncake):alice,bob" ]; }
verify() { systemd-analyze verify /usr/lib/systemd/system/mooncake-* 2>&1 | grep -v 'FileDescriptorStorePreserve\|Command .*man\|man:' | not grep .; }
secure() {	# at most $2 tenths of "exposure"
	systemd-analyze security --no-pager --threshold="$2" "mooncake-$1.service" >/run/security || { cat /run/security; return 1; }
	sed -n 's/^→/#/p' /run/security
}

t 'user and group come from sysusers' users
t 'the module is loaded at boot, and udev made its device root:mooncake 660' device
t 'systemd knows the device as a unit' within 60 systemctl -q is-active dev-mooncake.device
t 'a member of the group opens /dev/mooncake' opens alice
t 'the daemons'\'' user opens it' opens mooncake
t 'nobody else does' refused eve
t 'units are sound' verify
for s in master metadata node; do t "$s: sandbox" secure $s 25; done
