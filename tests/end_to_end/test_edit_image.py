"""The generator as a user runs it: from nothing to a picture, and what it refuses."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Self

import pytest
from machines import with_gpu
from workbench import REPO, ROOT, OpenHub, Tool

from qwen_fetch.base.problem import ExitCode
from qwen_fetch.cli.edit import main
from qwen_fetch.loading import editing

SCRIPT = [sys.executable, str(ROOT / "tools" / "edit_image.py")]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "photo.png"
    image.linear_gradient("L").resize((96, 64)).convert("RGB").save(path)
    return path


def settings_of(path: Path) -> Any:
    return json.loads(pytest.importorskip("PIL.Image").open(path).text["qwen-fetch"])


def pixels_of(path: Path) -> bytes:
    return bytes(pytest.importorskip("PIL.Image").open(path).tobytes())


def test_from_nothing_to_a_picture(tool: Tool, open_hub: OpenHub, photo: Path, tmp_path: Path) -> None:
    """The embedded Hub, the download, the edit, the PNG: the real commands and the real classes."""
    pytest.importorskip("torch")
    tiny = pytest.importorskip("tiny")
    source = tiny.make_tiny(tmp_path / "repo", layout_of_2025=True)
    tool.extra |= {"PYTHONPATH": str(tiny.SHIM), "OMP_NUM_THREADS": "1"}
    output = tmp_path / "out.png"
    arguments = [str(photo), "make the sky pink", "-o", str(output), "--steps", "2", "--seed", "7", "--size", "64x64"]

    before = tool.run(*arguments, command=SCRIPT)
    assert before.code == ExitCode.CANNOT_LOAD
    assert "[not-downloaded]" in before.err
    assert "do:   Download it: python" in before.err
    assert "download_qwen_edit_hub.py" in before.err

    tool.endpoint = open_hub(source).endpoint
    assert tool.run().code == 0
    tool.endpoint = "http://127.0.0.1:9"  # nothing is fetched from here on

    ended = tool.run(*arguments, command=SCRIPT)
    assert ended.code == 0, ended
    assert ended.out.strip() == str(output)
    assert "Editing: 100%" in ended.err
    assert "2/2" in ended.err
    image = pytest.importorskip("PIL.Image").open(output)
    assert image.size == (64, 64)
    assert image.getextrema() != ((0, 0), (0, 0), (0, 0))  # not black
    settings = settings_of(output)
    assert (settings["prompt"], settings["steps"], settings["seed"]) == ("make the sky pink", 2, 7)
    assert settings["commit"] == (tool.folder / "refs" / "main").read_text()
    assert settings["images"] == ["photo.png"]


@pytest.mark.skipif(os.name == "nt", reason="a made-up nvidia-smi is a shell script")
def test_explain_works_without_torch_and_before_the_download(tool: Tool, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("torch", "diffusers", "transformers", "accelerate", "PIL"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is not here')")
    tool.extra |= {"PYTHONPATH": str(blocked), "PATH": with_gpu(tmp_path)}
    ended = tool.run("photo.png", "make it pink", "--explain", command=SCRIPT)
    assert ended.code == 0, ended
    assert "57.7 GB of weights, not whole on this disk yet (sizes as published)" in ended.out
    assert "cuda:0 (NVIDIA GeForce RTX 4080) with 15.5 GiB free" in ended.out
    assert "placement  " in ended.out
    assert "not        resident: needs" in ended.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "1"], "divides by zero"),
        (["-o", "out.jpg"], ".png"),
        (["--seed", "-1"], "--seed"),
        (["--size", "10x10"], "64 to 4096"),
        (["--guidance", "0.5"], "--guidance"),
        (["--device-map", "gpu"], "device_map"),
        (["--repo-id", "../evil"], "--repo-id"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["photo.png", "make it pink", *arguments]) == ExitCode.USAGE
    assert told in capsys.readouterr().err


def test_a_size_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["photo.png", "make it pink", "--size", "large"]) == ExitCode.USAGE
    assert "wants WIDTHxHEIGHT" in capsys.readouterr().err


def test_inputs_are_looked_at_before_the_minutes_of_loading(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    tiny = pytest.importorskip("tiny")
    folder = tiny.make_tiny(tmp_path / "repo")
    monkeypatch.setattr(editing, "load", lambda *_words, **_options: pytest.fail("it was loaded"))
    assert main([str(photo), str(photo), "mix them", "--repo-id", str(folder)]) == ExitCode.USAGE
    assert "takes one picture; 2509 and 2511 take several" in capsys.readouterr().err
    (tmp_path / "text.png").write_text("no picture")
    assert main([str(tmp_path / "text.png"), "make it pink", "--repo-id", str(folder)]) == ExitCode.USAGE
    assert "not a picture that can be read" in capsys.readouterr().err


def test_several_pictures_and_too_little_memory(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    tiny = pytest.importorskip("tiny")
    folder = tiny.make_tiny(tmp_path / "repo", plus=True)
    output = tmp_path / "mixed.png"
    arguments = [str(photo), str(photo), "mix them", "--repo-id", str(folder), "-o", str(output), "--size", "64x64"]
    with tiny.small_references():
        assert main([*arguments, "--steps", "2", "--guidance", "1", "-q"]) == 0
        again = tmp_path / "again.png"
        seed = str(settings_of(output)["seed"])
        assert main([*arguments, "--steps", "2", "--guidance", "1", "-q", "--seed", seed, "-o", str(again)]) == 0
    assert pixels_of(again) == pixels_of(output)  # the seed is all that counts
    settings = settings_of(output)
    assert settings["images"] == ["photo.png", "photo.png"]
    assert settings["model"] == str(folder)
    assert 0 <= settings["seed"] < 2**32

    def fail(*_arguments: object, **_options: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("qwen_fetch.loading.inference.infer", fail)
    capsys.readouterr()
    assert main([*arguments, "-q", "--overwrite"]) == ExitCode.CANNOT_LOAD
    err = capsys.readouterr().err
    assert "[out-of-memory]" in err
    assert "--size 768x768" in err


def test_stopped_in_an_edit(tool: Tool, photo: Path, tmp_path: Path) -> None:
    """Ctrl-C ends in order: what is finished is there, nothing half, and the same command makes the rest."""
    pytest.importorskip("torch")
    tiny = pytest.importorskip("tiny")
    folder = tiny.make_tiny(tmp_path / "repo")
    tool.extra |= {"PYTHONPATH": str(tiny.SHIM), "OMP_NUM_THREADS": "1"}
    made = tmp_path / "made"
    made.mkdir()
    jobs = tmp_path / "jobs.jsonl"
    one = {"image": str(photo), "steps": 2, "size": "64x64", "guidance": 1}
    lines = [one | {"prompt": "make it pink", "output": "a.png"}, one | {"prompt": "make it blue", "steps": 900}]
    jobs.write_text("\n".join(map(json.dumps, lines)))
    process = tool.start("--jobs", str(jobs), "-o", str(made), "--repo-id", str(folder), command=SCRIPT)
    assert process.stdout is not None
    told = process.stdout.readline()  # the first picture is finished
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert [*told.split(), *out.split()] == [str(made / "a.png")]
    assert "1 of 2 pictures were made; the same command makes the rest" in err
    assert "Traceback" not in err
    assert [path.name for path in made.iterdir()] == ["a.png"]


class _AnyOf(str):  # noqa: SLOT000 - a `str` takes no slots of its own
    """The name of a Hub's repo that stands for several: the embedded Hub serves one."""

    names: tuple[str, ...]

    def __new__(cls, *names: str) -> Self:
        made = super().__new__(cls, names[0])
        made.names = names
        return made

    def __eq__(self, other: object) -> bool:
        return other in self.names

    def __ne__(self, other: object) -> bool:
        return other not in self.names

    __hash__ = str.__hash__


