# SPDX-License-Identifier: Apache-2.0
"""The transfer engine: move ranges between this process's memory and memory that peers registered."""
from ._core import InnerTransferEngine, TransferEngine
from ._types import TransferNotify, TransferOpcode

TransferEngine.TransferOpcode = TransferOpcode
Read, Write = TransferOpcode.Read, TransferOpcode.Write

SUPPORT_CUDA = SUPPORT_EFA = SUPPORT_HIP = SUPPORT_MNNVL = SUPPORT_MUSA = SUPPORT_INTRA_NVLINK = False

__all__ = ["InnerTransferEngine", "Read", "TransferEngine", "TransferNotify", "TransferOpcode", "Write"]
