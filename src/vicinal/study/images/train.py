"""Train a method on images: its space first, unless one is there, then the classifier.

Both leave checkpoints, so a training that is killed goes on where it was; a space is trained once for all methods that need it.
"""

import contextlib
import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack, cast

import torch
from torch import nn

from vicinal.core import InputError, save
from vicinal.core.component import load
from vicinal.core.loop import Descent, Hardware, LoopOptions, LoopProgress, LoopResult
from vicinal.data.images import ImageSet
from vicinal.evaluation import predict
from vicinal.networks import Normalized
from vicinal.spaces import MMDVAE
from vicinal.study.images.methods import ImageMethod
from vicinal.study.images.protocol import ImageProtocol
from vicinal.study.store.disk import locked
from vicinal.training.single import Architecture, train_classifier

__all__ = ["Quality", "Trained", "quality_of", "space_for", "train_judge", "train_method"]

POOR = 0.1
"""Accuracy lost on reconstructions from which a space's images are too blurred to train on."""

JUDGED = 5000
"""Images that tell a space's quality."""

JUDGE_EPOCHS, JUDGE_IMAGES = 5, 10000


@dataclass(frozen=True)
class Trained:
    """What came of training a method.

    Attributes:
        classifier: from pixels to logits, in evaluation mode. result: of its loop.
        space: that it mixed in, if any. space_seconds: that the space's training took, whoever it was trained for.
    """

    classifier: Normalized
    result: LoopResult
    space: MMDVAE | None = None
    space_seconds: float = 0.0


@dataclass(frozen=True)
class Quality:
    """How good a space's reconstructions are.

    Attributes:
        error: mean squared error per image, summed over pixels from 0 to 1.
        accuracy: of a plainly trained classifier on images that it has not seen. reconstructed: on their reconstructions.
    """

    error: float
    accuracy: float
    reconstructed: float
    warning: str | None = field(init=False)

    def __post_init__(self) -> None:
        lost = self.accuracy - self.reconstructed
        text = (
            f"the space loses {100 * lost:.0f} points of accuracy ({100 * self.accuracy:.1f} % on images,"
            f" {100 * self.reconstructed:.1f} % on their reconstructions), and classifiers trained in it will be as much worse on"
            " clean images. Train the autoencoder longer, make it wider, or give it a larger latent."
        )
        object.__setattr__(self, "warning", text if lost > POOR else None)

    @property
    def text(self) -> str:
        """Error and accuracies in words."""
        return (
            f"squared error {self.error:.2f} per test image; a small network is right on {100 * self.accuracy:.1f} % of them,"
            f" and on {100 * self.reconstructed:.1f} % of their reconstructions"
        )


def train_method(
    method: ImageMethod,
    images: ImageSet,
    protocol: ImageProtocol,
    *,
    space: MMDVAE | None = None,
    validation: ImageSet | None = None,
    **options: Unpack[LoopOptions],
) -> Trained:
    """Train a classifier by a method.

    Args:
        method: from `IMAGE_METHODS`.
        images: the training images.
        protocol: how to train.
        space: what it mixes in, where it needs one: see `space_for`. It may have learnt from other images of the same shape.
        validation: images to score after every epoch.
        **options: `seed`, `folder`, `hardware`, `keep`, `tell`, ...: as of `run_loop`.

    Raises:
        InputError, DivergedError: as `train_classifier`, and no space, or one of images of another shape.

    Examples:
        Mixup on Fashion-MNIST::

            problem = read_images("fashion-mnist")
            trained = train_method(IMAGE_METHODS["mixup"], problem.train, ImageProtocol(network="small-resnet", epochs=15))
            trained.classifier(problem.test.pixels([0]))
    """
    if space is not None and tuple(space.shape_) != tuple(images.x.shape[1:]):
        raise InputError(
            f"`space` must be of images {tuple(images.x.shape[1:])}, got one of {tuple(space.shape_)}; train one on such images."
        )
    used = space if method.space is not None else None
    about = {
        "method": method.name,
        "images": images.name,
        "rows": len(images),
        "space": None if used is None else used.trained_on_,
        "space_seconds": 0.0 if used is None else used.seconds_,
    }
    loop: LoopOptions = {"batch_size": protocol.batch_size, "descent": protocol.descent(), **options}
    classifier, result = train_classifier(
        Architecture.of(protocol.network, images),
        images,
        method.vicinity(protocol, used),
        method.objective(protocol),
        epochs=protocol.epochs or method.epochs,
        augmented=protocol.augmented,
        validation=validation,
        about=about,
        **loop,
    )
    return Trained(classifier, result, used, 0.0 if used is None else used.seconds_)


