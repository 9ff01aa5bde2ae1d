# SPDX-License-Identifier: Apache-2.0
"""python -m mooncake.transfer_engine_topology_dump: where memory of this machine can be, and which RDMA devices are near each place."""
import argparse
import os
import sys


def _parse(argv):
    p = argparse.ArgumentParser(prog="transfer_engine_topology_dump", description=__doc__.split(": ", 1)[1])
    p.add_argument("--device-name", default="", help="comma list of RDMA devices to look at; empty: all")
    p.add_argument("--backend", choices=("auto", "te", "tent"), default="auto", help="auto and te are the same; tent is not in this build")
    p.add_argument("--use-custom-topo", action="store_true", help="what MC_CUSTOM_TOPO_JSON names, not what is found")
    p.add_argument("--custom-topo-json", metavar="PATH", default="", help="what this file says, not what is found")
    return p.parse_args(argv)


def _dump(o):
    """The line, or a RuntimeError that says what is wrong."""
    path = o.custom_topo_json or (os.environ.get("MC_CUSTOM_TOPO_JSON", "") if o.use_custom_topo else "")
    if o.backend == "tent":
        raise RuntimeError("--backend tent is not in this build; leave it out")
    if o.use_custom_topo and not path:
        raise RuntimeError("--use-custom-topo needs MC_CUSTOM_TOPO_JSON, or --custom-topo-json PATH")
    if path and not os.access(path, os.R_OK):
        raise RuntimeError(f"the custom topology {path} cannot be read")
    if path:
        os.environ["MC_CUSTOM_TOPO_JSON"] = path
    else:
        os.environ.pop("MC_CUSTOM_TOPO_JSON", None)
    from .engine import TransferEngine
    text = TransferEngine().get_local_topology(o.device_name or None)
    return f"Local topology [te/{f'custom ({path})' if path else 'discover'}]: {text}"


def main(argv=None) -> int:
    """The exit status: 0, or 1 with a line on the standard error."""
    try:
        sys.stdout.write(_dump(_parse(argv)))
    except RuntimeError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
