#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Small things a reader trips over: licence line, a line that says what the file is for, trailing blanks, very long lines and files.
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C.UTF-8 # columns are characters
bad=0
say() { echo "$@"; bad=1; }
for f in $(git ls-files '*.c' '*.h' '*.sh' '*.py' '*.mk' 2>/dev/null); do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier' || say "$f: no SPDX line at the top"
done
# A test may be a little longer: one rig, many cases.
for f in $(git ls-files '*.c' '*.h' '*.py' '*.sh' 2>/dev/null); do
	case $f in tests/*) max=700 ;; *) max=600 ;; esac
	[ "$(wc -l <"$f")" -le $max ] || say "$f: over $max lines; which second story can move out?"
done
git grep -nI '[[:blank:]]$' -- '*.c' '*.h' '*.sh' '*.py' '*.mk' '*.md' ':!LICENSES' && say 'trailing blanks above'
# A string that users see (a docstring, a message) may stay in one piece.
git grep -nIE '^.{133,}' -- '*.c' '*.h' | grep -vE ':[0-9]+:[[:space:]{]*"' && say 'lines over 132 columns above'
git grep -nI '^    [^ *]' -- '*.c' '*.h' ':!kmod' && say 'indented with blanks above: tabs, please'
exit $bad
