"""Every problem a user can meet, as data, in the order in which a download can meet them.

`docs/problems.md` is made from this list.
"""

from __future__ import annotations

from qwen_fetch.base.door import say
from qwen_fetch.base.problem import ExitCode, Kind
from qwen_fetch.base.shell import program

__all__ = ["all_kinds", "page"]

_GO_ON = "Then run the same command again: it goes on where it stopped."

# --- what was asked for --------------------------------------------------------------------------------------

USAGE = Kind(
    "usage",
    ExitCode.USAGE,
    what="{detail}",
    why="",
    do=(f"Every option: `{program('this')} --help`",),
)
NO_MATCH = Kind(
    "no-match",
    ExitCode.USAGE,
    what="No file of {repo_id} matches {patterns}.",
    why="Patterns are globs over the paths inside the repo, such as '*.json' or 'vae/*'. It holds:\n{listing}",
    do=("Quote the pattern, so that the shell does not expand it.",),
)
NOTHING_KNOWN = Kind(
    "nothing-known",
    ExitCode.INCOMPLETE,
    what="Nothing is known here about {repo_id} at {revision}.",
    why="No download has begun in {cache_dir}, or another revision was fetched.",
    do=("Start the download: `{command}`",),
)
NOT_COMPLETE = Kind(
    "not-complete",
    ExitCode.INCOMPLETE,
    what="{missing} of {total} files are missing.",
    why="They have not been fetched yet.",
    do=("Fetch them: `{command}`",),
)

NOT_INSTALLED = Kind(
    "not-installed",
    ExitCode.UNEXPECTED,
    what="The Python package {package} is missing.",
    why="The program was started without being installed, or by another Python than the one it was installed for.",
    do=('Install it, in the folder that holds pyproject.toml: `"{python}" -m pip install .`',),
)

# --- the network ---------------------------------------------------------------------------------------------

