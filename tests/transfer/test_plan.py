"""The plan: a table of what is on disk and what follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache.store import OnDisk
from qwen_fetch.transfer.plan import Action, make_plan

SIZE = 100
SHARD = RepoFile("transformer/shard.safetensors", SIZE, Digest("sha256", "a" * 64))

TABLE = [
    # what is there, options -> action, bytes that count
    pytest.param(OnDisk(), {}, Action.FETCH, 0, id="nothing"),
    pytest.param(OnDisk(blob=SIZE, linked=True), {}, Action.KEEP, SIZE, id="complete"),
    pytest.param(OnDisk(blob=SIZE), {}, Action.LINK, SIZE, id="killed before the pointer was made"),
    pytest.param(OnDisk(partial=40), {}, Action.RESUME, 40, id="a prefix"),
    pytest.param(OnDisk(partial=SIZE), {}, Action.RESUME, SIZE, id="all received, not yet checked"),
    pytest.param(OnDisk(partial=0), {}, Action.FETCH, 0, id="an empty partial"),
    pytest.param(OnDisk(partial=SIZE + 1), {}, Action.REFETCH, 0, id="a partial that is too long"),
    pytest.param(OnDisk(blob=99, linked=False), {}, Action.REFETCH, 0, id="a blob that is too short"),
    pytest.param(OnDisk(blob=0), {}, Action.REFETCH, 0, id="an empty blob"),
    pytest.param(OnDisk(blob=99, partial=40), {}, Action.RESUME, 40, id="a bad blob beside a good prefix"),
    pytest.param(OnDisk(blob=SIZE, partial=40, linked=True), {}, Action.KEEP, SIZE, id="a stray partial"),
    pytest.param(OnDisk(partial=40), {"restart": True}, Action.REFETCH, 0, id="--no-resume"),
    pytest.param(OnDisk(blob=SIZE, linked=True), {"restart": True}, Action.KEEP, SIZE, id="--no-resume, complete"),
    pytest.param(OnDisk(blob=SIZE, linked=True), {"force": True}, Action.REFETCH, 0, id="--force"),
    pytest.param(OnDisk(), {"force": True}, Action.FETCH, 0, id="--force, nothing there"),
]


@pytest.mark.parametrize(("disk", "options", "action", "have"), TABLE)
def test_table(disk: OnDisk, options: dict[str, bool], action: Action, have: int) -> None:
    (step,) = make_plan([SHARD], {SHARD.path: disk}, **options).steps
    assert (step.action, step.have) == (action, have)
    assert bool(step.reason) == (action is Action.REFETCH or (disk.blob == 99 and action is Action.RESUME))


def test_the_same_bytes_under_two_paths_are_fetched_once() -> None:
    twin = RepoFile("processor/same.json", SIZE, SHARD.digest)
    plan = make_plan([twin, SHARD], {twin.path: OnDisk(), SHARD.path: OnDisk()})
    assert [step.action for step in plan.steps] == [Action.FETCH, Action.LINK]
    assert plan.bytes_to_fetch == SIZE
    assert not plan.complete


sizes = st.one_of(st.none(), st.integers(0, 2 * SIZE))


@given(
    blob=sizes,
    partial=sizes,
    linked=st.booleans(),
    restart=st.booleans(),
    force=st.booleans(),
)
def test_nothing_is_counted_that_is_not_there_and_nothing_good_is_thrown_away(
    blob: int | None, partial: int | None, linked: bool, restart: bool, force: bool
) -> None:
    disk = OnDisk(blob=blob, partial=partial, linked=linked and blob == SIZE)
    (step,) = make_plan([SHARD], {SHARD.path: disk}, restart=restart, force=force).steps
    assert 0 <= step.have <= SIZE
    assert step.have in {0, blob, partial}
    if not force and blob == SIZE:
        assert step.complete
    if not force and not restart and blob is None and partial is not None and partial <= SIZE:
        assert step.have == partial
