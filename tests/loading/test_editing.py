"""Edits on a tiny pipeline: many in one load, nothing lost, nothing false."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from tiny import make_lora, make_tiny, small_references  # noqa: E402

from qwen_fetch.base.problem import ExitCode, Problem  # noqa: E402
from qwen_fetch.cli.edit import main  # noqa: E402
from qwen_fetch.loading import editing, inference, loader, outputs, pictures  # noqa: E402
from qwen_fetch.loading.hardware import Device, Hardware  # noqa: E402
from qwen_fetch.loading.inference import decode_in_any_case  # noqa: E402
from qwen_fetch.loading.loader import load_pipeline  # noqa: E402
from qwen_fetch.loading.placement import Strategy  # noqa: E402

GIB = 2**30


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with small_references(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "_AREA", 64 * 64)
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "edit", layout_of_2025=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{'abc'[number]}.png")
    return folder


class Watched:
    """What was done: how often weights were loaded, and which texts were encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loads: list[Any] = []
        self.texts: list[str] = []
        load = loader.load

        def watched_load(request: Any, **options: Any) -> Any:
            loaded = load(request, **options)
            self.loads.append(loaded)
            encode = loaded.pipeline.encode_prompt

            def watched_encode(**call: Any) -> Any:
                self.texts.append(call["prompt"])
                return encode(**call)

            loaded.pipeline.encode_prompt = watched_encode
            return loaded

        monkeypatch.setattr(editing, "load", watched_load)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def edit(tiny: Path, *words: str, guidance: str = "1") -> int:
    return main([*words, "--repo-id", str(tiny), "--steps", "2", "--guidance", guidance, "-q"])


