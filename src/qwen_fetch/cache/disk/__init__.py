"""All that differs between operating systems and file systems, and nothing else does: callers know no platform.

Each function does the same everywhere, or says in its result that it cannot be done here.
"""

from qwen_fetch.cache.disk.limits import (
    LONGEST_ON_WINDOWS,
    case_matters,
    longest_name,
    longest_path,
    takes_windows_names_only,
    unfit,
)
from qwen_fetch.cache.disk.names import (
    clone,
    give_name,
    leads_somewhere,
    leads_to,
    point,
    remove,
    replace_text,
    share,
)
from qwen_fetch.cache.disk.regular import (
    check_file,
    check_folder,
    file_size,
    is_foreign_link,
    is_junction,
    make_folder,
    open_growing,
    read_small,
)
from qwen_fetch.cache.disk.storage import Identity, first_hole, flush, flush_folder, identity, is_same_file
from qwen_fetch.cache.disk.system import foreign_owner, holders, is_running, lock_holder, open_file_limit
from qwen_fetch.cache.disk.volume import (
    clones_work,
    file_size_limit,
    file_system,
    free_bytes,
    free_entries,
    hard_links_work,
    is_one_volume,
    symlinks_work,
)

__all__ = [
    "LONGEST_ON_WINDOWS",
    "Identity",
    "case_matters",
    "check_file",
    "check_folder",
    "clone",
    "clones_work",
    "file_size",
    "file_size_limit",
    "file_system",
    "first_hole",
    "flush",
    "flush_folder",
    "foreign_owner",
    "free_bytes",
    "free_entries",
    "give_name",
    "hard_links_work",
    "holders",
    "identity",
    "is_foreign_link",
    "is_junction",
    "is_one_volume",
    "is_running",
    "is_same_file",
    "leads_somewhere",
    "leads_to",
    "lock_holder",
    "longest_name",
    "longest_path",
    "make_folder",
    "open_file_limit",
    "open_growing",
    "point",
    "read_small",
    "remove",
    "replace_text",
    "share",
    "symlinks_work",
    "takes_windows_names_only",
    "unfit",
]
