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
# An extension built with a sanitizer does not load into an interpreter built without, unless gcc's address sanitizer is there first.
TEST_SKIP_PY=${SAN:+the interpreter is built without $SAN}
case $SAN in
*address*)
	TEST_PRELOAD_PY=$("${CC:-cc}" -print-file-name=libasan.so)
	[ -f "$TEST_PRELOAD_PY" ] && TEST_SKIP_PY='' ;;
esac
export TEST_SKIP_PY TEST_PRELOAD_PY

# shellcheck disable=SC2086
{
	echo '== unit'
	tests/run.sh $UNIT
	echo '== integration'
	TEST_LIMIT=240 tests/run.sh $INTEGRATION
	if [ -n "$PYTHON_TESTS" ]; then
		echo '== python'
		tests/run.sh $PYTHON_TESTS
	fi
}
if [ -z "$SAN" ]; then
	echo '== fuzz'
	FUZZ_SECONDS=${FUZZ_SECONDS:-3} "${MAKE:-make}" --no-print-directory -s fuzz || echo '0 1 0' >>"$TEST_TALLY"
fi

awk '{ p += $1; f += $2; s += $3 } END { print p + 0 " passed, " f + 0 " failed, " s + 0 " skipped"; exit f || !p }' "$TEST_TALLY"
