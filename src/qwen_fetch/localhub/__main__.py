"""`python -m qwen_fetch.localhub`: the hub on its own, for benchmarks and for trying things out."""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, get_args

from qwen_fetch.base.door import say
from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.faults import KINDS, Fault, Faults
from qwen_fetch.localhub.hub import LOOPBACK, LocalHub
from qwen_fetch.localhub.kept import Packing

_UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM. The first line on stdout tells the endpoint."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.packing != "none" and options.store is None:
        parser.error("--packing is for the xorbs in --store, which is not given")
    # SIGTERM ends the way Ctrl-C does: everything is closed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        folder = options.folder
        if folder is None:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="localhub-"))
            folder = Path(root) / "repo"
            make_repo(folder, scale=options.scale)
        log_file: TextIO | None = None
        if options.log is not None:
            log_file = stack.enter_context(options.log.open("a", encoding="utf-8"))
        hub = stack.enter_context(
            LocalHub(
                folder,
                repo_id=options.repo_id,
                xet=not options.no_xet,
                faults=Faults(*options.fault),
                line_rate=options.line_rate,
                connection_rate=options.connection_rate,
                latency=options.latency_ms / 1000,
                token=options.token,
                url_lifetime=options.url_lifetime,
                port=options.port,
                log_file=log_file,
                store=options.store,
                packing=options.packing,
                address=options.address,
            )
        )
        say(f"HF_ENDPOINT={hub.endpoint}")
        say(f"{folder} as {hub.repo_id}, commit {hub.commit}, data at {hub.data_endpoint}", file=sys.stderr)
        while True:
            time.sleep(3600)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m qwen_fetch.localhub", description=__doc__)
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--folder", type=Path, metavar="DIR", help="the folder to serve")
    content.add_argument(
        "--scale",
        type=float,
        default=0.001,
        metavar="X",
        help="serve a made-up Qwen-Image-Edit of that size, 1 for 57.7 GB (default: 0.001)",
    )
    parser.add_argument("--repo-id", default="Qwen/Qwen-Image-Edit", metavar="OWNER/NAME")
    parser.add_argument("--no-xet", action="store_true", help="plain HTTP only")
    parser.add_argument(
        "--line-rate", type=_rate, metavar="BYTES", help="bytes/s of all data together, such as 80M (10^6)"
    )
    parser.add_argument("--connection-rate", type=_rate, metavar="BYTES", help="bytes/s of each connection")
    parser.add_argument("--latency-ms", type=float, default=0.0, metavar="MS", help="before every reply")
    parser.add_argument("--url-lifetime", type=float, metavar="S", help="seconds until a data URL expires")
    parser.add_argument("--token", help="refuse every other token, and none")
    parser.add_argument("--store", type=Path, metavar="DIR", help="keep xorbs there as files, which is the fastest")
    parser.add_argument(
        "--packing", choices=get_args(Packing), default="none", help="how the chunks in --store are packed"
    )
    parser.add_argument("--address", default=LOOPBACK, help=argparse.SUPPRESS)  # of a namespace, for the benchmark
    parser.add_argument("--port", type=int, default=0, help="of the endpoint (default: any)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append each request as a line of JSON")
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="KIND:ACTION=VALUE,…",
        help="what goes wrong, such as any-data:cut_after=8000000,times=3; may be repeated. "
        f"Kinds: {', '.join(KINDS)}. Actions and conditions: see qwen_fetch/localhub/faults.py",
    )
    return parser


def _rate(text: str) -> float:
    """Read bytes/s with an optional K, M or G."""
    unit = _UNITS.get(text[-1:].upper())
    value = float(text) if unit is None else float(text[:-1]) * unit
    if value <= 0:
        raise argparse.ArgumentTypeError("a rate is more than 0")
    return value


def _fault(text: str) -> Fault:
    try:
        return Fault.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
