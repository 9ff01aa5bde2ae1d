#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs each test program named, one after the other, each with a time limit; ends with `N passed, N failed, N skipped`,
# counting programs. A failing program's output is shown whole.
limit=${TEST_LIMIT:-120}
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for t in "$@"; do
	start=$(date +%s%N)
	timeout -k 5 "$limit" "$t" >"$log" 2>&1 </dev/null
	rc=$?
	ms=$((($(date +%s%N) - start) / 1000000))
	case $rc in
	0) passed=$((passed + 1)); printf 'ok      %6d ms  %s\n' "$ms" "$t" ;;
	77) skipped=$((skipped + 1)); printf 'skipped %6d ms  %s: %s\n' "$ms" "$t" "$(sed -n 's/.*# SKIP //p' "$log" | head -n 1)" ;;
	124 | 137) failed=$((failed + 1)); printf 'FAILED  %6d ms  %s: over %s s\n' "$ms" "$t" "$limit"; sed 's/^/    /' "$log" ;;
	*) failed=$((failed + 1)); printf 'FAILED  %6d ms  %s: exit %d\n' "$ms" "$t" "$rc"; sed 's/^/    /' "$log" ;;
	esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
