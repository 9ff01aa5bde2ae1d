# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2317
# The manager holds the master's port: the first who comes starts it, and nobody is refused while it is away.

stopped() { systemctl stop mooncake-node mooncake-master && systemctl start mooncake-master.socket && not active master; }
holds() { ss -Hltnp sport = :50051 | grep "\"$1\""; }
first_connection() { timeout 20 mooncakectl status && active master; }
passed() { holds systemd && holds mooncake-master && [ "$(holds systemd | wc -l)" = 1 ]; }
connects() { timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/50051'; }
away() { systemctl stop mooncake-master && not active master && connects && within 60 active master; }
back() { systemctl stop mooncake-master.socket mooncake-master && systemctl start mooncake-master && not holds systemd; }

t 'master: only its socket is there' stopped
t 'the manager listens' holds systemd
t 'the first connection starts it' first_connection
t 'it serves the socket it was handed' passed
t 'nobody is refused while it is stopped' away
t 'the node joins again' systemctl start mooncake-node
t 'alice stores' as alice $objects put 200 20 65536
t 'without the socket unit it listens itself' back
t 'alice reads' within 60 check 200 20 65536
