"""Lightning: the LoRAs that make an edit in 4 or 8 passes instead of 100, and what they were trained with.

By lightx2v, Apache-2.0. They want guidance off and a scheduler that is not the repo's own: with the repo's own
scheduler the same LoRA gives visibly worse pictures, so the two are never taken apart here.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["REPOS", "SCHEDULER", "Passes", "edition_of", "pattern"]

Passes = Literal[4, 8]

REPOS = {
    "Qwen-Image-Edit": "lightx2v/Qwen-Image-Lightning",
    "Qwen-Image-Edit-2509": "lightx2v/Qwen-Image-Lightning",
    "Qwen-Image-Edit-2511": "lightx2v/Qwen-Image-Edit-2511-Lightning",
}
"""For each edition of the model, the repo that holds its LoRAs."""

SCHEDULER = {
    "base_image_seq_len": 256,
    "base_shift": math.log(3),
    "invert_sigmas": False,
    "max_image_seq_len": 8192,
    "max_shift": math.log(3),
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": None,
    "stochastic_sampling": False,
    "time_shift_type": "exponential",
    "use_beta_sigmas": False,
    "use_dynamic_shifting": True,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}
"""The `FlowMatchEulerDiscreteScheduler` that they were trained with, as published: every field."""


def pattern(edition: str, passes: Passes) -> str:
    """A glob over the paths in the repo: by edition, passes and dtype, whatever the version or the folder is."""
    return f"*{edition}-Lightning-{passes}steps-*bf16.safetensors"


def edition_of(class_name: str, folder: Path) -> str | None:
    """Which edition a checkpoint is; None: one that these LoRAs were not trained for.

    2509 and 2511 have one pipeline class; 2511's transformer conditions on a zero time step, its configuration says.
    """
    if class_name == "QwenImageEditPipeline":
        return "Qwen-Image-Edit"
    if class_name != "QwenImageEditPlusPipeline":
        return None
    config = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    return "Qwen-Image-Edit-2511" if config.get("zero_cond_t") else "Qwen-Image-Edit-2509"