def settings_of(path: Path) -> Any:
    return outputs.noted(path)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_ten_edits_are_one_load_and_an_equal_text_is_read_once(
    tiny: Path, photos: Path, tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the middle, what is finished is there; the same command makes the rest."""
    made = tmp_path / "made"
    words = [str(photos / "a.png"), "--prompt", "at night", "--prompt", "in snow", "--variations", "5"]
    words += ["-o", str(tmp_path / "made" / "a.png"), "--seed", "7"]
    made.mkdir()
    save = outputs._write
    count = 0

    def end_at_the_sixth(*given: Any) -> None:
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        save(*given)

    monkeypatch.setattr(outputs, "_write", end_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        edit(tiny, *words, guidance="4")
    assert names(made) == [f"a-1-{number}.png" for number in range(1, 6)]
    assert len(watched.loads) == 1
    assert watched.texts == ["at night", " ", "in snow"]  # " " is what is to be avoided, for both
    before = {path.name: path.read_bytes() for path in made.iterdir()}

    monkeypatch.setattr(outputs, "_write", save)
    assert edit(tiny, *words, guidance="4") == 0
    assert names(made) == [f"a-{one}-{number}.png" for one in (1, 2) for number in range(1, 6)]
    assert {name: (made / name).read_bytes() for name in before} == before
    assert len(watched.loads) == 2
    assert watched.texts[3:] == ["in snow", " "]
    assert [settings_of(made / f"a-2-{number}.png")["seed"] for number in range(1, 6)] == [7, 8, 9, 10, 11]

    assert edit(tiny, *words, guidance="4") == 0
    assert len(watched.loads) == 2  # nothing was left to do


def test_every_picture_of_a_folder(
    tiny: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "notes.txt").write_text("no picture")
    made = tmp_path / "made"
    assert edit(tiny, str(photos), "make it pink", "-o", str(made)) == 0
    assert names(made) == ["a.png", "b.png", "c.png"]
    assert capsys.readouterr().out.split() == [str(made / name) for name in names(made)]
    # An edit that differs is another one, and replaces nothing unless told.
    assert edit(tiny, str(photos), "make it blue", "-o", str(made)) == ExitCode.USAGE
    assert "it is there already; --overwrite replaces it" in capsys.readouterr().err
    assert edit(tiny, str(photos), "make it blue", "-o", str(made), "--overwrite") == 0
    assert settings_of(made / "a.png")["prompt"] == "make it blue"


def test_jobs_by_the_line_and_one_that_fails(
    tiny: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(editing, "_READ_FIRST", 1)  # the others are read when their turn comes
    made = tmp_path / "made"
    jobs = [
        {"image": str(photos / "a.png"), "prompt": "at night", "output": "night.png", "seed": 3},
        {"image": str(tmp_path / "gone.png"), "prompt": "at night"},
        {"images": [str(photos / "c.png")], "prompt": "in snow", "size": "64x96"},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, jobs)) + "\n\nin rain\n"))
    code = edit(tiny, str(photos / "b.png"), "--jobs", "-", "-o", str(made))
    told = capsys.readouterr()
    assert code == ExitCode.USAGE  # that of the one that failed
    assert names(made) == ["0003.png", "0005.png", "night.png"]
    assert "gone.png: there is no such file" in told.err
    assert "0002.png: not made" in told.err
    assert opened(made / "0003.png").size == (64, 96)
    assert settings_of(made / "0005.png")["images"] == ["b.png"]
    assert settings_of(made / "night.png")["seed"] == 3


def test_the_shape_is_the_inputs(tiny: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise((150, 100), 90).convert("RGB").save(photo)
    for size, expected in (("input", (150, 100)), ("70x90", (70, 90))):
        output = tmp_path / f"{size}.png"
        assert edit(tiny, str(photo), "make it pink", "-o", str(output), "--size", size) == 0
        assert opened(output).size == expected
    output = tmp_path / "own.png"
    assert edit(tiny, str(photo), "make it pink", "-o", str(output)) == 0
    width, height = opened(output).size
    assert abs(width / height - 1.5) <= 1 / height


def test_all_that_is_needed_to_make_it_again_is_in_the_picture(tiny: Path, photos: Path, tmp_path: Path) -> None:
    lora = make_lora(tmp_path / "pink.safetensors")
    output = tmp_path / "out.png"
    assert edit(tiny, str(photos / "a.png"), "make it pink", "-o", str(output), "--lora", f"{lora}@0.5") == 0
    settings = settings_of(output)
    assert settings["model"] == str(tiny)
    assert settings["loras"][0]["weight"] == 0.5
    assert (settings["steps"], settings["guidance"], settings["dtype"]) == (2, 1.0, "bfloat16")
    assert set(settings["versions"]) == {"torch", "diffusers", "transformers"}
    assert len(settings["images_sha256"][0]) == 64
    again = tmp_path / "again.png"
    words = ("-o", str(again), "--lora", f"{lora}@0.5", "--seed", str(settings["seed"]))
    assert edit(tiny, str(photos / "a.png"), "make it pink", *words) == 0
    assert opened(again).tobytes() == opened(output).tobytes()


def test_a_picture_is_made_again_from_itself(
    tiny: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = make_lora(tmp_path / "pink.safetensors")
    output = photos / "out.png"
    words = ("-o", str(output), "--lora", f"{lora}@0.5", "--size", "64x80", "--negative", "blur")
    assert edit(tiny, str(photos / "a.png"), "make it pink", *words, guidance="3") == 0
    again = tmp_path / "again.png"
    assert main(["--from", str(output), "-o", str(again), "-q"]) == 0
    assert opened(again).tobytes() == opened(output).tobytes()
    assert settings_of(again) == settings_of(output) | {"output": "again.png", "job": settings_of(again)["job"]}
    other = tmp_path / "other.png"
    assert main(["--from", str(output), "-o", str(other), "-q", "--seed", "1", "--prompt", "at night"]) == 0
    settings = settings_of(other)
    assert (settings["prompt"], settings["seed"], settings["guidance"]) == ("at night", 1, 3.0)

    capsys.readouterr()
    more = ("-o", str(tmp_path / "no.png"), "-q")
    make_lora(lora, seed=5)
    for picture, told in ((output, "pink.safetensors is not the file"), (photos / "b.png", "nothing is noted in it")):
        assert main(["--from", str(picture), *more]) == ExitCode.USAGE
        assert told in " ".join(capsys.readouterr().err.split())
    make_lora(lora)
    assert main([str(photos / "b.png"), "--from", str(again), *more]) == ExitCode.USAGE
    assert "b.png is not the file that it was made with" in " ".join(capsys.readouterr().err.split())
    (photos / "a.png").rename(photos / "moved.png")
    assert main(["--from", str(output), *more]) == ExitCode.USAGE
    assert "which is not beside it" in capsys.readouterr().err


def test_without_a_name_nothing_is_written_over(
    tiny: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert edit(tiny, str(photos / "a.png"), "make it pink") == 0
    assert {"edited.png", "edited-2.png"} <= set(names(tmp_path))


@pytest.mark.parametrize(
    ("values", "told"),
    [(float("nan"), "numbers that are none (NaN) after step 1 of 2"), (None, "a single colour")],
)
def test_what_is_no_picture_is_an_error(
    tiny: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    values: float | None,
    told: str,
) -> None:
    load = loader.load

    def damaged(request: Any, **options: Any) -> Any:
        loaded = load(request, **options)
        if values is not None:
            loaded.pipeline.transformer.proj_out.weight.data.fill_(values)
        else:
            loaded.pipeline.vae.decoder.conv_out.weight.data.zero_()
        return loaded

    monkeypatch.setattr(editing, "load", damaged)
    output = tmp_path / "out.png"
    assert edit(tiny, str(photos / "a.png"), "make it pink", "-o", str(output)) == ExitCode.CORRUPT
    err = capsys.readouterr().err
    assert "[no-picture]" in err
    assert told in err
    assert not output.exists()


def fail_times(count: int, real: Any) -> Any:
    """Out of memory that often, then as it is."""
    left = [count]

    def fail(*given: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(*given, **options)

    return fail


def test_out_of_memory_in_the_decoder_throws_no_latents_away(tiny: Path) -> None:
    for count, way in enumerate(["", "in tiles", "in smaller tiles", "on the CPU"]):
        pipeline = load_pipeline(str(tiny), progress=False)
        pipeline.vae.decode = fail_times(count, pipeline.vae.decode)
        said: list[str] = []
        passes: list[int] = []
        decode_in_any_case(pipeline, said.append)
        pipeline.transformer.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        image = pipeline(
            image=Image.effect_noise((64, 64), 90).convert("RGB"),
            prompt="make it pink",
            true_cfg_scale=1.0,
            num_inference_steps=2,
            generator=torch.Generator("cpu").manual_seed(0),
        ).images[0]
        assert image.size == (64, 64)
        assert len(passes) == 2
        assert len(said) == count
        assert way in " ".join(said)
    pipeline.vae.decode = fail_times(9, pipeline.vae.decode)
    decode_in_any_case(pipeline, said.append)
    with pytest.raises(torch.OutOfMemoryError):
        pipeline.vae.decode(torch.zeros(1, 4, 1, 8, 8, dtype=torch.bfloat16))


def test_out_of_memory_in_a_pass_takes_the_next_rung_once(
    tiny: Path,
    photos: Path,
    tmp_path: Path,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine = Hardware((Device("cpu", 50 * GIB),), 100 * GIB)
    monkeypatch.setattr(loader, "look", lambda: machine)
    monkeypatch.setattr(loader, "look_with_torch", lambda: machine)
    words = [str(photos / "a.png"), "make it pink", "--repo-id", str(tiny), "--steps", "2", "--guidance", "1"]
    monkeypatch.setattr(inference, "infer", fail_times(1, inference.infer))
    assert main([*words, "-o", str(tmp_path / "out.png")]) == 0
    assert [loaded.placement.strategy for loaded in watched.loads] == [Strategy.RESIDENT, Strategy.MODEL_OFFLOAD]
    assert "did not suffice for this edit with resident: the next rung is tried" in capsys.readouterr().err
    monkeypatch.setattr(inference, "infer", fail_times(2, inference.infer))
    assert main([*words, "-o", str(tmp_path / "other.png")]) == ExitCode.CANNOT_LOAD
    assert "[out-of-memory]" in capsys.readouterr().err


def test_a_disk_that_fills_up_meanwhile_loses_no_picture(
    tiny: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = outputs._write
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))

    def full(picture: Any, path: Path, settings: Any) -> None:
        if path.parent != spare:
            raise OSError(28, "No space left on device")
        write(picture, path, settings)

    monkeypatch.setattr(outputs, "_write", full)
    assert edit(tiny, str(photos / "a.png"), "make it pink", "-o", str(tmp_path / "out.png")) == 0
    assert capsys.readouterr().out.strip() == str(spare / "out.png")
    assert names(spare) == ["out.png"]


WRONG: list[tuple[list[str], int, str]] = [
    # what is typed after `a.png "make it pink"`; exit code; what is told
    (["--jobs", "jobs.jsonl"], ExitCode.USAGE, "jobs.jsonl, line 2: 'imgae' is none of"),
    (["--jobs", "prompt.txt", "--each"], ExitCode.USAGE, "holds no jobs"),
    (["--jobs", "none.jsonl"], ExitCode.USAGE, "cannot be read"),
    (["--variations", "0"], ExitCode.USAGE, "--variations wants 1 or more"),
    (["-o", "out.jpg"], ExitCode.USAGE, "must end with .png"),
    (["-o", "missing/out.png"], ExitCode.FILE_SYSTEM, "the folder missing is not there"),
    (["-o", "folder.png"], ExitCode.USAGE, "there already"),
    (["-o", "a.png"], ExitCode.USAGE, "it is the picture that is edited"),
    (["-o", "b.png"], ExitCode.USAGE, "it is there already"),
    (["--each", "-o", "b.png"], ExitCode.USAGE, "wants a folder"),
    (["--lora", "no.safetensors"], ExitCode.USAGE, "there is no such file"),
    (["--lora", "owner/name"], ExitCode.CANNOT_LOAD, "qwen-fetch --repo-id owner/name"),
    (["--lora", "wide.safetensors"], ExitCode.CANNOT_LOAD, "belong nowhere"),
    (["--lora", "text.safetensors"], ExitCode.CANNOT_LOAD, "error message in JSON"),
    (["--lightning"], ExitCode.CANNOT_LOAD, "qwen-fetch --with-lightning"),
    (["--lightning", "--guidance", "3"], ExitCode.USAGE, "without guidance"),
    (["--lightning", "--negative", "blur"], ExitCode.USAGE, "switches off"),
    (["--lightning", "5"], ExitCode.USAGE, "invalid choice: 5"),
    (["--size", "20000x20000"], ExitCode.USAGE, "64 to 4096"),
    (["--size", "big"], ExitCode.USAGE, "WIDTHxHEIGHT"),
    (["--steps", "1"], ExitCode.USAGE, "divides by zero"),
    (["--repo-id", "owner/other"], ExitCode.CANNOT_LOAD, "nothing of it is in"),
    (["--repo-id", "comfy"], ExitCode.CANNOT_LOAD, "ComfyUI"),
    (["--repo-id", "gguf"], ExitCode.CANNOT_LOAD, "it holds GGUF files, one transformer each"),
    (["--repo-id", "lora"], ExitCode.CANNOT_LOAD, "--lora lora"),
    (["--repo-id", "single"], ExitCode.CANNOT_LOAD, "single files, as ComfyUI wants them"),
    (["--repo-id", "owner/lora"], ExitCode.CANNOT_LOAD, "--lora owner/lora"),
    (["--repo-id", "text-to-image"], ExitCode.CANNOT_LOAD, "QwenImagePipeline edits no pictures"),
    (["--repo-id", "other"], ExitCode.CANNOT_LOAD, "FluxPipeline, which is not of the Qwen-Image family"),
    (["--strategy", "model-offload"], ExitCode.CANNOT_LOAD, "no GPU"),
]


@pytest.mark.parametrize(("words", "code", "told"), WRONG, ids=[" ".join(words) for words, *_ in WRONG])
def test_what_goes_wrong_is_told_before_weights_are_loaded(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loader, "look", lambda: Hardware((), 64 * GIB))
    monkeypatch.setattr(loader, "_build_and_place", lambda *_: pytest.fail("weights were loaded"))
    for name in ("a", "b"):
        Image.effect_noise((64, 64), 90).convert("RGB").save(f"{name}.png")
    Path("folder.png").mkdir()
    Path("folder.png", "edited.png").touch()
    Path("comfy", "diffusion_models").mkdir(parents=True)
    for path in ("gguf/model-Q4_K_S.gguf", "single/edit_fp8.safetensors", "gguf/lora.safetensors"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    make_lora(Path("lora", "lora.safetensors"))
    snapshot = Path("cache", "models--owner--lora", "snapshots", "1" * 40)
    make_lora(snapshot / "pink_lora.safetensors")
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("1" * 40)
    shutil.copytree(tiny, "text-to-image")
    shutil.copytree(tiny, "other")
    for folder, class_name in (("text-to-image", "QwenImagePipeline"), ("other", "FluxPipeline")):
        index = Path(folder, "model_index.json")
        index.write_text(index.read_text().replace("QwenImageEditPipeline", class_name))
    make_lora(Path("wide.safetensors"), width=64)
    Path("text.safetensors").write_text('{"error": "not found"}' * 20)
    Path("prompt.txt").write_text("\n")
    Path("jobs.jsonl").write_text('{"prompt": "x"}\n{"prompt": "x", "imgae": "a.png"}\n')
    before = {path: path.read_bytes() for path in tmp_path.glob("*.png") if path.is_file()}
    model = [] if "--repo-id" in words else ["--repo-id", str(tiny)]
    shown = ["a.png"] if "--jobs" in words else ["a.png", "make it pink"]
    assert main([*shown, *words, *model, "--cache-dir", str(tmp_path / "cache"), "-q"]) == code
    assert told in " ".join(capsys.readouterr().err.split())
    assert {path: path.read_bytes() for path in before} == before


def test_several_pictures_in_one_edit_are_refused_by_the_first_edition(
    tiny: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(photos / "a.png"), str(photos / "b.png"), "mix them", "-o", str(tmp_path / "out.png")]
    assert edit(tiny, *words) == ExitCode.USAGE
    assert "takes one picture" in capsys.readouterr().err


def test_a_full_disk_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10 << 20))
    with pytest.raises(Problem) as raised:
        outputs.check_output(tmp_path / "out.png", [], overwrite=False, count=3)
    assert raised.value.id == "output-unwritable"
    assert "10 MB free, and 3 pictures may take 192 MB" in raised.value.what


@pytest.mark.parametrize(
    "words",
    [
        ["a.png", "make it pink", "--lightning"],
        ["a.png", "--lightning", "make it pink"],
        ["--lightning", "a.png", "make it pink"],
        ["--lightning", "4", "a.png", "make it pink"],
    ],
    ids=" ".join,
)
def test_words_and_options_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--cache-dir", str(tmp_path)]) == ExitCode.CANNOT_LOAD
    assert "[not-downloaded]" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["photo.png"], ["--lightning"], ["--prompt", "make it pink"]], ids=str)
def test_too_little_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == ExitCode.USAGE
    assert "Name a picture and say what to do" in capsys.readouterr().err
