# SPDX-License-Identifier: Apache-2.0
"""Registered memory on loan, under the name of an older release."""
from .store import (BufferLease, BufferLeaseView, BufferPool, RegisteredBufferLease, RegisteredBufferLeaseView,
                    RegisteredBufferPool)

__all__ = ["BufferLease", "BufferLeaseView", "BufferPool", "RegisteredBufferLease", "RegisteredBufferLeaseView", "RegisteredBufferPool"]
