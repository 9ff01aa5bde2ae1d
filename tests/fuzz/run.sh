#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh BUILD SECONDS DECODER...: each fuzz program for that long on its seeds; ends with `N passed, N failed`.
# TEST_TALLY: as in tests/run.sh.
build=$1 seconds=$2
shift 2
passed=0 failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for name in "$@"; do
	mkdir -p "$build/found/$name"
	seeds=tests/fuzz/corpus/$name
	[ -d "$seeds" ] || seeds=
	start=$(date +%s)
	if timeout -k 5 $((seconds + 60)) "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-max_len=8192 -artifact_prefix="$build/found/$name/" -print_final_stats=1 "$build/found/$name" $seeds >"$log" 2>&1; then
		passed=$((passed + 1))
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		printf 'ok      %4d s  %s: %s inputs\n' $(($(date +%s) - start)) "$name" "${runs:-?}"
	else
		failed=$((failed + 1))
		printf 'FAILED  %4d s  %s\n' $(($(date +%s) - start)) "$name"
		tail -n 60 "$log" | sed 's/^/    /'
	fi
done
if [ -n "$TEST_TALLY" ]; then
	echo "$passed $failed 0" >>"$TEST_TALLY"
	exit 0
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
