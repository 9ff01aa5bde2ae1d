# SPDX-License-Identifier: Apache-2.0
"""Enumerations and plain records that cross the border to C. Values are those existing callers know."""
import enum


class _Enum(enum.Enum):
    """Members compare equal only to members of the same type, hash, and convert with int()."""

    def __int__(self):
        return self.value

    def __index__(self):
        return self.value


class ReplicaStatus(_Enum):
    UNDEFINED = 0
    INITIALIZED = 1
    PROCESSING = 2
    COMPLETE = 3
    REMOVED = 4
    FAILED = 5


class SoftPinAction(_Enum):
    PRESERVE = 0
    ENABLE = 1
    DISABLE = 2


class ObjectDataType(_Enum):
    UNKNOWN = 0
    KVCACHE = 1
    TENSOR = 2
    WEIGHT = 3
    SAMPLE = 4
    ACTIVATION = 5
    GRADIENT = 6
    OPTIMIZER_STATE = 7
    METADATA = 8
    GENERAL = 9


class TransferOpcode(enum.IntEnum):
    Read = 0
    Write = 1
    READ = 0
    WRITE = 1


class TransferNotify:
    """A message that goes with a transfer: both parts are text."""

    __slots__ = ("_name", "_msg")

    def __init__(self, name: str = "", msg: str = ""):
        self.name = name
        self.msg = msg

    @staticmethod
    def _text(what, value):
        if not isinstance(value, str):
            raise TypeError(f"TransferNotify.{what} must be str, not {type(value).__name__}")
        return value

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str):
        self._name = self._text("name", value)

    @property
    def msg(self) -> str:
        return self._msg

    @msg.setter
    def msg(self, value: str):
        self._msg = self._text("msg", value)

    def __repr__(self):
        return f"TransferNotify(name={self.name!r}, msg={self.msg!r})"
