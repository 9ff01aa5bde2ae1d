#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All tests, called by `make check`: UNIT, INTEGRATION and PYTHON_TESTS name the programs, BUILD the build they test. Ends with
# the one line `N passed, N failed, N skipped`. A program counts once, and so does each decoder's fuzz target.
TEST_TALLY=$(mktemp) || exit 1
trap 'rm -f "$TEST_TALLY"' EXIT
trap 'exit 1' INT TERM
export BUILD SAN PYTHON TEST_TALLY
unset MAKEFLAGS MAKELEVEL MFLAGS
PYTHONPATH=$(realpath "$BUILD")/python${PYTHONPATH:+:$PYTHONPATH}
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
# An extension built with a sanitizer does not load into an interpreter built without, unless gcc's library is there first. What the
# interpreter itself does is not looked at: leaks at its end, and what it reads and writes without being built for it.
TEST_SKIP_PY=${SAN:+the interpreter is built without $SAN}
case $SAN in
*address*) lib=libasan.so options=ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 ;;
*thread*) lib=libtsan.so options=TSAN_OPTIONS=ignore_noninstrumented_modules=1:die_after_fork=0:allocator_may_return_null=1 ;;
*) lib='' ;;
esac
if [ "$lib" ]; then
	lib=$(${CC:-cc} -print-file-name="$lib")
	cxx=$(${CC:-cc} -print-file-name=libstdc++.so.6) # a C++ extension that throws wants it there before the sanitizer starts
	[ -f "$lib" ] && TEST_SKIP_PY='' TEST_ENV_PY="LD_PRELOAD=$lib$([ ! -f "$cxx" ] || echo ":$cxx") $options"
	PYTHON=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)') # a wrapper would be preloaded too
fi
export TEST_SKIP_PY TEST_ENV_PY

# Seconds for a program; a sanitizer's takes several times as long, and the machine may be busy.
if [ "$SAN" ]; then
	limit=300 long=600
else
	limit=120 long=240
fi

# shellcheck disable=SC2086
{
	echo '== unit'
	TEST_LIMIT=$limit tests/run.sh $UNIT
	echo '== integration'
	TEST_LIMIT=$long tests/run.sh $INTEGRATION
	if [ -n "$PYTHON_TESTS" ]; then
		echo '== python'
		TEST_LIMIT=$limit tests/run.sh $PYTHON_TESTS
	fi
}
if [ -z "$SAN" ]; then
	echo '== fuzz'
	FUZZ_SECONDS=${FUZZ_SECONDS:-3} "${MAKE:-make}" --no-print-directory -s fuzz || echo '0 1 0' >>"$TEST_TALLY"
fi

awk '{ p += $1; f += $2; s += $3 } END { print p + 0 " passed, " f + 0 " failed, " s + 0 " skipped"; exit f || !p }' "$TEST_TALLY"
