#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mooncakectl against a master and a node of its own:
#
#	mooncakectl --- TCP ---> mooncake-master <--- TCP --- mooncake-node
#	     '------------------ Unix socket, mapped pool --------'
cd "$(dirname "$0")/../.." || exit 1
bin=${BUILD:-build}/bin
[ -x "$bin/mooncakectl" ] && [ -x "$bin/mooncake-node" ] || { echo '1..0 # SKIP programs are not built'; exit 77; }

tmp=$(mktemp -d) || exit 1
pids=()
finish() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	rm -rf "$tmp"
}
trap finish EXIT

count=0 bad=0
check() { # NAME COMMAND...: the command succeeds
	local name=$1
	shift
	count=$((count + 1))
	if "$@" >"$tmp/check" 2>&1; then
		echo "ok $count $name"
	else
		echo "not ok $count $name"
		sed 's/^/# /' "$tmp/check"
		bad=1
	fi
}
exits() { # CODE COMMAND...: it exits with that code and leaves what it said in $tmp/said
	local want=$1 got
	shift
	"$@" >"$tmp/said" 2>&1 </dev/null
	got=$?
	cat "$tmp/said"
	echo "exit status $got, expected $want"
	[ "$got" -eq "$want" ]
}
says() { # WORDS CODE COMMAND...
	local words=$1
	shift
	exits "$@" && grep -q -- "$words" "$tmp/said"
}
is_json() { "$@" >"$tmp/json" && python3 -m json.tool "$tmp/json" >/dev/null; }
field() { # EXPRESSION of j COMMAND...: holds for what the command prints
	local expr=$1
	shift
	"$@" >"$tmp/json"
	python3 -c 'import json,sys; j = json.load(open(sys.argv[1])); print(j); sys.exit(not eval(sys.argv[2]))' "$tmp/json" "$expr"
}

# Follows a log until a line says what is waited for; ends with the program, or after 20 s.
await() { # FILE PATTERN PID
	timeout 20 tail --pid="$3" -n +1 -F "$1" 2>/dev/null | grep -m 1 -oE "$2"
}

"$bin/mooncake-master" --port=0 --metrics_port=0 --default_kv_lease_ttl=600000 2>"$tmp/master.log" &
pids+=($!)
port=$(await "$tmp/master.log" 'started on port [0-9]+' $! | grep -oE '[0-9]+')
[ -n "$port" ] || { echo 'Bail out! the master did not start'; cat "$tmp/master.log"; exit 1; }
export MOONCAKE_MASTER=127.0.0.1:$port
ctl=$bin/mooncakectl

check 'no node: put says so' says 'node' 1 "$ctl" --timeout 5 put k --input "$0"
check 'no node: doctor finds it' says 'mooncake-node on each machine' 1 "$ctl" doctor

"$bin/mooncake-node" --port=0 --unix_path="unix:$tmp/node.sock" --master_server_address="$MOONCAKE_MASTER" \
	--global_segment_size=64mb --huge_pages=false 2>"$tmp/node.log" &
pids+=($!)
[ -n "$(await "$tmp/node.log" 'serving unix' $!)" ] || { echo 'Bail out! the node did not start'; cat "$tmp/node.log"; exit 1; }
for _ in $(seq 200); do # joined, and told everything: the master says so
	"$ctl" --json status | grep -q '"synced":true' && break
done

head -c 3000017 /dev/urandom >"$tmp/value"
check 'put a file' exits 0 "$ctl" put some/key --input "$tmp/value"
check 'get it, byte for byte' exits 0 "$ctl" get some/key -o "$tmp/back"
check 'the same bytes' cmp "$tmp/value" "$tmp/back"
check 'through stdin and stdout' sh -c "printf 'a\\000b' | '$ctl' put piped && [ \"\$('$ctl' get piped | od -An -c | tr -d ' ')\" = 'a\\0b' ]"
check 'a second put changes nothing' says 'unchanged' 0 "$ctl" put some/key -i "$0"
check 'still the first bytes' sh -c "'$ctl' get some/key | cmp - '$tmp/value'"
check 'put --replace' exits 0 "$ctl" put some/key -i "$0" --replace
check 'now the other bytes' sh -c "'$ctl' get some/key | cmp - '$0'"
check 'a key of any bytes' sh -c "echo x | '$ctl' put --hex 00ff41 && [ \"\$('$ctl' get --hex 00FF41)\" = x ]"
check 'an option-like key' sh -c "echo y | '$ctl' put -- --key && [ \"\$('$ctl' get -- --key)\" = y ]"

check 'stat' field "j[0]['found'] and j[0]['bytes'] == $(stat -c %s "$0") and j[0]['replicas'] == 1 and not j[1]['found']" \
	"$ctl" --json stat some/key missing
check 'stat of a missing key exits 1' exits 1 "$ctl" stat missing
check 'get of a missing key exits 1' says 'no object' 1 "$ctl" get missing -o "$tmp/none"
check 'and writes no file' test ! -e "$tmp/none"
check 'its failure as JSON' field "j['name'] == 'OBJECT_NOT_FOUND'" "$ctl" --json get missing -o "$tmp/none"
check 'list' field "sorted(k['key'] for k in j) == ['--key', '\\\\x00\\\\xffA', 'piped', 'some/key']" "$ctl" list --json
check 'list REGEX' says '^1 objects' 0 "$ctl" list '^some/'
check 'list --max' field 'len(j) == 2' "$ctl" list --json --max 2
check 'another tenant sees nothing' field 'j == []' "$ctl" --tenant other --json list
check 'an expression that is none' exits 1 "$ctl" list '('

