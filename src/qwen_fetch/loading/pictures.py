"""Pictures in: read as cameras and programs mean them, in bounded memory, fitted to the model unstretched."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_fetch.loading.jobs import Size

__all__ = ["Picture", "fitted", "framed", "read_picture"]

_MOST = 300_000_000  # pixels; a PNG of 200 Mpx takes 0.9 GB while it is read: Pillow holds 4 bytes for each
_PLENTY = 16_000_000  # pixels: above, it is made smaller as soon as it is read; the model looks at 1 Mpx
_NARROWEST = 16  # times as long as wide
_AREA = 1024 * 1024  # pixels to which the pipelines bring a picture, with both sides
_SIDE = 32  # multiples of this
_SURELY = 0.4  # beside a whole number: rounded to it, even if the ratio is a little beside
_ORIENTATION = 0x0112  # of EXIF; each number but 1 is what must be undone
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIXTEEN_BITS = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_PLUGINS = {  # for what Pillow cannot read itself: the package, its module, and what has to be called
    ".heic": ("pillow-heif", "pillow_heif", "register_heif_opener"),
    ".heif": ("pillow-heif", "pillow_heif", "register_heif_opener"),
    ".avif": ("pillow-avif-plugin", "pillow_avif", ""),
    ".jxl": ("pillow-jxl-plugin", "pillow_jxl", ""),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the model takes it: upright, sRGB, 8 bits, without transparency.

    Attributes:
        image: A PIL image in mode RGB.
        size: Width and height of the file's picture, upright; `image` may be smaller.
        notes: What was changed that a person would want to know.
    """

    image: Any
    size: tuple[int, int]
    notes: tuple[str, ...]


def read_picture(path: Path) -> Picture:
    """Read a picture.

    Raises:
        Problem: (picture-unreadable) It cannot be edited, and why.
    """
    from PIL import Image  # noqa: PLC0415 - of the extra `load`

    _load_plugin(path)
    try:
        with _without_pillows_bound(Image), Image.open(path) as image:
            if (pixels := math.prod(image.size)) > _MOST:
                raise _unreadable(path, f"it has {pixels / 1e6:.0f} Mpx, and more than {_MOST // 10**6} are not read")
            notes = ["only its first frame is used"] if getattr(image, "n_frames", 1) > 1 else []
            width, height = image.size
            image.draft(None, (2048, 2048))  # a JPEG is decoded smaller at once, where its size allows
            image.load()
            turn = image.getexif().get(_ORIENTATION, 1)  # Pillow has turned a TIFF by now, and its size before
            rgb, more = _as_rgb(_made_smaller(image))
            rgb = rgb.transpose(getattr(Image.Transpose, _TURNS[turn])) if turn in _TURNS else rgb
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except IsADirectoryError:
        raise _unreadable(path, "it is a folder") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, f"it is not a picture that can be read ({_first_line(error)})") from error
    size = (height, width) if turn in {5, 6, 7, 8} else (width, height)
    if max(size) > _NARROWEST * min(size):
        raise _unreadable(path, f"{size[0]}x{size[1]} is narrower than 1 to {_NARROWEST}")
    return Picture(rgb, size, (*notes, *more))


def fitted(image: Any) -> Any:
    """The picture with its edges repeated until its shape is one that the pipelines do not stretch.

    They bring every picture to sides in multiples of 32, up to 2.8 % out of shape. A few rows at the edges, which
    `framed` takes off the result, keep the shape to the pixel.
    """
    from PIL import Image  # noqa: PLC0415 - as above

    width, height = image.size
    wide, high = _shape(width / height)
    if width * high > height * wide:
        size = (width, max(height, round(width * high / wide)))
    else:
        size = (max(width, round(height * wide / high)), height)
    if size == image.size:
        return image
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    # Nearest outside of the picture is its edge.
    padded = Image.new("RGB", size)
    for box, at in _edges(width, height, size, left, top):
        padded.paste(image.crop(box).resize((at[2] - at[0], at[3] - at[1]), Image.Resampling.NEAREST), at[:2])
    padded.paste(image, (left, top))
    return padded


