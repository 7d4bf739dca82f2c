"""Pictures in: what cameras and programs write, in bounded memory, and shapes that stay what they are."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.loading.pictures import Picture, fitted, framed, read_picture

PIPELINE = pytest.importorskip("tiny").pipeline_qwenimage_edit
RED, WHITE = (200, 30, 20), (255, 255, 255)


def corner(picture: Picture) -> Any:
    assert picture.image.mode == "RGB"
    return picture.image.getpixel((0, 0))


def near(one: Any, other: Any, most: int = 3) -> bool:
    return all(abs(a - b) <= most for a, b in zip(one, other, strict=True))


def red(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def transparent() -> Image.Image:
    image = red("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    return image


def palette_with_a_transparent_colour() -> Image.Image:
    image = Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 0, *RED] + [0] * 762)
    image.info["transparency"] = 1
    return image


def wide_gamut() -> tuple[Image.Image, bytes]:
    """Linear light: every program that ignores the profile shows it far too dark."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    return red(), profile.tobytes()


@pytest.mark.parametrize(
    ("suffix", "make", "expected"),
    [
        pytest.param(".png", red, RED, id="plain"),
        pytest.param(".png", lambda: red("L"), red("L").convert("RGB").getpixel((0, 0)), id="grey"),
        pytest.param(".png", lambda: red("1"), None, id="black and white"),
        pytest.param(".png", lambda: red("P"), red("P").convert("RGB").getpixel((0, 0)), id="palette"),
        pytest.param(".png", transparent, WHITE, id="transparency"),
        pytest.param(".png", palette_with_a_transparent_colour, WHITE, id="palette with transparency"),
        pytest.param(".webp", transparent, WHITE, id="WebP with transparency"),
        pytest.param(".png", lambda: Image.new("I;16", (40, 30), 40_000), (156,) * 3, id="16 bits"),
        pytest.param(".tif", lambda: Image.new("I;16B", (40, 30), 40_000), (156,) * 3, id="16 bits, TIFF"),
        pytest.param(".tif", lambda: Image.new("I", (40, 30), 40_000), (156,) * 3, id="32 bits that hold 16"),
        pytest.param(".jpg", lambda: red("CMYK"), RED, id="CMYK"),
        pytest.param(".tif", lambda: red("LAB"), None, id="Lab"),
        pytest.param(".gif", red, RED, id="GIF"),
    ],
)
def test_whatever_it_is_it_comes_as_rgb(
    tmp_path: Path, suffix: str, make: Callable[[], Image.Image], expected: Any
) -> None:
    path = tmp_path / f"picture{suffix}"
    make().save(path)
    picture = read_picture(path)
    assert picture.size == picture.image.size == (40, 30)
    if expected is not None:
        assert near(corner(picture), expected, most=8), corner(picture)
    assert ("what is transparent became white" in picture.notes) == (expected is WHITE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_it_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    """As Pillow's own transposition turns it."""
    image = Image.radial_gradient("L").resize((48, 32)).convert("RGB")
    image.paste(RED, (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    image.save(path, exif=exif, **({"quality": 95} if suffix != ".tif" else {}))
    with Image.open(path) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    picture = read_picture(path)
    assert picture.size == expected.size == ((32, 48) if orientation > 4 else (48, 32))
    assert picture.image.tobytes() == expected.tobytes()


def test_colours_of_another_profile_are_converted(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), (128, 128, 128))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name, profile in (("same", srgb), ("broken", b"no profile"), ("not for RGB", lab)):
        image.save(tmp_path / f"{name}.png", icc_profile=profile)
        assert corner(read_picture(tmp_path / f"{name}.png")) == (128, 128, 128), name
    image.save(tmp_path / "gamma.png", icc_profile=_gamma_one())
    assert near(corner(read_picture(tmp_path / "gamma.png")), (188, 188, 188))  # linear light, half of it


def _gamma_one() -> bytes:
    """A minimal profile: sRGB's primaries, and light that is not bent."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    text = b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + b"\0" * 78
    tags = {
        b"desc": text + b"\0" * (-len(text) % 4),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + s15(0.9642) + s15(1) + s15(0.8249) + b"\0" * 48
    return head + table + data


MEASURE = r"""
import re, sys
from pathlib import Path
from qwen_fetch.loading.pictures import read_picture
picture = read_picture(Path(sys.argv[1]))
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024
print(*picture.size, *picture.image.size, peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a program's own peak, without its parent's, is in /proc")
@pytest.mark.parametrize(("suffix", "most"), [(".jpg", 250), (".png", 1_000)])
def test_200_mpx_in_bounded_memory(tmp_path: Path, suffix: str, most: int) -> None:
    path = tmp_path / f"large{suffix}"
    _large(path, 16_000, 12_500)
    told = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    width, height, less, _, peak = map(int, told.stdout.split())
    assert (width, height) == (16_000, 12_500)
    assert 3_000 <= less <= 8_000
    assert peak < most, peak


def _large(path: Path, width: int, height: int) -> None:
    if path.suffix == ".jpg":
        Image.new("L", (width, height), 90).save(path)
        return
    deflate = zlib.compressobj(1)
    line = b"\0" + b"\x5a" * (3 * width)
    data = b"".join(deflate.compress(line) for _ in range(height)) + deflate.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def _cut(path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[:2000])


def _promises(path: Path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header promises a huge picture."""
    _large(path, 8, 8)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        pytest.param("gone.png", lambda _: None, "there is no such file", id="missing"),
        pytest.param("folder.png", lambda path: path.mkdir(), "it is a folder", id="folder"),
        pytest.param("text.png", lambda path: path.write_text("hello"), "not a picture", id="text"),
        pytest.param("empty.png", lambda path: path.touch(), "not a picture", id="empty"),
        pytest.param("cut.jpg", _cut, "truncated", id="cut"),
        pytest.param("bomb.png", lambda path: _promises(path, 60_000, 60_000), "3600 Mpx", id="bomb"),
        pytest.param("thin.png", lambda path: red(size=(900, 50)).save(path), "narrower", id="thin"),
        pytest.param("float.tif", lambda path: Image.new("F", (9, 9)).save(path), "floating-point", id="float"),
        pytest.param("apple.heic", lambda path: path.touch(), "pip install pillow-heif", id="HEIC"),
        pytest.param("new.jxl", lambda path: path.touch(), "pip install pillow-jxl-plugin", id="JPEG XL"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, make: Callable[[Path], object], told: str) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(Problem) as raised:
        read_picture(path)
    assert raised.value.id == "picture-unreadable"
    assert raised.value.exit_code == ExitCode.USAGE
    assert told in raised.value.what
    assert str(path) in raised.value.what


@settings(deadline=None, max_examples=60)
@given(st.integers(200, 1200), st.integers(200, 1200))
def test_no_shape_is_stretched(width: int, height: int) -> None:
    """What the pipelines do with the fitted picture, and what is left of the result."""
    before = Image.new("RGB", (width, height), RED)
    image = fitted(before)
    wide, high, _ = PIPELINE.calculate_dimensions(1024 * 1024, image.width / image.height)
    # Of a shape that is stable no more than half a pixel of the smaller picture is lost.
    assert abs(wide / high / (image.width / image.height) - 1) <= 1 / min(image.size)
    assert image.width >= width
    assert image.height >= height
    assert image.getextrema() == before.getextrema()  # its edges, and nothing else
    made = framed(Image.new("RGB", (wide, high)), None, Picture(before, before.size, ()))
    assert abs(made.width / made.height / (width / height) - 1) <= 1 / min(made.size) + 1 / min(image.size)
    exact = framed(Image.new("RGB", (wide, high)), "input", Picture(before, before.size, ()))
    assert exact.size == (width, height)


def test_the_middle_stays_in_the_middle() -> None:
    image = Image.new("RGB", (1000, 750), RED)
    image.paste(WHITE, (480, 365, 520, 385))
    padded = fitted(image)
    assert padded.size[0] == 1000
    assert padded.size[1] > 750
    assert framed(padded, "input", Picture(image, image.size, ())).tobytes() == image.tobytes()


def test_a_size_that_is_no_multiple_is_cut() -> None:
    picture = Picture(red(), (40, 30), ())
    assert framed(Image.new("RGB", (1024, 768)), (1011, 758), picture).size == (1011, 758)
