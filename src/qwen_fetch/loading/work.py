"""What is to be done, as far as memory and time depend on it: how many passes, on how many tokens."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ONE_EDIT", "Work"]

_GIB = 2**30
_TOKEN = 256  # pixels: 8 x 8 for the VAE, 2 x 2 for the transformer's patches
_REFERENCE = 2**20  # pixels of each picture that is edited, whatever its size was
_TEXT = 1_450  # tokens of a prompt and the picture in it
# Per token, traced on shapes: the linear layers, and the attention of each to each.
_LINEAR, _ATTENTION = 13.6e9, 742e3  # FLOP
_ACTIVATIONS = 8.2e-5 * _GIB
# Measured on a GPU, at 1024x1024: what is on it besides the weights.
_READ_TEXT = 2.35 * _GIB  # with the logits of the whole text, which nobody asked for
_DECODE = 4.2 * _GIB
_DECODE_TILED = 0.5 * _GIB


@dataclass(frozen=True, slots=True)
class Work:
    """The edits that one load is for.

    Attributes:
        edits: How many.
        passes: Of the transformer, in each: two for a step with guidance.
        texts: That are read, in all.
        pixels: Of the picture that is made.
        pictures: That each starts from.
    """

    edits: int = 1
    passes: int = 100
    texts: int = 2
    pixels: int = 2**20
    pictures: int = 1

    @property
    def tokens(self) -> int:
        """Of a pass."""
        return (self.pixels + self.pictures * _REFERENCE) // _TOKEN + _TEXT

    @property
    def flop(self) -> float:
        """Of a pass: 200e12 for 1 Mpx."""
        return self.tokens * (_LINEAR + self.tokens * _ATTENTION)

    @property
    def read_text(self) -> int:
        """Bytes beside the weights while text and picture are read."""
        return int(_READ_TEXT)

    @property
    def denoise(self) -> int:
        """Bytes beside the weights while the transformer works."""
        return int(self.tokens * _ACTIVATIONS)

    def decode(self, *, tiled: bool) -> int:
        """Bytes beside the weights while the picture is decoded."""
        share = self.pixels / 2**20
        return int(_DECODE_TILED + share * 0.1 * _GIB) if tiled else int(_DECODE * max(share, 0.6))


ONE_EDIT = Work()
"""Of the first edition, as its card says: 1 Mpx in 50 steps with guidance."""