def framed(result: Any, size: Size, picture: Picture) -> Any:
    """What the model made, in the size that was asked for: cut, and resampled at most once.

    Args:
        result: What it made: a little larger than asked for, or from a picture that was `fitted`.
        size: As in `Edit`.
        picture: The one whose shape counts.
    """
    from PIL import Image  # noqa: PLC0415 - as above

    if isinstance(size, tuple):
        left, top = ((have - want) // 2 for have, want in zip(result.size, size, strict=True))
        return result.crop((left, top, left + size[0], top + size[1]))
    result = _cropped(result, picture.image.size)
    if size == "input" and result.size != picture.size:
        result = result.resize(picture.size, Image.Resampling.LANCZOS)
    return result


def _cropped(result: Any, shape: tuple[int, int]) -> Any:
    """What `fitted` added, taken off a result again, however large that is.

    Args:
        result: The picture that was made.
        shape: Width and height of the picture as it was before it was fitted.
    """
    width, height = result.size
    ratio = shape[0] / shape[1]
    if width / height < ratio:
        size = (width, min(height, round(width / ratio)))
    else:
        size = (min(width, round(height * ratio)), height)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return result.crop((left, top, left + size[0], top + size[1]))


def _shape(ratio: float) -> tuple[int, int]:
    """Of the shapes that the pipelines leave as they are, the nearest one."""
    return min(_stable_shapes(_AREA), key=lambda shape: abs(math.log(shape[0] / shape[1] / ratio)))


@cache
def _stable_shapes(area: int) -> list[tuple[int, int]]:
    """Every width and height, in units of 32 pixels, that `calculate_dimensions` of diffusers 0.42.1 gives back.

    It rounds; a picture's sides are whole pixels, so that its ratio is a little beside the one that is meant.
    """
    side = math.sqrt(area) / _SIDE
    sides = range(1, int(side * 5) + 1)
    return [
        (wide, high)
        for wide in sides
        for high in sides
        if max(abs(side * math.sqrt(wide / high) - wide), abs(side * math.sqrt(high / wide) - high)) < _SURELY
    ]


def _edges(
    width: int, height: int, size: tuple[int, int], left: int, top: int
) -> Iterator[tuple[tuple[int, int, int, int], tuple[int, int, int, int]]]:
    """From which line to which place: above and below, or left and right."""
    right, bottom = left + width, top + height
    if top:
        yield (0, 0, width, 1), (0, 0, width, top)
    if bottom < size[1]:
        yield (0, height - 1, width, height), (0, bottom, width, size[1])
    if left:
        yield (0, 0, 1, height), (0, 0, left, height)
    if right < size[0]:
        yield (width - 1, 0, width, height), (right, 0, size[0], height)


def _as_rgb(image: Any) -> tuple[Any, list[str]]:
    from PIL import Image  # noqa: PLC0415 - as above

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if image.mode in _SIXTEEN_BITS:
        return _from_16_bits(image).convert("RGB"), []
    if "A" not in image.getbands() and "transparency" not in image.info:
        return _in_srgb(image), []
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return _in_srgb(image), []
    white = Image.new("RGB", image.size, "white")
    white.paste(_in_srgb(image), mask=alpha)
    return white, ["what is transparent became white"]


def _from_16_bits(image: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - comes with torch's friends
    from PIL import Image  # noqa: PLC0415 - as above

    values = np.asarray(image).astype(np.int64)
    shift = 8 if values.max(initial=0) > 255 else 0
    return Image.fromarray(np.clip(values >> shift, 0, 255).astype(np.uint8))


def _in_srgb(image: Any) -> Any:
    """In the colours that every program assumes, converted where the picture says that it has others."""
    from PIL import ImageCms  # noqa: PLC0415 - as above

    if image.mode not in {"RGB", "CMYK"}:
        image = image.convert("RGBA" if image.mode in {"P", "PA"} else "RGB").convert("RGB")
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(source).lower():
                target = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):  # a profile that is none: the colours are taken as they are
            return image.convert("RGB")
    return image.convert("RGB")


def _made_smaller(image: Any) -> Any:
    factor = math.isqrt(math.prod(image.size) // _PLENTY)
    if factor < 2:
        return image
    if image.mode in {"P", "1"}:  # colours by number cannot be averaged
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in _SIXTEEN_BITS:
        image = _from_16_bits(image)
    return image.reduce(factor)


@contextmanager
def _without_pillows_bound(module: Any) -> Iterator[None]:
    """Pillow refuses a photo of 200 Mpx as an attack; the bound here is higher, and looked at before decoding."""
    before, module.MAX_IMAGE_PIXELS = module.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        module.MAX_IMAGE_PIXELS = before


def _load_plugin(path: Path) -> None:
    """Let Pillow read what it cannot by itself."""
    from PIL import Image, features  # noqa: PLC0415 - as above

    suffix = path.suffix.lower()
    plugin = _PLUGINS.get(suffix)
    if plugin is None or (suffix == ".avif" and features.check("avif")) or suffix in Image.registered_extensions():
        return
    package, module, register = plugin
    try:
        loaded = import_module(module)
    except ImportError:
        detail = f"{suffix[1:].upper()} needs a package: pip install {package}"
        raise _unreadable(path, detail) from None
    if register:
        getattr(loaded, register)()


def _unreadable(path: Path, detail: str) -> Problem:
    return Problem(catalogue.PICTURE_UNREADABLE, path=path, detail=detail)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
