#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh BUILD SECONDS DECODER...: each fuzz program for that long on its seeds, as many at a time as there are processors; ends with
# `N passed, N failed`. TEST_TALLY: as in tests/run.sh.
build=$1 seconds=$2
shift 2
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT
export build seconds log

# One decoder; its lines appear together.
one='
name=$1
mkdir -p "$build/found/$name"
seeds=tests/fuzz/corpus/$name
[ -d "$seeds" ] || seeds=
start=$(date +%s)
if timeout -k 5 $((seconds + 60)) "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
	-max_len=8192 -artifact_prefix="$build/found/$name/" -print_final_stats=1 "$build/found/$name" $seeds >"$log/$name" 2>&1; then
	touch "$log/$name.passed"
	runs=$(sed -n "s/^stat::number_of_executed_units: *//p" "$log/$name")
	printf "ok      %4d s  %s: %s inputs\n" $(($(date +%s) - start)) "$name" "${runs:-?}"
else
	{
		printf "FAILED  %4d s  %s\n" $(($(date +%s) - start)) "$name"
		tail -n 60 "$log/$name" | sed "s/^/    /"
	} >"$log/$name.report"
	cat "$log/$name.report"
fi'
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -n 1 sh -c "$one" fuzz
passed=$(find "$log" -name '*.passed' | wc -l)
failed=$(($# - passed))
if [ -n "$TEST_TALLY" ]; then
	echo "$passed $failed 0" >>"$TEST_TALLY"
	exit 0
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
