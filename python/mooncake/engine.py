# SPDX-License-Identifier: Apache-2.0
"""The transfer engine: move ranges between this process's memory and memory that peers registered."""
from ._core import InnerTransferEngine, TransferEngine
from ._types import TransferNotify, TransferOpcode

TransferEngine.TransferOpcode = TransferOpcode
Read, Write = TransferOpcode.Read, TransferOpcode.Write

SUPPORT_CUDA = SUPPORT_EFA = SUPPORT_HIP = SUPPORT_MNNVL = SUPPORT_MUSA = SUPPORT_INTRA_NVLINK = False

# Written in Python, and loaded when they are asked for.
_LATER = {"SharedSegment": "_segment", "RpcInterface": "_rpc", "CoroRPCInterface": "_rpc", "ReceivedData": "_rpc", "ReceivedTensor": "_rpc",
          "create_rpc_client": "_rpc", "create_rpc_server": "_rpc"}

__all__ = ["InnerTransferEngine", "Read", "TransferEngine", "TransferNotify", "TransferOpcode", "Write", *_LATER]


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module("." + _LATER[name], __package__), name)