OFFLINE = Kind(
    "offline-switch",
    ExitCode.NETWORK,
    what="The network is switched off by {variable}.",
    why="This environment variable tells every Hub client to stay offline.",
    do=("Switch it on again: `{unset}`", _GO_ON),
)
NETWORK = Kind(
    "network",
    ExitCode.NETWORK,
    what="No answer from {host}: {detail}.",
    why="The network is down, or something on the way lets nothing through; more than that was not seen.",
    do=("{diagnose}", _GO_ON),
)
NO_NETWORK = Kind(
    "no-network",
    ExitCode.NETWORK,
    what="This machine has no network ({detail}).",
    why="No name can be found and there is no way out: the cable, the Wi-Fi or the VPN is down.",
    do=("Connect the machine.", _GO_ON),
)
DNS = Kind(
    "name-not-found",
    ExitCode.NETWORK,
    what="The name {host} cannot be found, while other names can.",
    why="The name server does not know it or does not tell: a filter, a VPN, or a misspelt endpoint.",
    do=("Check HF_ENDPOINT and --endpoint, or use another name server (such as 1.1.1.1 or 9.9.9.9).", _GO_ON),
)
CONNECTION_REFUSED = Kind(
    "connection-refused",
    ExitCode.NETWORK,
    what="{host} refuses the connection.",
    why="The name was found and the machine answered that nothing listens there; a firewall can say the same.",
    do=("Check HF_ENDPOINT and --endpoint, and the firewall.", _GO_ON),
)
IPV6 = Kind(
    "ipv6-black-hole",
    ExitCode.NETWORK,
    what="{host} can be reached over IPv4, but not over IPv6, which is tried first.",
    why="The network announces IPv6 and does not carry it.",
    do=("Switch IPv6 off for this network, or restart the router.", _GO_ON),
)
PROXY = Kind(
    "proxy",
    ExitCode.NETWORK,
    what="{host} cannot be reached through {detail}.",
    why="{source} names this proxy; it is down, or it does not connect to this host.",
    do=("Correct the setting, or have the proxy's owner allow *.huggingface.co and *.hf.co.", _GO_ON),
)
PROXY_LOGIN = Kind(
    "proxy-login",
    ExitCode.NETWORK,
    what="{detail}: it wants a user and a password before it connects to {host}.",
    why="{source} names this proxy, without a login or with one that it does not accept.",
    do=("Put them into the address, percent-encoded: `{set_proxy}`", _GO_ON),
)
TLS = Kind(
    "tls-intercepted",
    ExitCode.NETWORK,
    what="The certificate of {host} is not trusted (issued by {issuer}).",
    why="{who}That issuer is not among those that this machine trusts.",
    do=("If it is to be trusted, save its certificate to a file, and name it: `{set_ca}`", _GO_ON),
)
CERTIFICATE_DATE = Kind(
    "certificate-date",
    ExitCode.NETWORK,
    what="The certificate of {host} is not valid on {today}, which is today by this machine's clock.",
    why="The clock is wrong, or whoever runs {host} has let its certificate expire.",
    do=("Look at the date and set it. If it is right, only the owner of {host} can mend this.", _GO_ON),
)
CERTIFICATE_NAME = Kind(
    "certificate-name",
    ExitCode.NETWORK,
    what="Whoever answers for {host} shows the certificate of another name.",
    why="The name leads to another machine: a filter, a login page, an entry in the hosts file, or another endpoint.",
    do=("Check HF_ENDPOINT and --endpoint; open https://{host} in a browser to see who it is.", _GO_ON),
)
CERTIFICATE_FILE = Kind(
    "certificate-file",
    ExitCode.USAGE,
    what="{variable} names {path} for the certificates to trust, but {detail}.",
    why="Without it no certificate can be checked, and nothing is sent unchecked.",
    do=("Name the right one: `{set_ca}`", "Or trust what the system trusts: `{unset}`"),
)
NOT_TLS = Kind(
    "not-tls",
    ExitCode.NETWORK,
    what="{host} answers, but not in TLS ({detail}).",
    why="The address begins with https://, and what is there speaks plain http or something else.",
    do=("Check HF_ENDPOINT and --endpoint: is it http://, or another port?", _GO_ON),
)
BLOCKED_DATA_HOST = Kind(
    "data-host-blocked",
    ExitCode.NETWORK,
    what="{endpoint} answers, but {host}, where the files are, does not ({detail}).",
    why="A firewall allows the Hub's pages and not its data: the bytes come from other names.",
    do=("Have *.hf.co and *.huggingface.co allowed, or use a mirror: --endpoint.", _GO_ON),
)
PORTAL = Kind(
    "login-page",
    ExitCode.NETWORK,
    what="{host} is answered by a web page{title} instead of the Hub.",
    why="A hotel, company or provider puts its login or filter page in the way.",
    do=("Open any page in a browser and log in, or use another network.", _GO_ON),
)
CLOCK = Kind(
    "clock-wrong",
    ExitCode.NETWORK,
    what="The clock of this machine is {minutes} minutes {direction}.",
    why="The Hub's addresses for files are valid for a short time only, and look expired from here.",
    do=("Set the clock (or switch on automatic time).", _GO_ON),
)
OUTAGE = Kind(
    "hub-outage",
    ExitCode.NETWORK,
    what="{host} has a fault: {detail}.",
    why="That answer says that it cannot do what it should; it is not about this machine.",
    do=("{ask}", _GO_ON),
)
ODD_ANSWER = Kind(
    "odd-answer",
    ExitCode.NETWORK,
    what="{host} gives an answer that no Hub gives here: {detail}.",
    why="Another server, or something on the way, answers in its place; more than that was not seen.",
    do=("Check HF_ENDPOINT and --endpoint.", "{diagnose}"),
)
RATE_LIMITED = Kind(
    "rate-limited",
    ExitCode.NETWORK,
    what="{host} wants fewer requests: {detail}.",
    why="Too many requests came from this network address: a shared line, or many runs one after the other.",
    do=("Wait some minutes. With a login the limit is higher: `hf auth login`", _GO_ON),
)
NO_PROGRESS = Kind(
    "no-progress",
    ExitCode.NETWORK,
    what="{path}: {tries} tries in a row brought no new byte (last: {detail}).",
    why="The line or the server keeps failing at this place.",
    do=("{diagnose}", "Try the other way: `{command} --transport {other}`"),
)
URL_REFUSED = Kind(
    "address-refused",
    ExitCode.NETWORK,
    what="{path}: the data host refuses every address that the Hub gives ({detail}).",
    why="A fault of the data host, a filter on the way, or a clock that is wrong.",
    do=("Try the other way: `{command} --transport {other}`", "{diagnose}"),
)
NOT_THE_FILE = Kind(
    "not-the-file",
    ExitCode.NETWORK,
    what="{path}: something else is served in its place ({detail}).",
    why="{host} or something on the way answers with a page, another range or another length.",
    do=("Try the other way: `{command} --transport {other}`", "{diagnose}"),
)
STALE_LISTING = Kind(
    "stale-listing",
    ExitCode.CORRUPT,
    what="{path}: {host} lists one digest and serves another ({detail}), also when asked once more.",
    why="The listing and the files of that endpoint do not belong together: a mirror that is out of step.",
    do=("Ask another endpoint: `{command} --endpoint https://huggingface.co`", "Or wait until it has caught up."),
)