def space_for(
    kind: str,
    images: ImageSet,
    protocol: ImageProtocol,
    seed: int = 0,
    folder: str | Path | None = None,
    hardware: Hardware | None = None,
    tell: Callable[[LoopProgress], None] | None = None,
) -> MMDVAE:
    """Return the trained space of these images: from the folder if it is there, else trained and left there.

    The file's name is the images' name, the kind, and a hash of the images and of all that the training depends on. Of two
    processes that want the same space one trains it, and the other waits.

    Args:
        kind: 'vae' or 'adv-vae'.
        images: the training images.
        protocol: how to train it.
        seed: of its training.
        folder: of trained spaces; None trains without leaving anything.
        hardware: what to run on. Of several processes all must come here, and none waits for another.
        tell: called with a `LoopProgress`.

    Examples:
        A space for VarMixup, kept for the next training::

            space = space_for("vae", problem.train, ImageProtocol(), folder="spaces")
            train_method(IMAGE_METHODS["varmixup"], problem.train, ImageProtocol(), space=space)
    """
    hardware = hardware or Hardware()
    space = protocol.space(kind, seed, hardware.device, hardware.precision)
    if folder is None:
        return space.fit(images.x, name=images.name, tell=tell, processes=hardware.processes)
    described = {**space.get_params(), "device": None}
    mark = hashlib.blake2b(f"{described}{images.fingerprint}".encode(), digest_size=6).hexdigest()
    path = Path(folder) / f"{images.name}-{kind}-{mark}.safetensors"
    # The lock lies beside what is removed: a process that is about to wait for it must find it.
    with _alone(path.parent / ".locks" / path.stem, hardware):
        if not path.exists():
            work = path.with_suffix("")
            space.fit(images.x, name=images.name, folder=work, tell=tell, processes=hardware.processes)
            if hardware.processes > 1 and torch.distributed.get_rank() > 0:
                return space  # the first may still be writing there, and keeps it
            save(space, path)
            shutil.rmtree(work, ignore_errors=True)
    return cast(MMDVAE, load(path))


def train_judge(
    images: ImageSet,
    seed: int = 0,
    hardware: Hardware | None = None,
    tell: Callable[[LoopProgress], None] | None = None,
    folder: str | Path | None = None,
) -> Normalized:
    """Return a plainly trained small residual network: its judgement and its features measure what others draw.

    Args:
        images: training images, of which a random part is enough.
        seed: of its training.
        hardware: what to run on.
        tell: called with a `LoopProgress`.
        folder: of judges, each under a name of its images, seed and precision; found there, it is not trained again.

    Examples:
        See `quality_of`.::

            judge = train_judge(problem.train)
    """
    hardware = hardware or Hardware()
    some = images if len(images) <= JUDGE_IMAGES else images.first(JUDGE_IMAGES, seed)
    place = None
    if folder is not None:
        place = Path(folder) / f"{images.fingerprint[:16]}-{seed}-{hardware.precision}-{JUDGE_EPOCHS}"
    with contextlib.nullcontext() if place is None else _alone(place, hardware):
        judge, _ = train_classifier(
            Architecture.of("small-resnet", images),
            some,
            epochs=JUDGE_EPOCHS,
            descent=Descent(learning_rate=2e-3, schedule="cosine"),
            hardware=hardware,
            seed=seed,
            tell=tell,
            folder=place,
        )
    return judge


@contextlib.contextmanager
def _alone(folder: Path, hardware: Hardware) -> Iterator[None]:
    """Hold a folder's lock, unless several processes train together: the first would wait for the others, and they for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.nullcontext() if hardware.processes > 1 else locked(folder):
        yield


def quality_of(space: MMDVAE, test: ImageSet, judge: nn.Module) -> Quality:
    """Measure a space on images that it has not seen.

    Args:
        space: trained.
        test: other images.
        judge: a plainly trained classifier, see `train_judge`.

    Warns:
        UserWarning: reconstructions cost the judge more than 10 points of accuracy.

    Examples:
        Before hours of training::

            print(quality_of(space, problem.test, train_judge(problem.train)).text)
    """
    some = test if len(test) <= JUDGED else test.first(JUDGED)
    x, y = some.pixels().to(next(judge.parameters()).device), some.y.numpy()
    again = space.decode(space.encode(x))
    right = [float((predict(judge, part).argmax(1) == y).mean()) for part in (x, again)]
    quality = Quality(float((again - x).square().flatten(1).sum(1).mean()), *right)
    if quality.warning:
        warnings.warn(quality.warning, stacklevel=2)
    return quality
