"""Bring a big Hub model through a line that breaks, know what is there, and load it.

from qwen_fetch import download, status

result = download(include=("*.json",))
print(result.snapshot_path, status().complete)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_fetch.base.version import __version__

if TYPE_CHECKING:
    from qwen_fetch.base.events import Listener
    from qwen_fetch.loading.loader import load_pipeline
    from qwen_fetch.routines.download import Result
    from qwen_fetch.routines.report import Report

__all__ = ["__version__", "download", "load_pipeline", "status"]


def download(*, resume: bool = True, force: bool = False, emit: Listener = lambda _: None, **settings: Any) -> Result:
    """Fetch what is missing of a snapshot, check it and link it, as the command does.

    Args:
        resume: Continue partial files; False starts those of the wanted files again.
        force: Fetch again even what is complete.
        emit: Told what happens; see `qwen_fetch.base.events`. Called from several threads.
        settings: The fields of `qwen_fetch.base.settings.Settings`: repo_id, revision, cache_dir, include,
            exclude, transport, timeout (s), stall_timeout (s), limit_rate (bytes/s), …

    Returns:
        What was done: sizes in bytes, and the snapshot's folder.

    Raises:
        qwen_fetch.base.problem.Problem: It could not be finished, with what to do; everything received is kept.
    """
    from qwen_fetch.base.settings import Settings  # noqa: PLC0415
    from qwen_fetch.diagnosis.translate import problem_of  # noqa: PLC0415 - importing the package costs nothing
    from qwen_fetch.routines.download import Download  # noqa: PLC0415

    wanted = Settings(**settings)
    try:
        return Download(wanted, emit, resume=resume, force=force).run()
    except Exception as error:
        raise problem_of(error, wanted) from error


def status(**settings: Any) -> Report:
    """What is here of a snapshot, without any network.

    Args:
        settings: As for `download`; of use here are repo_id, revision, cache_dir, include and exclude.

    Raises:
        qwen_fetch.base.problem.Problem: Nothing is known of this repo on this machine.
    """
    from qwen_fetch.base.settings import Settings  # noqa: PLC0415 - as above
    from qwen_fetch.routines.status import status as look  # noqa: PLC0415

    return look(Settings(**settings))


def __getattr__(name: str) -> Any:
    """`load_pipeline` is looked up when it is asked for: whoever only downloads need not have its packages."""
    if name == "load_pipeline":
        from qwen_fetch.loading.loader import load_pipeline  # noqa: PLC0415 - see above

        return load_pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