# --- access --------------------------------------------------------------------------------------------------

BAD_TOKEN = Kind(
    "bad-token",
    ExitCode.ACCESS,
    what="{host} does not accept the token from {source}, and {repo_id} cannot be had without one.",
    why="{said}",
    do=("Log in again: `hf auth login`", "Or forget the token: `{unset}`"),
)
GATED = Kind(
    "gated",
    ExitCode.ACCESS,
    what="{repo_id} is gated: its owner wants its terms accepted first ({detail}).",
    why="{account}",
    do=("Accept the terms on {endpoint}/{repo_id}.", "{login}"),
)
TOKEN_SCOPE = Kind(
    "token-scope",
    ExitCode.ACCESS,
    what="The token may not read {repo_id} ({detail}).",
    why="It is a fine-grained token without the permission for this repo.",
    do=("Give it read access to this repo, or to public gated repos: {endpoint}/settings/tokens",),
)
DISABLED = Kind(
    "repo-disabled",
    ExitCode.ACCESS,
    what="{host} has disabled {repo_id} ({detail}).",
    why="Whoever runs it has taken it away from everybody; no login helps.",
    do=("Look at {endpoint}/{repo_id} for the reason.",),
)
LEGAL = Kind(
    "legal-block",
    ExitCode.ACCESS,
    what="{host} may not give {repo_id} out here ({detail}).",
    why="Status 451 means: withheld for legal reasons.",
    do=("Look at {endpoint}/{repo_id} for the reason.",),
)
ACCESS = Kind(
    "access-denied",
    ExitCode.ACCESS,
    what="{host} refuses access to {repo_id} ({detail}).",
    why="That is all it says: the repo may be private, or the account may not see it.",
    do=("{login}", "Check --repo-id for a typing error."),
)
NOT_FOUND = Kind(
    "not-found",
    ExitCode.NOT_FOUND,
    what="{host} does not know {subject} ({detail}).",
    why="{said}",
    do=("{check}",),
)

# --- this machine --------------------------------------------------------------------------------------------

