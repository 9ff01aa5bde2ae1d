#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every header compiles on its own; the public ones as C and as C++ too.
cd "$(dirname "$0")/../.." || exit 1
bad=0
for h in libmc/src/*/*.h daemon/*.h daemon/*/*.h; do
	[ -f "$h" ] || continue
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused -Werror -Ilibmc/include -Ilibmc/src -Ikmod/uapi -Idaemon -fsyntax-only -x c "$h" || bad=1
done
for h in libmc/include/*.h libmc/include/mooncake/*.h; do
	${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror -Ilibmc/include -fsyntax-only -x c "$h" || bad=1
	command -v c++ >/dev/null && { c++ -std=c++11 -Wall -Wextra -Werror -Ilibmc/include -fsyntax-only -x c++ "$h" || bad=1; }
done
exit $bad
