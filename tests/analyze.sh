#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# analyze.sh FLAGS FILE...: clang's static analyzer over each file, as many at a time as there are processors. What it reports is held against
# tests/analyze.known, lines `path checker how-many why`: a report that is not there fails, and so does a line nothing is reported for.
cd "$(dirname "$0")/.." || exit 1
command -v "${ANALYZE_CLANG:=clang}" >/dev/null || { echo "analyze: no $ANALYZE_CLANG here: apt-get install clang"; exit 77; }
flags=$1
shift
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT
export flags log ANALYZE_CLANG

# Each file's reports lie together, the way to them indented below.
one='
# shellcheck disable=SC2086
"$ANALYZE_CLANG" --analyze -Xclang -analyzer-output=text $flags "$1" >"$log/$(echo "$1" | tr / _)" 2>&1 ||
	echo "$1:0:0: warning: it does not compile [compile]" >>"$log/$(echo "$1" | tr / _)"'
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c "$one" one {}

# A report in a header is a report of the file it was found in, which its log is named for.
for f in "$@"; do
	sed -n 's/^[^ ]*: warning: .*\[\([a-zA-Z.]*\)\]$/\1/p' "$log/$(echo "$f" | tr / _)" | sed "s|^|$f |"
done | sort | uniq -c | awk '{ print $2, $3, $1 }' >"$log/found"
grep -v '^#\|^$' tests/analyze.known | awk '{ print $1, $2, $3 }' | sort >"$log/known"
sort -o "$log/found" "$log/found"
bad=0
comm -23 "$log/found" "$log/known" >"$log/new"
while read -r f checker nr; do
	echo "$f: $nr of $checker"
	cat "$log/$(echo "$f" | tr / _)"
	bad=1
done <"$log/new"
comm -13 "$log/found" "$log/known" | while read -r f checker nr; do echo "tests/analyze.known: $f $checker $nr is not what is reported"; done >"$log/gone"
cat "$log/gone"
[ -s "$log/gone" ] && bad=1
[ $bad -eq 0 ] && echo "analyze: nothing new in $# files"
exit $bad