NO_ROOM = Kind(
    "no-room",
    ExitCode.DISK_FULL,
    what="{needed} are still to come, but {path} has {free} free.",
    why="{largest}",
    do=(
        "Free {short}. What was left over goes with: `{cleanup}`",
        "Or put the cache on a larger disk: `{set_home}`",
    ),
)
DISK_FULL = Kind(
    "disk-full",
    ExitCode.DISK_FULL,
    what="The disk of {path} is full.",
    why="{detail}",
    do=("Free some space. What was left over goes with: `{cleanup}`", _GO_ON),
)
NO_ENTRIES = Kind(
    "no-inodes",
    ExitCode.DISK_FULL,
    what="The disk of {path} has room for bytes, and none for another file.",
    why="A file system holds only so many files (inodes), and this one has them all: df -i",
    do=("Remove many small files there, or put the cache on another disk: `{set_home}`", _GO_ON),
)
QUOTA = Kind(
    "quota",
    ExitCode.DISK_FULL,
    what="This user may store no more on the disk of {path}.",
    why="The quota is used up; others may still have room: quota -s",
    do=(
        "Free some space. What was left over goes with: `{cleanup}`",
        "Or ask whoever runs this machine for more.",
        _GO_ON,
    ),
)
READ_ONLY = Kind(
    "read-only",
    ExitCode.FILE_SYSTEM,
    what="The disk of {path} is read-only.",
    why="It was mounted so, is write-protected, or the system has found a fault on it and let nobody write any more.",
    do=("Look at the system's log, and mount it for writing; or put the cache on another disk: `{set_home}`", _GO_ON),
)
NOT_ALLOWED = Kind(
    "not-allowed",
    ExitCode.FILE_SYSTEM,
    what="{path} is closed to this user ({detail}).",
    why="{owner}",
    do=("{advice}: `{remedy}`", "Or use another folder: --cache-dir"),
)
PATH_TOO_LONG = Kind(
    "path-too-long",
    ExitCode.FILE_SYSTEM,
    what="The path {path} is too long for this system ({length} characters).",
    why="A name may have 255 bytes; on Windows a whole path 259 characters, unless long paths are switched on.",
    do=("Use a shorter folder for the cache, near the root of its drive: --cache-dir",),
)
UNFIT_NAME = Kind(
    "unfit-name",
    ExitCode.FILE_SYSTEM,
    what="{path} cannot be stored on this disk under its name.",
    why="{detail}.",
    do=("Leave it out: `{command} --exclude {pattern}`", "Or put the cache on another disk: `{set_home}`"),
)
TOO_MANY_OPEN = Kind(
    "too-many-open-files",
    ExitCode.FILE_SYSTEM,
    what="No more files can be opened for {path} ({detail}).",
    why="This process may have {limit} open at a time, and all of the system together has a bound, too.",
    do=("Raise the limit: `ulimit -n 1024`", "Or use fewer connections: --max-workers 2", _GO_ON),
)
DISK_FAULT = Kind(
    "disk-fault",
    ExitCode.FILE_SYSTEM,
    what="The disk cannot read or write {path} ({detail}).",
    why="A fault of the disk, its cable, or its file system.",
    do=(
        "Save what is dear to you on it, then look at the system's log and check the disk (smartctl, fsck, chkdsk).",
        "Put the cache on another disk meanwhile: `{set_home}`",
    ),
)
DISK_GONE = Kind(
    "disk-gone",
    ExitCode.FILE_SYSTEM,
    what="The disk of {path} is gone ({detail}).",
    why="It was unplugged, went to sleep, or the share's server no longer answers.",
    do=("Plug it in or mount it again.", _GO_ON),
)
FILE_HELD = Kind(
    "file-held",
    ExitCode.FILE_SYSTEM,
    what="{path} is held by {holder}, and cannot be changed.",
    why="A virus scanner, an indexer, a backup or a program that has loaded it keeps it open; a minute was waited.",
    do=("Close that program, or have the scanner leave the cache folder alone.", _GO_ON),
)
TWO_DISKS = Kind(
    "two-disks",
    ExitCode.FILE_SYSTEM,
    what="{path} lies on another disk than the rest of the cache.",
    why="A folder inside the cache is a mount of its own; a finished file gets its name in one step, on one disk only.",
    do=("Mount the whole cache instead of a folder in it, or choose another with --cache-dir.", _GO_ON),
)
TAKEN_FOR_VIRUS = Kind(
    "taken-for-a-virus",
    ExitCode.FILE_SYSTEM,
    what="The virus scanner does not let {path} be opened.",
    why="Weights look like anything now and then; the bytes are compared with the Hub's digest all the same.",
    do=("Have the scanner leave the cache folder alone.", _GO_ON),
)
FILE_TOO_LARGE = Kind(
    "file-too-large",
    ExitCode.FILE_SYSTEM,
    what="{path} cannot hold a file of {size}.",
    why="{detail}",
    do=("Put the cache on NTFS, ext4 or APFS: `{set_home}`",),
)
OUTPUT = Kind(
    "output",
    ExitCode.FILE_SYSTEM,
    what="What was to be printed cannot be written to {stream}: {detail}.",
    why="The disk or the device that it leads to is full or closed; the cache is another matter.",
    do=("Send the output elsewhere, and run the same command again: what is done is not done twice.",),
)
FILE_SYSTEM = Kind(
    "file-system",
    ExitCode.FILE_SYSTEM,
    what="{path}: {detail}.",
    why="The file system refused it.",
    do=("Look at that path and at the system's log; or choose another folder with --cache-dir.",),
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

# --- content -------------------------------------------------------------------------------------------------

FOREIGN_FILE = Kind(
    "not-ours",
    ExitCode.FILE_SYSTEM,
    what="{path} is {what}, where the cache keeps a {wanted} of its own.",
    why="Somebody or something has put it there; to follow it could read or change what lies outside the cache.",
    do=("Look at what it is, and move it away; then run the same command again.",),
)
BARE_LISTING = Kind(
    "bare-listing",
    ExitCode.NETWORK,
    what="{host} lists the names of the files only, without sizes and digests.",
    why="It is a mirror that answers a part of the Hub's questions; nothing that it sends could be checked.",
    do=("Use another endpoint: --endpoint https://huggingface.co",),
)
UNSAFE_LISTING = Kind(
    "unsafe-listing",
    ExitCode.CORRUPT,
    what="{host} lists a file that cannot be stored safely: {detail}.",
    why="A listing with such an entry is broken or hostile.",
    do=("Check --endpoint: use a Hub or a mirror that you trust.",),
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
    do=("Fetch just these again: `{command}`",),
)

# --- loading -------------------------------------------------------------------------------------------------

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
    do=("Download it: `{command}`",),
)
DAMAGED_WEIGHTS = Kind(
    "damaged-weights",
    ExitCode.CANNOT_LOAD,
    what="{path} cannot be loaded: {detail}.",
    why="A download or a copy was cut, or something else was saved under this name.",
    do=("Fetch this file again: `{command}`",),
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
NOT_A_PIPELINE = Kind(
    "not-a-pipeline",
    ExitCode.CANNOT_LOAD,
    what="{name} is no whole model: it holds {what}.",
    why="A pipeline has a model_index.json, and a folder for each of its parts.",
    do=("{instead}",),
)
EDITS_NOTHING = Kind(
    "edits-nothing",
    ExitCode.CANNOT_LOAD,
    what="{class_name} edits no pictures.",
    why="It is of the same family, for another task; `load_pipeline` places it all the same.",
    do=("Edit with the default, Qwen/Qwen-Image-Edit, or with its editions 2509 and 2511.",),
)
PACKAGE_MISSING = Kind(
    "package-missing",
    ExitCode.CANNOT_LOAD,
    what="The package {package} is not installed.",
    why="Downloading does without it; loading the model needs it.",
    do=("`{command}`",),
)
PACKAGE_TOO_OLD = Kind(
    "package-too-old",
    ExitCode.CANNOT_LOAD,
    what="{package} {version} is too old; this model needs {least} or newer.",
    why="Older versions lack its classes, or load it in twice the memory.",
    do=("`{command}`",),
)
TORCHVISION_MISMATCH = Kind(
    "torchvision-mismatch",
    ExitCode.CANNOT_LOAD,
    what="torchvision {torchvision} does not work with torch {torch}: {detail}.",
    why="The two are compiled for each other; one was upgraded alone, or they come from different indexes.",
    do=("Install both at once, from the same index: `pip install --upgrade --force-reinstall torch torchvision`",),
)
TORCH_BROKEN = Kind(
    "torch-broken",
    ExitCode.CANNOT_LOAD,
    what="torch cannot be imported: {detail}.",
    why="Its installation is damaged, or made for another system.",
    do=("Install it again: `pip install --force-reinstall torch torchvision`",),
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
        'Bring the packages up to date: `pip install --upgrade "qwen-fetch[load]"`',
        "Compare the files with the Hub's digests: `{command}`",
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
    do=("Compare them with the Hub's digests: `{command}`",),
)
LORA_NOT_HERE = Kind(
    "lora-not-here",
    ExitCode.CANNOT_LOAD,
    what="The LoRA {name} is not on this disk: {detail}.",
    why="A LoRA is downloaded like a model, and nothing is fetched while a picture is made.",
    do=("Download it: `{command}`",),
)
LORA_DOES_NOT_FIT = Kind(
    "lora-does-not-fit",
    ExitCode.CANNOT_LOAD,
    what="The LoRA {name} does not fit {model}: {detail}.",
    why="{origin} What belongs nowhere would be left out without a word, and the picture would be another one.",
    do=("Use a LoRA for Qwen-Image-Edit, as one .safetensors file.",),
)
LORA_DAMAGED = Kind(
    "lora-damaged",
    ExitCode.CANNOT_LOAD,
    what="The LoRA {path} cannot be loaded: {detail}.",
    why="A download or a copy was cut, or it is no .safetensors file, the only kind that is read.",
    do=("Fetch it again from where it came.",),
)
LIGHTNING_UNKNOWN = Kind(
    "lightning-unknown",
    ExitCode.CANNOT_LOAD,
    what="No Lightning LoRA is known for {model}.",
    why="They were trained for {known}.",
    do=("Leave --lightning away, or give the LoRA of this model by --lora, with its --steps and --guidance 1.",),
)
PICTURE_UNREADABLE = Kind(
    "picture-unreadable",
    ExitCode.USAGE,
    what="{path}: {detail}.",
    why="Every picture is looked at before the minutes of loading.",
    do=("Give a picture in 8 or 16 bits, such as PNG, JPEG, WebP or TIFF.",),
)
OUTPUT_REFUSED = Kind(
    "output-refused",
    ExitCode.USAGE,
    what="{path}: {detail}.",
    why="Nothing that is there is lost, and nothing is made that could not be kept.",
    do=("Name another place with -o.",),
)
OUTPUT_UNWRITABLE = Kind(
    "output-unwritable",
    ExitCode.FILE_SYSTEM,
    what="{path} cannot be written: {detail}.",
    why="The place of the picture is looked at before the minutes of loading.",
    do=("Name another place with -o, or make room and writable what is there.",),
)
NO_PICTURE = Kind(
    "no-picture",
    ExitCode.CORRUPT,
    what="The model gave {what}, which is no picture; nothing was saved.",
    why="A LoRA that is damaged or too strong, float16 instead of bfloat16, damaged weights or a broken driver.",
    do=(
        "Try without --lora, then with other steps.",
        f"Compare the weights with the Hub's digests: `{program()} --verify`",
    ),
)

# --- the end -------------------------------------------------------------------------------------------------

SELF_TEST = Kind(
    "self-test-failed",
    ExitCode.UNEXPECTED,
    what="{failed} of {total} checks failed on this machine.",
    why="The lines above say which, and what was seen.",
    do=("Please report the whole output, with the operating system and the file system of the cache.",),
)
INTERRUPTED = Kind(
    "interrupted",
    ExitCode.INTERRUPTED,
    what="Stopped by Ctrl-C.",
    why="",
    do=("Go on from here: `{command}`",),
)
TERMINATED = Kind(
    "terminated",
    ExitCode.TERMINATED,
    what="Stopped by SIGTERM.",
    why="",
    do=("Go on from here: `{command}`",),
)
UNEXPECTED = Kind(
    "unexpected",
    ExitCode.UNEXPECTED,
    what="{detail}",
    why="This is a case the program does not know.",
    do=("Run it again with -v, and report what it prints (it contains no secrets).",),
)


def page() -> str:
    """The page of the documentation that lists them all."""
    lines = [
        "# What can go wrong",
        "",
        "Every message of the program is one of these; `[id]` stands at the end of its first line. Words in braces",
        "are filled in. Made by `python -m qwen_fetch.base.catalogue > docs/problems.md`.",
    ]
    for kind in all_kinds():
        lines += ["", f"## {kind.id}", "", f"Exit code {int(kind.exit_code)}. {kind.what}"]
        lines += ["", kind.why] if kind.why else []
        lines += ["", *(f"* {line}" for line in kind.do)]
    return "\n".join([*lines, ""])


def all_kinds() -> tuple[Kind, ...]:
    """Every kind, in the order of this page."""
    return tuple(value for value in globals().values() if isinstance(value, Kind))


if __name__ == "__main__":
    say(page(), end="")
