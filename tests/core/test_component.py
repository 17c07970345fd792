"""Saving, loading and cloning; what a file may not be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone

import vicinal as vc
from vicinal.core import Component, InputError, load, save
from vicinal.densities import KDE, Gaussian


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    x, y = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    path = tmp_path / "mix.safetensors"
    save(vc.GenLabel(KDE("silverman"), gamma=0.4).fit(x, y), path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the description inside a file, as another version or a careless hand would."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        plain = json.loads(file.metadata()["vicinal"])
    change(plain)
    save_file(load_file(path), path, metadata={"vicinal": json.dumps(plain)})


def test_nested_parts_come_back(saved: Path) -> None:
    mix = load(saved)
    assert mix.labeler.gamma == 0.4
    assert mix.labeler_.density_.bandwidth == "silverman"
    assert mix.n_classes_ == 3
    x = torch.ones(2, 2)
    mix.seed = 1
    assert mix(x, torch.tensor([0, 2]))[1].shape == (2, 3)


def test_lists_of_components_come_back(tmp_path: Path) -> None:
    x, y = torch.randn(9, 2), torch.arange(9) % 3
    mix = vc.OneOf(vc.Mixup(0.3), vc.GenLabel(), probabilities=[1, 3], seed=4).fit(x, y)
    save(mix, tmp_path / "mix")
    again = load(tmp_path / "mix")
    assert again.key() == mix.key()
    mix._stream = (None, None)
    for _ in range(3):
        assert torch.equal(again(x, y)[1], mix(x, y)[1])


def test_extra_values_come_back(tmp_path: Path) -> None:
    save(Gaussian(), tmp_path / "g", note_="scaled", columns_=["a", "b"])
    again = load(tmp_path / "g")
    assert (again.note_, again.columns_) == ("scaled", ["a", "b"])


def test_a_failed_save_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(InputError, match="`Gaussian` has a parameter that can't be saved without pickle"):
        save(Gaussian(covariance=print), saved)  # type: ignore[arg-type]
    assert saved.read_bytes() == before


def test_nothing_is_left_beside_the_file(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_torn_file(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"is not a safetensors file, or it is torn.*save it again"):
        load(saved)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Not tensors at all, but long enough for a header of some sort.")
    with pytest.raises(InputError, match=r"is not a safetensors file"):
        load(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: .*nowhere"):
        load(tmp_path / "nowhere")


def test_tensors_without_a_description(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="holds tensors but no component of vicinal"):
        load(tmp_path / "net.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "net.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="holds tensors but no component of vicinal"):
        load(tmp_path / "net.safetensors")


def test_a_newer_format(saved: Path) -> None:
    rewrite(saved, lambda plain: plain.update(format=99))
    with pytest.raises(InputError, match=r"written by a newer vicinal \(format 99\); upgrade with pip"):
        load(saved)


def test_an_unknown_class(saved: Path) -> None:
    rewrite(saved, lambda plain: plain["root"].update(component="elsewhere.Density"))  # type: ignore[index]
    with pytest.raises(InputError, match=r"holds a `elsewhere\.Density`; import the module that defines it"):
        load(saved)


def test_a_tensor_is_missing(saved: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(saved), framework="pt") as file:
        text = file.metadata()
    tensors = load_file(saved)
    tensors.pop(next(iter(sorted(tensors))))
    save_file(tensors, saved, metadata=text)
    with pytest.raises(InputError, match=r"lacks .*save it again"):
        load(saved)


def test_a_parameter_of_another_version(saved: Path) -> None:
    rewrite(saved, lambda plain: plain["root"]["parts"].update(colour="red"))  # type: ignore[index]
    with pytest.raises(InputError, match="`Vicinity` has no parameter `colour`"):
        load(saved)


def test_a_copied_file_is_enough(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copy(saved, copy)
    assert load(copy).key() == load(saved).key()


def test_key_tells_parameters_apart() -> None:
    assert vc.Mixup(0.3).key() == vc.Mixup(0.3).key()
    assert vc.Mixup(0.3).key() != vc.Mixup(0.4).key()
    assert Gaussian().key() != KDE().key()
    fitted = Gaussian().fit([[0.0], [1.0]], [0, 1])
    assert fitted.key() == Gaussian().key()


def test_clone_and_nested_parameters() -> None:
    mix = vc.GenLabel(KDE(0.5), gamma=0.3)
    assert mix.get_params()["labeler__density__bandwidth"] == 0.5
    changed = clone(mix).set_params(labeler__gamma=0.9, ratio__alpha=0.2)
    assert (changed.labeler.gamma, changed.ratio.alpha) == (0.9, 0.2)
    assert mix.labeler.gamma == 0.3


def test_to_moves_every_tensor() -> None:
    mix = vc.GenLabel(KDE()).fit(torch.randn(6, 2), torch.arange(6) % 2)
    assert mix.to("meta") is mix
    assert mix.labeler_.density_.points_.device.type == "meta"


def test_defined_by_a_user(tmp_path: Path) -> None:
    class Mine(Component):
        def __init__(self, size: int = 1) -> None:
            self.size = size

    save(Mine(3), tmp_path / "mine")
    assert load(tmp_path / "mine").size == 3
