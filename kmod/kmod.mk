# SPDX-License-Identifier: GPL-2.0-only
# The kernel module and its tests. KDIR: headers of a kernel; KERNEL: which kernels check-vm boots.

KDIR ?= /lib/modules/$(shell uname -r)/build
KERNEL ?= 6.1

#: make kmod        build mooncake.ko against KDIR (default: the running kernel)
kmod:
	$(Q)$(MAKE) -C kmod KDIR=$(KDIR) modules

#: make check-vm    boot stock kernels under QEMU and test the module there (KERNEL="6.1 6.12")
check-vm:
	$(Q)MC_VM_OUT=build/vm tests/vm/run.sh $(KERNEL)

.PHONY: kmod check-vm