def test_lightning_from_nothing_to_a_picture(tool: Tool, open_hub: OpenHub, photo: Path, tmp_path: Path) -> None:
    """`--with-lightning` brings the model and its LoRA, and `--lightning` edits with both."""
    pytest.importorskip("torch")
    tiny = pytest.importorskip("tiny")
    pytest.importorskip("peft")
    source = tiny.make_tiny(tmp_path / "repo", layout_of_2025=True)
    name = "Qwen-Image-Edit-Lightning-4steps-V1.0-bf16.safetensors"
    tiny.make_lora(source / name, "lightx2v")
    tiny.make_lora(source / name.replace("4steps", "8steps"), "lightx2v", seed=2)
    tool.extra |= {"PYTHONPATH": str(tiny.SHIM), "OMP_NUM_THREADS": "1"}
    output = tmp_path / "out.png"
    edit = [str(photo), "make the sky pink", "-o", str(output), "--lightning", "--size", "64x64"]

    tool.endpoint = open_hub(source, repo_id=_AnyOf(REPO, "lightx2v/Qwen-Image-Lightning")).endpoint
    assert tool.run("--exclude", "*Lightning*").code == 0
    before = tool.run(*edit, command=SCRIPT)
    assert before.code == ExitCode.CANNOT_LOAD
    assert "[lora-not-here]" in before.err
    assert "download_qwen_edit_hub.py --with-lightning" in before.err

    planned = tool.run("--with-lightning", "--dry-run", "--exclude", "*Lightning*")
    assert f"  {name}\n" in planned.out, planned
    brought = tool.run("--with-lightning", "--exclude", "*Lightning*", "--json")
    assert brought.code == 0, brought
    assert brought.json["repo_id"] == REPO
    assert f"✓ {name}" in brought.err
    lightning = tool.cache / "models--lightx2v--Qwen-Image-Lightning" / "snapshots"
    assert [path.name for path in lightning.rglob("*.safetensors")] == [name]

    tool.endpoint = "http://127.0.0.1:9"
    ended = tool.run(*edit, command=SCRIPT)
    assert ended.code == 0, ended
    assert "4/4" in ended.err
    settings = settings_of(output)
    assert (settings["lightning"], settings["steps"], settings["guidance"]) == (4, 4, 1.0)
    assert settings["loras"][0]["file"] == name
    assert settings["loras"][0]["sha256"] == hashlib.sha256((source / name).read_bytes()).hexdigest()
    refused = tool.run(*edit, "--guidance", "3", command=SCRIPT)
    assert (refused.code, "trained without guidance" in refused.err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--with-lightning", "--verify"], "goes with a download"),
        (["--with-lightning", "--repo-id", "owner/name"], "knows the LoRAs of Qwen/Qwen-Image-Edit, "),
    ],
)
def test_with_lightning_where_it_makes_no_sense(tool: Tool, arguments: list[str], told: str) -> None:
    ended = tool.run(*arguments)
    assert ended.code == ExitCode.USAGE
    assert told in ended.err
