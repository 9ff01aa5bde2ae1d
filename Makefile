# SPDX-License-Identifier: Apache-2.0
# One plain, non-recursive Makefile: each fragment names its sources and targets. `make help` lists what a person calls.

V ?= 0
Q := $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-8s %s\n' '$(1)' '$(2)')

CC ?= cc
AR ?= ar
PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
SAN ?=
WERROR ?= yes

# Where Python.h is, and, of a free-threaded interpreter, how its extensions' names end.
PY_FACTS := $(shell $(PYTHON) -c 'import sysconfig as s; v = s.get_config_var; \
	print(s.get_paths()["include"], v("EXT_SUFFIX") if v("Py_GIL_DISABLED") else "")' 2>/dev/null)
PY_SUFFIX := $(word 2,$(PY_FACTS))

# A sanitizer build has a folder of its own, make check SAN=address,undefined, and one for a free-threaded Python.
comma := ,
BUILD ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(PY_SUFFIX),-freethreaded)
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

all:

VERSION := $(shell sed -n 's/^\#define MC_VERSION "\(.*\)"/\1/p' libmc/include/mooncake/mooncake.h)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wformat=2 \
	-Wno-unused-parameter -Wno-missing-field-initializers $(if $(filter yes,$(WERROR)),-Werror)
OPT ?= -O2 -g
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
# Optional parts: on where their library is found, off with WITH_...=no.
WITH_REDIS ?= $(if $(shell pkg-config --exists hiredis && echo yes),yes,no)
PKGS := json-c libcurl $(if $(filter yes,$(WITH_REDIS)),hiredis)
CPPFLAGS_ALL := -D_GNU_SOURCE $(if $(filter yes,$(WITH_REDIS)),-DMC_WITH_REDIS) -Ilibmc/include -Ilibmc/src -Ikmod/uapi $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPT) -fPIC -fvisibility=hidden -pthread $(WARN) $(SANFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pthread $(SANFLAGS) $(LDFLAGS)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) libmicrohttpd libsystemd 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
SVC_LIBS := $(shell pkg-config --libs libmicrohttpd libsystemd 2>/dev/null)
MISSING := $(shell pkg-config --exists $(PKGS) libmicrohttpd libsystemd 2>/dev/null || echo yes)

include libmc/libmc.mk
include $(wildcard daemon/daemon.mk tools/tools.mk python/python.mk kmod/kmod.mk tests/tests.mk)

libraries:
	$(if $(MISSING),$(error libraries are missing: `make deps-build` names them, and installs them where it may))

$(BUILD)/obj/%.o: %.c | libraries
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(PKG_CFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

help:
	@echo 'make             build everything below $(BUILD)/: bin/ lib/ python/'
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

# Targets that need a tool look for it first; with nothing missing that is silent and needs no network.
#: make deps-build  look for what a build needs; root on Debian gets it installed, others are told the command
deps-%:
	$(Q)tools/deps.sh $*

#: make check       all tests but the long ones; ends with `N passed, N failed, N skipped`
check: deps-check
	$(Q)$(MAKE) --no-print-directory check-all

#: make demo        replay a request trace through master, nodes and clients; TRACE=file for a whole one
demo: deps-build
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(PYTHON) tools/demo/demo.py --build $(BUILD) $(if $(TRACE),--trace $(TRACE)) $(DEMO)

#: make lint        layers, exports, headers, form, version
lint: deps-check
	$(Q)$(MAKE) --no-print-directory lint-all

lint-all: $(LIBMC_SO) $(CAPI_SO)
	$(Q)rc=0; for t in tests/lint/*.sh; do "$$t" || { echo "lint: $$t failed"; rc=1; }; done; [ $$rc -eq 0 ] && echo 'lint: clean'

#: make analyze     clang's static analyzer over the C code; what is known to be no fault: tests/analyze.known
ANALYZE_FLAGS = $(CPPFLAGS_ALL) $(PKG_CFLAGS) -std=gnu11 -DPy_LIMITED_API=0x030b0000 -isystem $(firstword $(PY_FACTS)) $(NL_CFLAGS) \
	$(addprefix -I,daemon daemon/master daemon/metadata daemon/node tools tools/ctl tools/bench)
analyze: deps-build
	$(Q)tests/analyze.sh '$(ANALYZE_FLAGS)' $$(git ls-files 'libmc/src/*.c' 'daemon/*.c' 'tools/*.c' 'python/src/*.c')

# Not whole files: what stands in columns, and a comment behind a line, is better where somebody put it.
#: make format      clang-format over the lines changed since a commit (SINCE=HEAD), but not the module's
SINCE ?= HEAD
format:
	$(Q)git clang-format --force --extensions c,h $(SINCE) -- . ':(exclude)kmod' || [ $$? -eq 1 ]

#: make install     DESTDIR= PREFIX=/usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include/mooncake
	install -m 755 $(wildcard $(BUILD)/bin/mooncake-*) $(wildcard $(BUILD)/bin/mooncakectl) $(ENGINE_TOOLS) $(DESTDIR)$(PREFIX)/bin
	ln -sf mooncake-master $(DESTDIR)$(PREFIX)/bin/mooncake_master
	ln -sf mooncake-node $(DESTDIR)$(PREFIX)/bin/mooncake_client
	install -m 755 $(LIBMC_SO) $(DESTDIR)$(PREFIX)/lib/libmc.so.$(VERSION)
	ln -sf libmc.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libmc.so.0
	ln -sf libmc.so.0 $(DESTDIR)$(PREFIX)/lib/libmc.so
	install -m 755 $(CAPI_SO) $(DESTDIR)$(PREFIX)/lib
	install -m 644 libmc/include/mooncake/*.h $(DESTDIR)$(PREFIX)/include/mooncake
	install -m 644 libmc/include/transfer_engine_c.h $(DESTDIR)$(PREFIX)/include
	for p in libmc/*.pc.in; do to=$(DESTDIR)$(PREFIX)/lib/pkgconfig/$$(basename $$p .in); \
		install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig && \
		sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' $$p >$$to && chmod 644 $$to || exit; done
	for m in docs/man/*.[0-9]; do s=$${m##*.} to=$(DESTDIR)$(PREFIX)/share/man/man$${m##*.}; \
		install -D -m 644 "$$m" $$to/$${m##*/} || exit; \
		for n in $$(sed -n '/^\.SH NAME/{n;s/ \\-.*//;s/,//g;p;q;}' $$m); do \
			[ $$n.$$s = $${m##*/} ] || ln -sf $${m##*/} $$to/$$n.$$s; done; done
	for u in systemd/*.service systemd/*.socket systemd/*.target; do [ -f "$$u" ] || continue; \
		install -D -m 644 "$$u" $(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/}; done
	install -D -m 644 systemd/mooncake.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/mooncake-daemons.conf

#: make uninstall   remove what install with the same DESTDIR and PREFIX put there
uninstall:
	$(Q)tmp=$$(mktemp -d) && $(MAKE) -s install DESTDIR=$$tmp >/dev/null && \
		(cd $$tmp && find . ! -type d) | while read -r f; do rm -f "$(DESTDIR)/$$f"; done; rm -rf $$tmp
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(PREFIX)/include/mooncake

#: make clean       remove what was built
clean:
	rm -rf build build-*

.PHONY: all help libraries check demo lint lint-all analyze format install uninstall clean
