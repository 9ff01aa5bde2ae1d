#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Looks for what a build or a test run needs, says what is missing and why, and installs it from Debian's packages when it may.
#	deps.sh build|check|bench|vm|kernel
# Silent and without network when nothing is missing. Exit 0: everything is there.
set -u
goal=${1:-build}
missing=''

need() { # need TEST PACKAGE WHY
	eval "$1" >/dev/null 2>&1 && return
	missing="$missing $2"
	printf 'missing: %-24s %s\n' "$2" "$3"
}
want() { # want TEST PACKAGE WHY: an optional part; installed when it may be, else the build does without
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && need "$@" && return
	eval "$1" >/dev/null 2>&1 || printf 'optional: %-23s %s\n' "$2" "$3"
}
have() { command -v "$1"; }

need 'have cc' gcc 'compiles everything'
if [ "$goal" = kernel ]; then
	for tool in bison flex bc; do need "have $tool" $tool 'builds the debug kernel'; done
	need '[ -e /usr/include/libelf.h ]' libelf-dev 'builds the debug kernel: objtool'
	need '[ -e /usr/include/openssl/ssl.h ]' libssl-dev 'builds the debug kernel: certificates'
fi
need 'have pkg-config' pkg-config 'finds the libraries below'
need 'pkg-config --exists json-c' libjson-c-dev 'JSON: metadata, status, configuration'
need 'pkg-config --exists libcurl' libcurl4-openssl-dev 'HTTP client: metadata service'
need 'pkg-config --exists hiredis' libhiredis-dev 'Redis client: metadata service'
need 'pkg-config --exists libmicrohttpd' libmicrohttpd-dev 'HTTP servers of the daemons'
need 'pkg-config --exists libsystemd' libsystemd-dev 'readiness, socket activation, kept descriptors'
want 'pkg-config --exists libnl-genl-3.0' libnl-genl-3-dev 'netlink: mooncakectl events'
need 'have python3' python3 'Python package, demo and tests'
need 'python3 -c "import sysconfig,os; assert os.path.exists(sysconfig.get_paths()[\"include\"] + \"/Python.h\")"' python3-dev \
	'headers for the Python extension'
if [ "$goal" = check ] || [ "$goal" = bench ]; then
	need 'have ip' iproute2 'network namespaces: several hosts on one machine'
	need 'python3 -c "import ensurepip"' python3-venv 'interoperability: upstream in an environment of its own'
	need 'ldconfig -p | grep -q libibverbs.so.1' libibverbs1 "interoperability: upstream's programs link it"
	need 'ldconfig -p | grep -q libnuma.so.1' libnuma1 "interoperability: upstream's programs link it"
	need 'have redis-server' redis-server 'tests of the metadata service'
	need 'have etcd' etcd-server 'tests of the metadata service'
	need 'have git' git 'lint: what belongs to the project'
	need 'have openssl' openssl 'tests of TLS'
	# Of use to the system's interpreter only; another one has a package index of its own.
	if [ "$(command -v python3)" = /usr/bin/python3 ]; then
		need 'python3 -c "import numpy"' python3-numpy 'tests of tensors'
		need 'python3 -c "import hypothesis"' python3-hypothesis 'tests of properties'
	fi
fi
if [ "$goal" = vm ]; then
	need 'have qemu-system-x86_64' qemu-system-x86 'boots the guests'
	need 'have busybox' busybox-static 'first process of a guest'
	need 'have g++' g++ 'the contract compiles as C++ too'
	[ "$(uname -m)" != x86_64 ] || need 'echo "int main(void) { return 0; }" | cc -m32 -static -x c - -o /dev/null' gcc-multilib '32-bit programs on a 64-bit kernel'
	need 'have cpio' cpio 'packs what a guest starts from'
	need 'PATH=$PATH:/sbin:/usr/sbin; have depmod' kmod "modules of the guest's kernel"
	need 'have xz' xz-utils "modules of the guest's kernel"
	need 'have pahole' pahole 'kernel modules that carry their types'
	need 'have bc' bc 'kernel headers'
	need '[ -e /usr/include/infiniband/verbs.h ]' libibverbs-dev 'tests that register memory'
	need 'have rdma' iproute2 'sets up a software RDMA device'
	need 'ls /etc/libibverbs.d/rxe.driver' ibverbs-providers 'the software RDMA device'
fi
[ -z "$missing" ] && exit 0

if ! have apt-get >/dev/null; then
	echo "this is not Debian: install the packages that hold these (names are Debian's) and run make again:"
	echo "   $missing"
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "run this, then make again:"
	echo "    sudo apt-get install -y --no-install-recommends$missing"
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 && exit 0
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
	echo "could not install$missing; see the messages above"
	exit 1
}
