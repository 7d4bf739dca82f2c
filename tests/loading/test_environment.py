"""Packages that are missing, too old or not made for each other, each told before anything is imported."""

import re
import sys
import tomllib
from importlib import metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from workbench import ROOT

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.loading import environment
from qwen_fetch.loading.environment import check_cuda, check_packages, import_torch

RIGHT = {
    "torch": "2.13.0+cu130",
    "torchvision": "0.28.0+cu130",
    "diffusers": "0.42.1",
    "transformers": "5.23.0",
    "accelerate": "1.15.0",
    "pillow": "12.0.0",
    "bitsandbytes": "0.49.0",
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The packages that seem to be installed: to be changed by the test."""
    packages = dict(RIGHT)

    def version(name: str) -> str:
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return packages[name]

    source = tmp_path / "__init__.py"
    source.write_text('"QwenImageEditPipeline",')
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda _name: ["numpy", "torch==2.13.0", "pillow>=5"])
    monkeypatch.setattr(util, "find_spec", lambda name: ModuleSpec(name, None, origin=str(source)))
    return packages


def problem_of(class_name: str = "QwenImageEditPipeline", quantization: str | None = None) -> Problem:
    with pytest.raises(Problem) as raised:
        check_packages(class_name, quantization)  # type: ignore[arg-type]
    assert raised.value.exit_code == ExitCode.CANNOT_LOAD
    return raised.value


@pytest.mark.usefixtures("installed")
def test_all_is_well() -> None:
    check_packages("QwenImageEditPipeline")
    check_packages("QwenImageEditPipeline", "nf4")


@pytest.mark.parametrize("name", ["torch", "torchvision", "diffusers", "transformers", "accelerate", "pillow"])
def test_a_package_is_missing(installed: dict[str, str], name: str) -> None:
    del installed[name]
    problem = problem_of()
    assert problem.id == "package-missing"
    assert problem.what == f"The package {name} is not installed."
    assert problem.do == ('pip install "qwen-fetch[load]"',)


def test_bitsandbytes_is_wanted_for_nf4_alone(installed: dict[str, str]) -> None:
    del installed["bitsandbytes"]
    check_packages("QwenImageEditPipeline", "fp8")
    assert problem_of(quantization="nf4").do == ("pip install bitsandbytes",)


def test_a_package_is_too_old(installed: dict[str, str]) -> None:
    installed["diffusers"] = "0.34.0"
    problem = problem_of()
    assert problem.id == "package-too-old"
    assert "0.34.0" in problem.what


@pytest.mark.usefixtures("installed")
def test_diffusers_lacks_the_class() -> None:
    problem = problem_of("QwenImageEditPlusPipeline")
    assert problem.id == "package-too-old"
    assert "0.36, for QwenImageEditPlusPipeline" in problem.what


def test_torchvision_for_another_torch(installed: dict[str, str]) -> None:
    installed["torch"] = "2.14.0"
    problem = problem_of()
    assert problem.id == "torchvision-mismatch"
    assert "torch 2.13.0" in problem.what


def test_torchvision_of_another_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU torch beside a CUDA torchvision: only the import shows it."""
    pytest.importorskip("torch")

    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [type("Broken", (), {"find_spec": staticmethod(find_spec)}), *sys.meta_path])
    with pytest.raises(Problem) as raised:
        import_torch()
    assert raised.value.id == "torchvision-mismatch"
    assert "nms does not exist" in raised.value.what
    assert "same index" in raised.value.do[0]


def test_torch_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Problem) as raised:
        import_torch()
    assert raised.value.id == "torch-broken"


def test_torch_without_cuda_on_a_machine_with_a_gpu(installed: dict[str, str]) -> None:
    check_cuda()
    check_cuda(torch_sees_it=True)
    with pytest.raises(Problem) as raised:
        check_cuda(torch_sees_it=False)  # the driver is too old, say
    assert raised.value.id == "torch-without-cuda"
    installed["torch"] = "2.13.0+cpu"
    with pytest.raises(Problem) as raised:
        check_cuda()
    assert "pytorch.org" in raised.value.do[0]


def test_the_bounds_are_those_of_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = dict(re.findall(r"^(\w+)>=([\d.]+)", "\n".join(project["optional-dependencies"]["load"]), re.MULTILINE))
    assert bounds == environment._NEEDED | environment._PEFT