for c in status nodes pools config; do
	check "$c --json" is_json "$ctl" "$c" --json
	check "$c" exits 0 "$ctl" "$c"
done
check 'one node, this machine' field "len(j) == 1 and j[0]['this_machine'] and j[0]['objects'] == 4" "$ctl" nodes --json
check 'config says where a value is from' field "j['settings']['master'] == {'value': '$MOONCAKE_MASTER', 'source': 'environment'}" \
	"$ctl" config --json
check 'doctor is content' exits 0 "$ctl" doctor
check 'doctor --json' field "j['errors'] == 0 and any(f['check'] == 'node socket' and f['level'] == 'ok' for f in j['findings'])" \
	"$ctl" doctor --json

segment=$("$ctl" --json pools | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["segment"])')
check 'copy to where it is' says 'success, 1 of 1 targets held it already' 0 "$ctl" copy piped "$segment"
check 'copy --json' field "j['type'] == 'copy' and j['status'] == 'success' and '-' in j['id']" "$ctl" --json copy piped "$segment"
check 'copy to nowhere' says 'no such segment' 1 "$ctl" copy piped nobody:1
check 'move to where it is' says 'no such segment, or source' 1 "$ctl" move piped "$segment" "$segment"
check 'move of nothing' says 'no such object' 1 "$ctl" move none "$segment" other:1
check 'a task that is none' exits 2 "$ctl" task 12
check 'a task nobody knows' says 'unknown' 1 "$ctl" task 12-13
id=$("$ctl" --json copy piped "$segment" | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
check 'task' field "j['id'] == '$id' and j['created_ms'] > 1600000000000" "$ctl" --json task "$id"

check 'rm of a missing key exits 1' exits 1 "$ctl" rm missing
check 'rm of a leased key exits 1' says 'leased' 1 "$ctl" rm piped
check 'rm --force' exits 0 "$ctl" rm piped --force
check 'it is gone' exits 1 "$ctl" stat piped
check 'rm --match' field "j['removed'] == 1" "$ctl" rm --match '^some/' --json --force
check 'rm --all' field "j['removed'] == 2" "$ctl" rm --all --json --force
check 'nothing is left' field 'j == []' "$ctl" list --json

check 'pools: what memory this machine has' says 'memfd, \|/dev/mooncake, ' 0 "$ctl" pools
check 'pools: the same as JSON' says '"memory":\[{"backend":' 0 "$ctl" --json pools
check 'doctor looks for the module' says '"check":"module"' 0 "$ctl" --json doctor
check 'doctor looks at signing' says '"check":"signing"' 0 "$ctl" --json doctor
if [ -e /dev/mooncake ]; then
	check 'region list' exits 0 "$ctl" region list
else
	check 'region: without the module it says what to do' says 'modprobe mooncake' 1 "$ctl" --json region list
fi
check 'region: no such thing to do' exits 2 "$ctl" region sing
check 'region: of what' exits 2 "$ctl" region rm
check 'no command' exits 2 "$ctl"
check 'unknown command, with a suggestion' says 'did you mean status' 2 "$ctl" statsu
check 'unknown option, with a suggestion' says 'tenant' 2 "$ctl" --tenent x status
check 'an option of another command' exits 2 "$ctl" status --force
check 'too few words' exits 2 "$ctl" get
check 'too many words' exits 2 "$ctl" get a b
check 'rm without saying what' exits 2 "$ctl" rm
check 'a bad value' exits 2 "$ctl" --timeout soon status
check 'a bad key' exits 2 "$ctl" stat --hex 0g
check '--help' says 'doctor' 0 "$ctl" --help
check '--version' says '^mooncakectl [0-9]' 0 "$ctl" --version
check 'empty input' says 'empty' 1 "$ctl" put k
check 'no such file' exits 1 "$ctl" put k -i "$tmp/none"
check 'output that cannot be written' sh -c "echo z | '$ctl' put k && ! '$ctl' list >/dev/full"

check 'wrong port: doctor finds it and names the right one' \
	says "$port" 1 "$ctl" --master 127.0.0.1:1 doctor
check 'wrong port: status fails' exits 1 "$ctl" --master 127.0.0.1:1 --timeout 2 status
check 'no address at all' exits 1 "$ctl" --master 'no such host' doctor
http=$(python3 -c 'import json,sys; print(json.load(sys.stdin)["http_port"])' < <("$ctl" --json status))
check 'something else at that port' says 'what listens at' 1 "$ctl" --master "127.0.0.1:$http" doctor
kill -STOP "${pids[0]}"
check 'a stopped master: doctor ends and says so' says 'takes connections' 1 timeout 10 "$ctl" doctor
check 'a stopped master: status ends' exits 1 timeout 10 "$ctl" --timeout 1 status
kill -CONT "${pids[0]}"
kill -9 "${pids[1]}"
wait "${pids[1]}" 2>/dev/null
check 'a dead node: doctor finds it' says 'no pool that is online\|node socket' 1 "$ctl" doctor

echo "1..$count"
exit $bad
