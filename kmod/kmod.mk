# SPDX-License-Identifier: GPL-2.0-only
# The kernel module, its tests and what makes its device usable. KDIR: headers of a kernel; KERNEL: what check-vm boots.

KDIR ?= /lib/modules/$(shell uname -r)/build
KERNEL ?= 6.1
# What tests/vm/test_* run in the guest beside the kernel's tests.
VM_BIN = $(patsubst %,$(BUILD)/tests/unit/test_%,region guard pool kept recover owner module) $(BUILD)/tests/integration/node_restart \
	$(CTL_BIN) $(DAEMON_BIN)
KMOD_DKMS := $(DESTDIR)/usr/src/mooncake-$(VERSION)

#: make kmod        build mooncake.ko against KDIR (default: the running kernel)
kmod:
	$(Q)$(MAKE) -C kmod KDIR=$(KDIR) modules

#: make check-vm    boot kernels under QEMU and test the module there (KERNEL="6.1 6.12 newest", DEBUG=1: the debug kernel)
check-vm: $(VM_BIN) $(if $(DEBUG),kernel-debug)
	$(Q)BUILD=$(BUILD) MC_VM_OUT=build/vm tests/vm/run.sh $(if $(DEBUG),debug,$(KERNEL)) || [ $$? -eq 77 ]

#: make kernel-debug  build, once, the kernel that check-vm DEBUG=1 boots: half an hour, outside the tree
kernel-debug:
	$(Q)tests/vm/debug.sh

#: make lint-kmod   W=1, sparse, cppcheck and checkpatch on the module, as far as they are here
lint-kmod:
	$(Q)tests/vm/lint.sh $(KERNEL)

#: make fuzz-vm     random calls in the debug kernel for FUZZ_SECONDS (600); SEED=n again, KERNEL=6.1 elsewhere
FUZZ_SECONDS ?= 600
fuzz-vm: KERNEL = debug
fuzz-vm: $(if $(filter undefined file,$(origin KERNEL)),kernel-debug)
	$(Q)MC_VM_OUT=build/vm MC_VM_DO=fuzz MC_VM_ARGS='$(FUZZ_SECONDS) $(SEED)' MC_VM_LIMIT=$$(($(FUZZ_SECONDS) + 1200)) \
		tests/vm/run.sh $(KERNEL) || [ $$? -eq 77 ]

#: make bench-vm    what memory behind /dev/mooncake costs in a guest (KERNEL=); JSON lines, ratios mean something
bench-vm: $(BUILD)/tests/bench/bench_store $(BUILD)/tests/bench/bench_ring $(DAEMON_BIN)
	$(Q)BUILD=$(BUILD) MC_VM_OUT=build/vm MC_VM_DO=bench tests/vm/run.sh $(KERNEL) || [ $$? -eq 77 ]

# Where the kernel has the module, `make bench` does it too, and times mean something.
bench: | $(if $(B),,$(if $(wildcard /dev/mooncake),bench-kmod))
bench-kmod: kselftest
	$(Q)build/kselftest/bench_kmod

#: make check-vm-system  boot a small Debian with systemd and test what `make install` installs there (KERNEL=, SUITE=)
SUITE ?= bookworm
check-vm-system: all
	$(Q)tests/vm/system.sh -s $(SUITE) $(KERNEL)

#: make check-dkms  add, build, sign, install and remove with DKMS for each KERNEL
check-dkms:
	$(Q)tests/vm/dkms.sh $(KERNEL)

#: make kselftest   build the tests of /dev/mooncake into build/kselftest
kselftest:
	$(Q)$(MAKE) -s -C tests/kselftest

#: make install-dkms  the module's source, for `dkms install mooncake/VERSION`
install-dkms:
	install -d $(KMOD_DKMS)/uapi/linux
	install -m 644 dkms.conf kmod/Kbuild kmod/Makefile $(filter-out %.mod.c,$(wildcard kmod/*.c)) kmod/*.h $(KMOD_DKMS)
	install -m 644 kmod/uapi/linux/*.h $(KMOD_DKMS)/uapi/linux
	rm -f $(KMOD_DKMS)/mooncake_test.h

# Headers alone are not enough for the kernel's own rules to run depmod. Signing is DKMS's job.
#: make install-kmod  the module that `make kmod` built; `make install` does it too when there is one
KMOD ?= kmod
install-kmod:
	$(Q)$(MAKE) -C $(KMOD) KDIR=$(KDIR) INSTALL_MOD_PATH=$(DESTDIR) CONFIG_MODULE_SIG_ALL= modules_install
	$(Q)$(if $(DESTDIR),,depmod $$($(MAKE) -s -C $(KDIR) kernelrelease))

install: install-udev $(if $(wildcard $(KMOD)/mooncake.ko),install-kmod)
install-udev:
	install -D -m 644 udev/70-mooncake.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d/70-mooncake.rules
	install -D -m 644 udev/mooncake.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/mooncake.conf
	install -D -m 644 udev/mooncake.modules-load $(DESTDIR)$(PREFIX)/lib/modules-load.d/mooncake.conf
	install -d $(DESTDIR)$(PREFIX)/include/linux
	install -m 644 kmod/uapi/linux/*.h $(DESTDIR)$(PREFIX)/include/linux

.PHONY: kmod lint-kmod check-vm fuzz-vm bench-vm bench-kmod kernel-debug check-vm-system check-dkms kselftest install-kmod install-dkms install-udev
