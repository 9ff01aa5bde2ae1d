#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the compiler alone does not see in the module: W=1 and sparse against a kernel's headers, cppcheck, checkpatch.
# What is missing here is left out and named. CHECKPATCH: the script, if not the debug kernel's.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
say() { echo "lint-kmod: $*"; }
fail() { say "$*"; bad=1; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

if dir=$(tests/vm/kernel.sh "${1:-6.1}" 2>/dev/null); then
	cp -r kmod/. "$work"
	c=0
	command -v sparse >/dev/null && c=2 || say "no sparse here"
	make -s -C "$work" KDIR="$dir/headers" MC_TEST=m W=1 C=$c CF=-D__CHECK_ENDIAN__ modules >"$work/log" 2>&1 ||
		fail "does not build"
	# The kernel's own headers are not ours to mend.
	grep -E "^($work/|\./)?(test/|uapi/linux/)?[a-z0-9_]+\.[ch]:.*(warning|error):" "$work/log" && fail "the compiler or sparse complains"
else
	say "no kernel headers here"
fi

if command -v cppcheck >/dev/null; then
	# Arithmetic on void pointers is the kernel's dialect.
	cppcheck -q --enable=warning,portability,performance --inline-suppr --error-exitcode=1 -D__KERNEL__ -DCONFIG_NUMA \
		-DCONFIG_PROC_FS -DCONFIG_TRANSPARENT_HUGEPAGE -DMC_HAVE_MEMFD_PIN_FOLIOS -Ikmod -Ikmod/uapi \
		--include=tests/vm/cppcheck.h --suppress=missingInclude --suppress=arithOperationsOnVoidPointer kmod/*.c kmod/test/*.c || fail "cppcheck complains"
else
	say "no cppcheck here"
fi

check=${CHECKPATCH:-$(ls -d "${XDG_CACHE_HOME:-$HOME/.cache}"/mooncake/*-mcdebug-*/src/scripts/checkpatch.pl 2>/dev/null | tail -n 1)}
if [ -n "$check" ]; then
	# Exceptions: barriers and waitqueue_active() are explained where they are used, which may be the line above a block;
	# tables of calls and tracepoints have a form of their own; the operations a mapping gets are filled in at run time;
	# kzalloc_obj() is not in all our kernels; after a type it does not know it takes a star for a product.
	perl "$check" --no-tree --terse --show-types -q --max-line-length=120 --ignore \
		MEMORY_BARRIER,WAITQUEUE_ACTIVE,BRACKET_SPACE,CONST_STRUCT,ALLOC_WITH_SIZEOF,SPACING,COMPLEX_MACRO,TRAILING_SEMICOLON \
		-f kmod/*.c kmod/*.h kmod/test/*.[ch] kmod/uapi/linux/*.h >"$work/patch" || { grep -v ^total "$work/patch"; fail "checkpatch complains"; }
else
	say "no checkpatch here: it comes with the debug kernel's source (make kernel-debug)"
fi
[ $bad = 0 ] && say clean
exit $bad
