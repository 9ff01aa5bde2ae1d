#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs each test program named, one after the other, each with a time limit; ends with `N passed, N failed, N skipped`,
# counting programs. A failing program's output is shown whole.
#	TEST_LIMIT	seconds for each (120)
#	TEST_TALLY	file that gets the three counts instead of the last line; the exit status is then 0
#	TEST_SKIP_PY	why programs in Python are skipped
#	TEST_ENV_PY	variables that their interpreter needs for a sanitizer
limit=${TEST_LIMIT:-120}
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

run() {
	case $1 in
	*.py)
		[ -z "$TEST_SKIP_PY" ] || { echo "1..0 # SKIP $TEST_SKIP_PY"; return 77; }
		# shellcheck disable=SC2086
		timeout -k 5 "$limit" env $TEST_ENV_PY "${PYTHON:-python3}" "$1" ;;
	*) timeout -k 5 "$limit" "$1" ;;
	esac
}

for t in "$@"; do
	start=$(date +%s%N)
	run "$t" >"$log" 2>&1 </dev/null
	rc=$?
	ms=$((($(date +%s%N) - start) / 1000000))
	case $rc in
	0) passed=$((passed + 1)); printf 'ok      %6d ms  %s\n' "$ms" "$t" ;;
	77) skipped=$((skipped + 1)); printf 'skipped %6d ms  %s: %s\n' "$ms" "$t" "$(sed -n 's/.*# SKIP //p' "$log" | head -n 1)" ;;
	124 | 137) failed=$((failed + 1)); printf 'FAILED  %6d ms  %s: over %s s\n' "$ms" "$t" "$limit"; sed 's/^/    /' "$log" ;;
	*) failed=$((failed + 1)); printf 'FAILED  %6d ms  %s: exit %d\n' "$ms" "$t" "$rc"; sed 's/^/    /' "$log" ;;
	esac
done
if [ -n "$TEST_TALLY" ]; then
	echo "$passed $failed $skipped" >>"$TEST_TALLY"
	exit 0
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
