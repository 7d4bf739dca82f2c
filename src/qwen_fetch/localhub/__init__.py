"""A Hugging Face Hub on loopback: API, redirecting CDN and Xet storage, with faults and rates to order.

The real clients (`huggingface_hub`, `hf`, `hf_xet`) talk to it unchanged; nothing here imports them.

Example:
    >>> from pathlib import Path
    >>> from qwen_fetch.localhub import Fault, LocalHub, make_repo
    >>> make_repo(Path("repo"), scale=0.001)  # doctest: +SKIP
    >>> with LocalHub(Path("repo"), line_rate=80e6) as hub:  # doctest: +SKIP
    ...     hub.faults.add(Fault("any-data", cut_after=8_000_000, times=3))
    ...     print(hub.endpoint)
"""

from qwen_fetch.localhub.content import REAL_SIZES, make_repo
from qwen_fetch.localhub.faults import Fault, Faults
from qwen_fetch.localhub.hub import LocalHub
from qwen_fetch.localhub.log import Request, RequestLog

__all__ = ["REAL_SIZES", "Fault", "Faults", "LocalHub", "Request", "RequestLog", "make_repo"]
