# SPDX-License-Identifier: Apache-2.0
"""NVMe over Fabrics: there is no such tier, and this says so."""
import warnings

NOT_SUPPORTED = -1012


def _typed(**given):
    for name, (value, kind) in given.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"incompatible function arguments: {name} must be {kind.__name__}, not {type(value).__name__}")


class MooncakeDistributedNoFRegister:
    """Registers NVMe-oF namespaces with a master. No master of ours has that tier: every call returns -1012."""

    __slots__ = ()

    @staticmethod
    def _refuse():
        warnings.warn("NVMe-oF namespaces cannot be registered: this build has no such tier; see docs/compatibility.md", RuntimeWarning, stacklevel=3)
        return NOT_SUPPORTED

    def real_register(self, nqn, nsid, traddr, trsvcid, base, size, master_server_addr, /) -> int:
        """Would register a namespace. Returns -1012: not available."""
        _typed(nqn=(nqn, str), nsid=(nsid, int), traddr=(traddr, str), trsvcid=(trsvcid, str), base=(base, int), size=(size, int),
               master_server_addr=(master_server_addr, str))
        return self._refuse()

    def real_unregister_by_endpoint(self, nqn, nsid, traddr, trsvcid, master_server_addr, /) -> int:
        """Would take it back. Returns -1012: not available."""
        _typed(nqn=(nqn, str), nsid=(nsid, int), traddr=(traddr, str), trsvcid=(trsvcid, str), master_server_addr=(master_server_addr, str))
        return self._refuse()
