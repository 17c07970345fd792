"""Training one classifier of images: what its batches are made of, and what its file says."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vicinal as vc
from vicinal.core import Component, InputError, generator_at
from vicinal.core.loop import Descent, Hardware, read_checkpoint
from vicinal.data.images import ImageSet, augment
from vicinal.densities import Gaussian
from vicinal.evaluation import predict
from vicinal.mixing import NoMixer
from vicinal.spaces import MMDVAE, PCA, Identity
from vicinal.training.single import ERM, Architecture, read_classifier, train_classifier
from vicinal.vicinity import BaseVicinity, MixupR, VarMixup

CPU = Hardware(device="cpu")
N, SHAPE = 50, (1, 12, 12)


def images(n: int = N, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> ImageSet:
    """Classes of different brightness, in noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = 50 * y[:, None, None, None] + torch.randint(100, (n, *shape), generator=generator)
    return ImageSet("blobs", x.to(torch.uint8), y, ("dark", "grey", "bright"))


class Watching(ERM):
    """Remembers what it is given."""

    def __init__(self, seen: list[tuple[Tensor, Tensor]]) -> None:
        self.seen = seen

    def loss(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, extras: Any) -> Tensor:
        self.seen.append((x.clone(), y.clone()))
        return super().loss(network, x, y, generator, extras)

    def key(self) -> str:
        return "watching"


def batches_of(vicinity: BaseVicinity | None, epochs: int = 2, **options: Any) -> list[tuple[Tensor, Tensor]]:
    seen: list[tuple[Tensor, Tensor]] = []
    given = {"batch_size": 16, "hardware": CPU, "seed": 4, **options}
    train_classifier(Architecture.of("lenet-5", images()), images(), vicinity, Watching(seen), epochs=epochs, **given)
    return seen


def by_hand(vicinity: BaseVicinity, epochs: int = 2, augmented: bool = False) -> list[tuple[Tensor, Tensor]]:
    """The same batches, encoded as they come."""
    own, found = images(), []
    for epoch in range(epochs):
        order = torch.randperm(N, generator=generator_at(seed=4, epoch=epoch, purpose="order"))
        for step, index in enumerate(order.split(16)):
            generator = generator_at(seed=4, epoch=epoch, step=step, purpose="step")
            x, rows = own.pixels(index), torch.eye(3)[own.y[index]]
            plain = x
            if augmented:
                x = augment(x, generator)
            codes = vicinity.encode(x) if not isinstance(vicinity, vc.vicinity.InSpace) else vicinity.encode(plain)
            batch = vicinity.draw_rows(codes, rows, generator=generator)
            found.append((vicinity.decode(batch), vicinity.label(batch)))
    return found


