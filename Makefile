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

# A sanitizer build has a folder of its own: make check SAN=address,undefined
comma := ,
BUILD ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
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
PKGS := json-c libcurl
CPPFLAGS_ALL := -D_GNU_SOURCE -Ilibmc/include -Ilibmc/src -Ikmod/uapi $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPT) -fPIC -fvisibility=hidden -pthread $(WARN) $(SANFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pthread $(SANFLAGS) $(LDFLAGS)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) libmicrohttpd libsystemd 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
SVC_LIBS := $(shell pkg-config --libs libmicrohttpd libsystemd 2>/dev/null)

include libmc/libmc.mk
include $(wildcard daemon/daemon.mk tools/tools.mk python/python.mk kmod/kmod.mk tests/tests.mk)

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(PKG_CFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

help:
	@echo 'make             build everything below $(BUILD)/: bin/ lib/ python/'
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make clean       remove what was built
clean:
	rm -rf build build-*

.PHONY: all help clean
