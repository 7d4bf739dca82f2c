"""The self-test, as a user runs it."""

from workbench import Tool


def test_it_shows_every_promise_on_this_machine_and_leaves_nothing_behind(tool: Tool) -> None:
    tool.cache.mkdir(parents=True)
    ended = tool.run("--self-test")
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
    assert [line.split(":")[0] for line in lines[1:-1]] == [
        "ok      symlinks",
        "ok      locks",
        "ok      download over Xet",
        "ok      download over HTTP",
        "ok      resume after a kill, Xet",
        "ok      resume after a kill, HTTP",
        "ok      a stop keeps everything",
        "ok      a flipped byte is caught",
        "ok      status without a network",
    ]
    assert lines[-1].startswith("Everything works here")
    assert list(tool.home.iterdir()) == [tool.cache]


def test_what_stands_in_its_way_is_told_by_each_check(tool: Tool) -> None:
    tool.extra["SSL_CERT_FILE"] = "/nowhere/certificates"
    ended = tool.run("--self-test")
    assert ended.code not in {0, 8}, ended
    lines = ended.out.splitlines()[1:]
    assert len(lines) == 9
    assert lines[2].startswith("FAILED  download over Xet: exit code 2 instead of 0 (SSL_CERT_FILE")
    assert "Traceback" not in ended.err