def assert_same(found: list[tuple[Tensor, Tensor]], expected: list[tuple[Tensor, Tensor]]) -> None:
    assert len(found) == len(expected)
    for (x, y), (points, labels) in zip(found, expected, strict=True):
        torch.testing.assert_close(x, points, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(y, labels, rtol=1e-5, atol=1e-4)


def fitted(name: str) -> BaseVicinity:
    x, y = images().pixels(), images().y
    space = PCA(9).fit(x)
    return {
        "none": lambda: vc.Vanilla(n_classes=3),
        "mixup": lambda: vc.Mixup(per="sample", n_classes=3),
        "varmixup": lambda: VarMixup(space, per="sample"),
        "varmixup, drawn": lambda: VarMixup(space, sample=True),
        "varmixup, unfitted, posterior": lambda: VarMixup(PCA(4), density=Gaussian()).fit(x, y),
        "varmixup of a VAE": lambda: VarMixup(MMDVAE(width=8, latent=(4,), epochs=1, device="cpu").fit(x)),
        "mixup-r": lambda: MixupR(space).fit(x, y),
        "one of": lambda: vc.OneOf(vc.Mixup(), VarMixup(space), vc.OneOf(vc.CutMix(), MixupR(space))).fit(x, y),
    }[name]()


NAMES = [
    "none",
    "mixup",
    "varmixup",
    "varmixup, drawn",
    "varmixup, unfitted, posterior",
    "varmixup of a VAE",
    "mixup-r",
    "one of",
]


@pytest.mark.parametrize("name", NAMES)
def test_codes_computed_once_give_the_batches_of_codes_computed_anew(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicinal.training.single.task.CHUNK", 13)
    vicinity = fitted(name)
    assert_same(batches_of(vicinity), by_hand(vicinity))


@pytest.mark.parametrize("name", ["mixup", "varmixup"])
def test_augmentation_reaches_images_but_not_codes(name: str) -> None:
    vicinity = fitted(name)
    found = batches_of(vicinity, augmented=True)
    assert_same(found, by_hand(vicinity, augmented=True))
    assert not torch.allclose(found[0][0], batches_of(vicinity)[0][0])  # both draw more before they mix
    still = VarMixup(Identity().fit(images().pixels())).set_params(vicinity=vc.Vicinity(mixer=NoMixer()))
    order = torch.randperm(N, generator=generator_at(seed=4, epoch=0, purpose="order"))[:16]
    assert torch.equal(batches_of(still, augmented=True)[0][0], images().pixels(order))
    assert not torch.equal(batches_of(None, augmented=True)[0][0], images().pixels(order))


def test_what_a_vicinity_learnt_goes_where_its_batches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and densities are made on the CPU, and a step on a GPU needs them there."""
    moved: list[Any] = []
    monkeypatch.setattr(Component, "to", lambda self, device: moved.append((type(self).__name__, str(device))))
    batches_of(vc.GenLabel(Gaussian("diagonal")), epochs=1)
    assert moved == [("Vicinity", "cpu")]


def test_a_filter_counts_over_the_whole_batch() -> None:
    """Parts of a step are weighed so that their sum is the mean over the rows kept."""
    vicinity, losses = vc.MixupExcludingIntrusion(per="sample"), []
    for accumulate in (1, 2):  # the last batch has two rows
        _, result = train_classifier(
            Architecture.of("lenet-5", images()),
            images(),
            vicinity,
            epochs=2,
            batch_size=16,
            hardware=CPU,
            accumulate=accumulate,
            descent=Descent(optimizer="sgd"),
        )
        losses.append(result.history[-1]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    weights = {float(row) for _, y in batches_of(vicinity) for row in y.sum(1)}
    assert 0 in weights
    assert max(weights) > 1


def test_it_learns_and_comes_back(tmp_path: Path) -> None:
    train, held = images(240), images(90, seed=1)
    architecture = Architecture.of("small-resnet", train)
    network, result = train_classifier(
        architecture,
        train,
        vc.Mixup(0.2),
        epochs=3,
        batch_size=48,  # 240 rows: whole batches
        hardware=CPU,
        descent=Descent(learning_rate=0.01),
        validation=held,
        keep="accuracy",
        folder=tmp_path,
        about={"method": "mixup"},
    )
    scores = [line["accuracy"] for line in result.history]
    assert max(scores) > 0.8
    assert result.best_epoch == 1 + scores.index(max(scores))
    expected = predict(network, held.x)
    for path in (tmp_path, tmp_path / "best.safetensors"):
        again, about = read_classifier(path)
        assert not again.training
        torch.testing.assert_close(predict(again, held.x), expected, rtol=1e-4, atol=1e-5)
        assert about["architecture"] == architecture
        assert about["method"] == "mixup"
        assert (about["epoch"], about["history"][-1]["accuracy"]) == (result.best_epoch, max(scores))
    _, about = read_classifier(tmp_path / "last.safetensors")
    assert about["epoch"] == 3
    assert about["history"] == [dict(line) for line in result.history]
    (tmp_path / "best.safetensors").unlink()
    assert read_classifier(tmp_path)[1]["epoch"] == 3


def test_a_last_batch_of_one_image_is_left_out_where_batch_norm_needs_two() -> None:
    own = images(17)
    for name in ("small-resnet", "lenet-5"):
        seen: list[tuple[Tensor, Tensor]] = []
        train_classifier(Architecture.of(name, own), own, None, Watching(seen), epochs=1, batch_size=16, hardware=CPU)
        assert [len(x) for x, _ in seen] == ([16] if name == "small-resnet" else [16, 1])


def test_the_vicinity_that_was_given_is_not_changed() -> None:
    vicinity = VarMixup(PCA(3), density=Gaussian())
    key = vicinity.key()
    batches_of(vicinity, epochs=1)
    assert vicinity.key() == key
    assert not vicinity.space.fitted


def test_a_constant_channel_has_no_scale() -> None:
    own = images(9, (2, 12, 12))
    own.x[:, 1] = 128
    architecture = Architecture.of("lenet-5", own)
    assert architecture.std[1] == 1.0
    assert architecture.mean[1] == pytest.approx(128 / 255)
    assert architecture.std[0] == pytest.approx(float((own.x[:, 0].double() / 255).std(correction=0)), rel=1e-5)
    assert bool(architecture.make()(own.pixels()).isfinite().all())


# --- refusals


def test_another_data_set_or_vicinity_in_the_folder(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16, "hardware": CPU, "folder": tmp_path}
    architecture, x = Architecture.of("lenet-5", images()), images().pixels()
    spaces = [PCA(3).fit(x), PCA(3).fit(x.square())]
    train_classifier(architecture, images(), VarMixup(spaces[0]), **options)
    train_classifier(architecture, images(), VarMixup(spaces[0]), **options)
    for other, said in (
        (images(seed=1), f"{N} of blobs too, but not the same ones"),
        (images().first(40), f"{N} of blobs, here 40 of blobs"),
    ):
        with pytest.raises(InputError, match=rf"holds a training with other images \({said}\); choose another folder"):
            train_classifier(architecture, other, VarMixup(spaces[0]), **options)
    for other in (VarMixup(spaces[1]), vc.Mixup(), VarMixup(spaces[0], sample=True)):
        with pytest.raises(InputError, match=r"another `task\.vicinity`; choose"):  # and no key of a machine
            train_classifier(architecture, images(), other, **options)
    with pytest.raises(InputError, match=r"another `task\.augmented` \(False, here True"):
        train_classifier(architecture, images(), VarMixup(spaces[0]), augmented=True, **options)
    with pytest.raises(InputError, match="holds another network"):
        train_classifier(Architecture.of("small-resnet", images()), images(), VarMixup(spaces[0]), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda own: train_classifier(Architecture.of("lenet-5", images(9, (3, 12, 12))), own, epochs=1),
            r"`images` must be \(3, 12, 12\) with 3 classes as the architecture says, got \(1, 12, 12\) with 3; make it",
        ),
        (
            lambda own: train_classifier(replace(Architecture.of("lenet-5", own), classes=("a", "b")), own, epochs=1),
            r"with 2 classes as the architecture says, got \(1, 12, 12\) with 3",
        ),
        (
            lambda own: train_classifier(
                Architecture.of("lenet-5", own), own, VarMixup(PCA(2).fit(torch.rand(9, 3, 12, 12))), epochs=1
            ),
            r"points must have the shape \(B, 3, 12, 12\) of this space, got",
        ),
        (lambda own: Architecture.of("lenet-99", own).make(), "lenet-99"),
    ],
)
def test_messages(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(images())


def test_other_files_are_no_classifier(tmp_path: Path) -> None:
    space = MMDVAE(width=8, latent=(4,), epochs=1, device="cpu").fit(images().pixels(), folder=tmp_path)
    with pytest.raises(InputError, match=r"last.safetensors holds no classifier; `vicinal train` writes them"):
        read_classifier(tmp_path)
    vc.save(space, tmp_path / "space.safetensors")
    with pytest.raises(InputError, match="is no checkpoint of a training"):
        read_classifier(tmp_path / "space.safetensors")
    with pytest.raises(InputError, match="no such file"):
        read_classifier(tmp_path / "none.safetensors")


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    own = images()
    train_classifier(Architecture.of("lenet-5", own), own, epochs=1, hardware=CPU, folder=tmp_path)
    found = read_checkpoint(tmp_path / "last.safetensors")
    about = {"architecture": asdict(Architecture.of("small-resnet", own))}
    replace(found, about=about).write(tmp_path / "last.safetensors")
    with pytest.raises(InputError, match="holds another network: `"):
        read_classifier(tmp_path)
