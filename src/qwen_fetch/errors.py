"""What can go wrong, as data: each kind of problem has an id, a cause, a remedy and an exit code.

This module imports nothing of the package, so that everything may raise its problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["ExitCode", "Kind", "Problem"]


class ExitCode(IntEnum):
    """How the command ends; scripts rely on these numbers."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    INCOMPLETE = 3
    NETWORK = 4
    ACCESS = 5
    NOT_FOUND = 6
    DISK_FULL = 7
    FILE_SYSTEM = 8
    CORRUPT = 9
    BUSY = 10
    CANNOT_LOAD = 11
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the texts are `str.format` templates over the facts of the case.

    Attributes:
        id: Stable kebab-case name, for scripts, tests and bug reports.
        exit_code: What the process returns.
        what: What happened.
        why: The likely cause.
        do: What to do now, each a sentence or a command.
    """

    id: str
    exit_code: ExitCode
    what: str
    why: str
    do: tuple[str, ...]


class Problem(Exception):  # noqa: N818 - it is told to the user as a problem, not as an error of the program
    """Something a user can meet, told so that it helps.

    Args:
        kind: Which problem it is.
        kept: What has been kept on disk, if anything was at stake.
        facts: Values for the templates of `kind`.
    """

    def __init__(self, kind: Kind, *, kept: str = "", **facts: object) -> None:
        self.kind = kind
        self.kept = kept
        self.facts = facts
        super().__init__(self.what)

    @property
    def id(self) -> str:
        """The stable name of this kind of problem."""
        return self.kind.id

    @property
    def exit_code(self) -> ExitCode:
        """What the process returns for it."""
        return self.kind.exit_code

    @property
    def what(self) -> str:
        """What happened."""
        return self.kind.what.format(**self.facts)

    @property
    def why(self) -> str:
        """The likely cause."""
        return self.kind.why.format(**self.facts)

    @property
    def do(self) -> tuple[str, ...]:
        """What to do now."""
        return tuple(line.format(**self.facts) for line in self.kind.do)

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "id": self.id,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "why": self.why,
            "do": list(self.do),
            "kept": self.kept,
        }

    def lines(self) -> list[str]:
        """The whole message, a line per part: what, why, what to do, what was kept."""
        parts = [("why", self.why), *(("do", line) for line in self.do), ("kept", self.kept)]
        return [
            f"error: {self.what} [{self.id}]",
            *(f"  {label + ':':<5} {text}" for label, text in parts if text),
        ]


USAGE = Kind(
    "usage",
    ExitCode.USAGE,
    what="{detail}",
    why="",
    do=("qwen-fetch --help shows every option.",),
)
NO_MATCH = Kind(
    "no-match",
    ExitCode.USAGE,
    what="No file of {repo_id} matches {patterns}.",
    why="Patterns are globs over the paths inside the repo, such as '*.json' or 'vae/*'. It holds:\n{listing}",
    do=("Quote the pattern, so that the shell does not expand it.",),
)
NETWORK = Kind(
    "network",
    ExitCode.NETWORK,
    what="No answer from {host}: {detail}.",
    why="{cause}",
    do=("Check the connection, then run the same command again: it goes on where it stopped.",),
)
GAVE_UP = Kind(
    "gave-up",
    ExitCode.NETWORK,
    what="{path}: {tries} tries in a row brought no new byte (last: {detail}).",
    why="The line or the server keeps failing at this place.",
    do=(
        "Run the same command again later: it goes on where it stopped.",
        "Try the other way: --transport http, or --transport xet.",
    ),
)
OFFLINE = Kind(
    "offline-switch",
    ExitCode.NETWORK,
    what="The network is switched off by {variable}.",
    why="This environment variable tells every Hub client to stay offline.",
    do=("Unset {variable}, then run the same command again.",),
)
NOTHING_KNOWN = Kind(
    "nothing-known",
    ExitCode.INCOMPLETE,
    what="Nothing is known here about {repo_id} at {revision}.",
    why="No download has begun in {cache_dir}, or another revision was fetched.",
    do=("Start the download: {command}",),
)
ACCESS = Kind(
    "access-denied",
    ExitCode.ACCESS,
    what="{host} refuses access to {repo_id} ({detail}).",
    why="The token is wrong or expired, or the repo is private or gated.",
    do=(
        "Public models need no token: unset HF_TOKEN, or run: hf auth logout",
        "For a gated or private repo: accept its terms on its page, then run: hf auth login",
    ),
)
NOT_FOUND = Kind(
    "not-found",
    ExitCode.NOT_FOUND,
    what="{host} does not know {subject} ({detail}).",
    why="A name is misspelt, or it was renamed or deleted.",
    do=("Check --repo-id and --revision.",),
)
HUB_ERROR = Kind(
    "hub-error",
    ExitCode.NETWORK,
    what="{host} answered {detail}.",
    why="The Hub or something in front of it has a fault.",
    do=("Wait a few minutes, then run the same command again: it goes on where it stopped.",),
)
UNSAFE_LISTING = Kind(
    "unsafe-listing",
    ExitCode.CORRUPT,
    what="{host} lists a file that cannot be stored safely: {detail}.",
    why="A listing with such an entry is broken or hostile.",
    do=("Check --endpoint: use a Hub or a mirror that you trust.",),
)
DISK_FULL = Kind(
    "disk-full",
    ExitCode.DISK_FULL,
    what="The disk of {path} is full.",
    why="{detail}",
    do=(
        "Free some space, then run the same command again: it goes on where it stopped.",
        "Or put the cache on a larger disk: set HF_HOME, or use --cache-dir.",
    ),
)
FILE_SYSTEM = Kind(
    "file-system",
    ExitCode.FILE_SYSTEM,
    what="{path}: {detail}.",
    why="The file system refused it: a permission, a read-only disk, or a fault of the disk.",
    do=("Make the folder writable for this user, or choose another with --cache-dir.",),
)
CORRUPT = Kind(
    "corrupt-content",
    ExitCode.CORRUPT,
    what="{path}: the bytes have the wrong digest, {tries} times in a row.",
    why="Something between the Hub and this disk changes bytes: a proxy, a mirror, bad memory or a bad disk.",
    do=(
        "Try the other way: --transport http, or --transport xet.",
        "Try without a mirror or proxy. If it stays, check the machine's memory and disk.",
    ),
)
VERIFY_FAILED = Kind(
    "verify-failed",
    ExitCode.CORRUPT,
    what="{count} of {total} files are not what the Hub lists: {paths}.",
    why="The files were changed or damaged after they were written, or another tool stored them unchecked.",
    do=("Fetch just these again: {command}",),
)
NOT_COMPLETE = Kind(
    "not-complete",
    ExitCode.INCOMPLETE,
    what="{missing} of {total} files are missing.",
    why="They have not been fetched yet.",
    do=("Fetch them: {command}",),
)
BUSY = Kind(
    "busy",
    ExitCode.BUSY,
    what="{path} is being downloaded by {holder}.",
    why="It has not grown for {seconds:.0f} s, so waiting longer may not help.",
    do=(
        "Let the other download finish, or stop it, then run the same command again.",
        "If no such process runs any more, run the same command again: its locks went with it.",
    ),
)
SELF_TEST = Kind(
    "self-test-failed",
    ExitCode.UNEXPECTED,
    what="{failed} of {total} checks failed on this machine.",
    why="The lines above say which, and what was seen.",
    do=("Please report the whole output, with the operating system and the file system of the cache.",),
)
UNEXPECTED = Kind(
    "unexpected",
    ExitCode.UNEXPECTED,
    what="{detail}",
    why="This is a case the program does not know.",
    do=("Run it again with -v, and report what it prints (it contains no secrets).",),
)
INTERRUPTED = Kind(
    "interrupted",
    ExitCode.INTERRUPTED,
    what="Stopped by Ctrl-C.",
    why="",
    do=("Go on from here: {command}",),
)
TERMINATED = Kind(
    "terminated",
    ExitCode.TERMINATED,
    what="Stopped by SIGTERM.",
    why="",
    do=("Go on from here: {command}",),
)
DOES_NOT_FIT = Kind(
    "does-not-fit",
    ExitCode.CANNOT_LOAD,
    what="The model does not fit on this machine with {wishes}.",
    why="There is {machine}. {reasons}.",
    do=("{instead}",),
)
NOT_DOWNLOADED = Kind(
    "not-downloaded",
    ExitCode.CANNOT_LOAD,
    what="{repo_id} is not whole on this disk: {detail}.",
    why="The download has not been made or finished, or files were removed or moved afterwards.",
    do=("Download it: {command}",),
)
DAMAGED_WEIGHTS = Kind(
    "damaged-weights",
    ExitCode.CANNOT_LOAD,
    what="{path} cannot be loaded: {detail}.",
    why="A download or a copy was cut, or something else was saved under this name.",
    do=("Fetch this file again: {command}",),
)
COMFYUI_LAYOUT = Kind(
    "comfyui-layout",
    ExitCode.CANNOT_LOAD,
    what="{folder} is a folder for ComfyUI, not a diffusers model.",
    why="ComfyUI wants single files; diffusers wants a folder with model_index.json and sharded weights.",
    do=(
        "For Python: download the model with qwen-fetch, and load it by its name.",
        "For ComfyUI: use the files of Comfy-Org/Qwen-Image-Edit_ComfyUI.",
    ),
)
UNKNOWN_PIPELINE = Kind(
    "unknown-pipeline",
    ExitCode.CANNOT_LOAD,
    what="This repo holds {class_name}, which is not of the Qwen-Image family.",
    why="Where the parts go is calculated for a transformer, a text encoder and a VAE of this family.",
    do=("Load it with diffusers itself: DiffusionPipeline.from_pretrained(…, local_files_only=True).",),
)
PACKAGE_MISSING = Kind(
    "package-missing",
    ExitCode.CANNOT_LOAD,
    what="The package {package} is not installed.",
    why="Downloading does without it; loading the model needs it.",
    do=("{command}",),
)
PACKAGE_TOO_OLD = Kind(
    "package-too-old",
    ExitCode.CANNOT_LOAD,
    what="{package} {version} is too old; this model needs {least} or newer.",
    why="Older versions lack its classes, or load it in twice the memory.",
    do=("{command}",),
)
TORCHVISION_MISMATCH = Kind(
    "torchvision-mismatch",
    ExitCode.CANNOT_LOAD,
    what="torchvision {torchvision} does not work with torch {torch}: {detail}.",
    why="The two are compiled for each other; one was upgraded alone, or they come from different indexes.",
    do=("Install both at once, from the same index: pip install --upgrade --force-reinstall torch torchvision",),
)
TORCH_BROKEN = Kind(
    "torch-broken",
    ExitCode.CANNOT_LOAD,
    what="torch cannot be imported: {detail}.",
    why="Its installation is damaged, or made for another system.",
    do=("Install it again: pip install --force-reinstall torch torchvision",),
)
TORCH_WITHOUT_CUDA = Kind(
    "torch-without-cuda",
    ExitCode.CANNOT_LOAD,
    what="This machine has an NVIDIA GPU, and torch {version} cannot use it.",
    why="It is the build for CPUs, with which a picture takes hours.",
    do=(
        "Choose the CUDA build for your system at https://pytorch.org/get-started/locally/ and install it.",
        "Or use the CPU all the same: device_map='cpu'.",
    ),
)
LOAD_FAILED = Kind(
    "load-failed",
    ExitCode.CANNOT_LOAD,
    what="{class_name} could not be built: {detail}.",
    why="The files are whole; diffusers or transformers refuse them. Their versions may not fit each other.",
    do=(
        'Bring the packages up to date: pip install --upgrade "qwen-fetch[load]"',
        "Compare the files with the Hub's digests: {command}",
    ),
)
OUT_OF_MEMORY = Kind(
    "out-of-memory",
    ExitCode.CANNOT_LOAD,
    what="The memory of {device} did not suffice for {task} ({strategy}).",
    why="Other programs use it too, or the picture is larger than the plan was made for.",
    do=("{instead}",),
)
SHAPES_DIFFER = Kind(
    "shapes-differ",
    ExitCode.CANNOT_LOAD,
    what="The weights of {component} do not fit its configuration: {detail}.",
    why="Files of different models or editions were mixed in one folder.",
    do=("Compare them with the Hub's digests: {command}",),
)
