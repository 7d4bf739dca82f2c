"""What the system says about itself, without torch."""

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from qwen_fetch.loading import hardware
from qwen_fetch.loading.hardware import Device, available_ram, look

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a made-up nvidia-smi is a shell script")
MIB = 2**20
GIB = 2**30


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up nvidia-smi that knows two GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, 15900, NVIDIA GeForce RTX 4080'\necho '1, 24000, NVIDIA RTX 4090'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


@pytest.mark.usefixtures("nvidia_smi")
def test_gpus_are_found_without_torch() -> None:
    machine = look()
    assert machine.devices == (
        Device("cuda:0", 15900 * MIB, "NVIDIA GeForce RTX 4080"),
        Device("cuda:1", 24000 * MIB, "NVIDIA RTX 4090"),
    )
    assert "cuda:0 (NVIDIA GeForce RTX 4080) with 15.5 GiB free" in str(machine)


@pytest.mark.usefixtures("nvidia_smi")
@pytest.mark.parametrize(
    ("visible", "models"),
    [("1", ["NVIDIA RTX 4090"]), ("", []), ("1,0", ["NVIDIA RTX 4090", "NVIDIA GeForce RTX 4080"])],
)
def test_only_visible_gpus_count(visible: str, models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    devices = look().devices
    assert [device.model for device in devices] == models
    assert [device.name for device in devices] == [f"cuda:{index}" for index in range(len(models))]


def test_a_driver_that_fails_is_no_gpu(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert not [device for device in look().devices if device.name.startswith("cuda")]
    nvidia_smi.write_text("#!/bin/sh\necho '[Not Supported]'\n")
    assert not [device for device in look().devices if device.name.startswith("cuda")]


def test_ram_is_found_with_and_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    with_psutil = available_ram()
    assert with_psutil > 100 * MIB
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert available_ram() > 100 * MIB


def test_a_container_has_what_its_limit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "memory.max": "4000000000",
        "memory.current": "3000000000",
        "memory.stat": "anon 2500000000\ninactive_file 400000000",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hardware, "_system_ram", lambda: 10**11)
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    assert available_ram() == 1_400_000_000
    (tmp_path / "memory.max").write_text("max")
    assert available_ram() == 10**11


@pytest.mark.parametrize(
    ("version", "devices", "told"),
    [
        ("2.13.0+rocm7.1", ("cuda:0",), "cuda:0 (AMD) with 15.0 GiB free"),
        ("2.13.0+cu130", (), "build for ROCm uses it"),
    ],
)
def test_an_amd_gpu_is_used_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, devices: tuple[str, ...], told: str
) -> None:
    for card, total in (("card0", GIB // 2), ("card1", 16 * GIB)):  # the first one is part of the CPU
        folder = tmp_path / card / "device"
        folder.mkdir(parents=True)
        (folder / "mem_info_vram_total").write_text(f"{total}\n")
        (folder / "mem_info_vram_used").write_text(f"{GIB}\n")
    monkeypatch.setattr(hardware, "_DRM", tmp_path)
    monkeypatch.setattr(hardware, "_nvidia", lambda: ())
    monkeypatch.setattr(metadata, "version", lambda _name: version)
    seen = hardware.look()
    assert tuple(device.name for device in seen.devices) == devices
    assert told in str(seen)


def test_an_intel_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    assert "an Intel GPU is there" in str(hardware.look_with_torch())
