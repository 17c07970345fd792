"""The space of a variational autoencoder whose codes match the prior as a whole: the MMD-VAE of VarMixup.

    L = E |x - decode(z)|^2 / (2 variance) + gamma MMD(q(z), N(0, I)),   z ~ q(z | x)       (VarMixup, Eq. 7, to be minimised)

The code of a point is the posterior's mean, E q(z | x), and the point of a code is the decoder's (Eq. 8 and 9). What the
classifier sees in training are decoded images, so a blurred decoder costs clean accuracy: `reconstruction_error` tells, before
anyone trains for hours.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from vicinal.core import InputError, check_in, check_number, seed_at
from vicinal.core.loop import Batch, Descent, Hardware, LoopProgress, Task, run_loop
from vicinal.networks import ConvolutionalAutoencoder
from vicinal.spaces.base import RESIDUAL_ROWS, ROWS, Space
from vicinal.spaces.divergence import kl_to_standard_normal, maximum_mean_discrepancy

__all__ = ["MMDVAE", "VAETask"]

SCORED = 1024
"""Images that tell an epoch's error well enough."""


class MMDVAE(Space):
    """The latent space of a convolutional MMD-VAE; see the module's text for its loss.

    Args:
        latent: shape of a code: (channels, rows, columns) with rows and columns a half, a quarter, ... of the image's, or (D,)
            for a flat one; None for 16 channels at a quarter. The fewer numbers, the blurrier the images.
        width: channels of the network at half the image's size.
        blocks: its residual blocks at each size.
        divergence: 'mmd' (Eq. 7) or 'kl' (Eq. 6, the original VAE).
        gamma: weight of the divergence.
        variance: of the decoder's likelihood N(decode(z), variance I), in squared pixels.
        bandwidths: of the MMD's kernel, in units of the code's dimension.
        epsilon: above 0 the autoencoder is trained adversarially (Eq. 10: the space of adv-VarMixup): on the points x* of
            the ball |x* - x|_inf <= epsilon, in pixels from 0 to 1, where the loss is largest.
        attack_steps: of the search for x*, each 2.5 epsilon / attack_steps long.
        epochs, batch_size, learning_rate: of the training, by Adam with a cosine schedule.
        device, precision: as of `vicinal.core.loop.Hardware`.
        seed: of weights and draws.

    Attributes:
        trained_on_: what the space says of its data, as given to `fit`. seconds_: of training.

    Reference: S. Zhao, J. Song, S. Ermon. InfoVAE: Balancing learning and inference in variational autoencoders. AAAI 2019.

    Examples:
        >>> images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> space = MMDVAE(latent=(4, 4, 4), width=8, epochs=1, device="cpu").fit(images)
        >>> space.encode(images[:2]).shape, space.decode(space.encode(images[:2])).shape
        (torch.Size([2, 4, 4, 4]), torch.Size([2, 1, 8, 8]))
    """

    def __init__(
        self,
        latent: Sequence[int] | None = None,
        width: int = 32,
        blocks: int = 1,
        divergence: str = "mmd",
        gamma: float = 10.0,
        variance: float = 0.01,
        bandwidths: Sequence[float] = (0.5, 1.0, 2.0),
        epsilon: float = 0.0,
        attack_steps: int = 3,
        epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        device: str = "auto",
        precision: str = "32-true",
        seed: int = 0,
    ) -> None:
        self.latent = latent
        self.width = width
        self.blocks = blocks
        self.divergence = divergence
        self.gamma = gamma
        self.variance = variance
        self.bandwidths = bandwidths
        self.epsilon = epsilon
        self.attack_steps = attack_steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.precision = precision
        self.seed = seed

    bounds = (0.0, 1.0)

    weights_: dict[str, Tensor]
    trained_on_: str
    seconds_: float
    _module: ConvolutionalAutoencoder | None = None

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        name: str = "",
        folder: str | Path | None = None,
        tell: Callable[[LoopProgress], None] | None = None,
        processes: int = 1,
    ) -> Self:
        """Train the autoencoder.

        Args:
            x: (N, C, H, W) images, pixels in [0, 1] or as bytes.
            y: not used.
            name: what the images are, to be remembered in `trained_on_`.
            folder: for checkpoints; a training found there goes on.
            tell: called with a `LoopProgress` now and then.
            processes: as of `Hardware`.

        Raises:
            InputError: not images, pixels outside [0, 1], or a latent shape that does not suit them.
        """
        x = torch.as_tensor(x)
        self._check(x)
        latent = (16, -(-x.shape[2] // 4), -(-x.shape[3] // 4)) if self.latent is None else tuple(self.latent)
        shape = cast(tuple[int, int, int], tuple(x.shape[1:]))
        with torch.random.fork_rng():
            torch.manual_seed(seed_at(seed=self.seed, purpose="vae-weights"))
            try:
                module = ConvolutionalAutoencoder(shape, latent, self.width, self.blocks)
            except ValueError as error:
                raise InputError(str(error)) from error
        result = run_loop(
            VAETask(self, module, x, name),
            epochs=self.epochs,
            batch_size=min(self.batch_size, len(x)),
            descent=Descent(learning_rate=self.learning_rate, schedule="cosine"),
            hardware=Hardware(device=self.device, precision=self.precision, processes=processes),
            seed=self.seed,
            folder=folder,
            tell=tell,
        )
        self.weights_ = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
        self.shape_, self.trained_on_, self.seconds_ = shape, name, result.seconds
        self._module = module
        self._complete(_pixels(x[:RESIDUAL_ROWS]))
        return self

    def _fit(self, x: Tensor) -> None:
        raise NotImplementedError  # `fit` does it all

    def _check(self, x: Tensor) -> None:
        check_in("divergence", self.divergence, ("mmd", "kl"))
        check_number("gamma", self.gamma, 0)
        check_number("variance", self.variance, 0, open_low=True)
        check_number("epsilon", self.epsilon, 0, 1)
        check_number("attack_steps", self.attack_steps, 1, whole=True)
        check_number("width", self.width, 1, whole=True)
        check_number("blocks", self.blocks, 0, whole=True)
        if not len(self.bandwidths):
            raise InputError("`bandwidths` must hold one number or more, got none.")
        for bandwidth in self.bandwidths:
            check_number("bandwidths", bandwidth, 0, open_low=True)
        if x.ndim != 4 or len(x) < 2:
            raise InputError(
                f"`x` must be at least 2 images (N, C, H, W), got {tuple(x.shape)}; add the channels' axis."
            )
        if x.is_floating_point() and not (float(x.min()) >= 0 and float(x.max()) <= 1):
            raise InputError(
                f"`x` must hold pixels in [0, 1], got {float(x.min()):.3g} to {float(x.max()):.3g}; rescale."
            )
        if not x.is_floating_point() and x.dtype != torch.uint8:
            raise InputError(f"`x` must hold floating pixels in [0, 1] or bytes, got {x.dtype}.")

    def _network(self, device: torch.device) -> ConvolutionalAutoencoder:
        if self._module is None:
            shape = cast(tuple[int, int, int], tuple(self.shape_))
            with torch.random.fork_rng():  # its first weights are drawn, and then replaced
                self._module = ConvolutionalAutoencoder(shape, tuple(self.code_shape_), self.width, self.blocks)
            self._module.load_state_dict(self.weights_)
            self._module.to(memory_format=torch.channels_last)
        return self._module.to(device).eval()

    def _encode(self, x: Tensor) -> Tensor:
        return self._network(x.device).encode(x.float())[0]

    def _decode(self, z: Tensor) -> Tensor:
        return self._network(z.device).decode(z.float())

    def __getstate__(self) -> dict[str, Any]:
        # The weights tell all of the network, and it is made of them again.
        state = cast(dict[str, Any], super().__getstate__())
        return {name: value for name, value in state.items() if name != "_module"}


class VAETask(Task):
    """Eq. 7, 6 or 10 as a task of the loop."""

    def __init__(self, space: MMDVAE, module: ConvolutionalAutoencoder, x: Tensor, name: str = "") -> None:
        self.space, self.rows, self.latent, self.x, self.name = space, len(x), module.latent, x, name
        self.module: ConvolutionalAutoencoder = module
        self.least = 2 if space.divergence == "mmd" else 1  # the MMD is over pairs
        self.scored = torch.linspace(0, len(x) - 1, min(len(x), SCORED)).long()

    def identity(self) -> Mapping[str, Any]:
        """Return the space's parameters and what the images are; see `Task.identity`."""
        # A training may go on on another device.
        parameters = {name: value for name, value in self.space.get_params().items() if name != "device"}
        digest = hashlib.blake2b(self.x.cpu().numpy().tobytes(), digest_size=16)
        return {"images": digest.hexdigest(), "shape": list(self.x.shape), "space": parameters}

    def words(self) -> Mapping[str, str]:
        """Return what the images are; see `Task.words`."""
        size = " x ".join(map(str, self.x.shape[1:]))
        return {"images": f"{len(self.x)} of {self.name or 'unnamed images'}, {size}"}

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch, or of its worst points; see `Task.loss`."""
        x = _pixels(self.x[batch.index]).to(batch.device)
        shape = (len(x), *self.latent)
        # What a batch draws is drawn for all its processes.
        noise, prior = (torch.randn(shape, generator=batch.generator)[batch.part].to(x.device) for _ in range(2))
        start = (
            torch.rand(x.shape, generator=batch.generator)[batch.part].to(batch.device) if self.space.epsilon else None
        )
        x = x[batch.part]
        if start is not None:
            x = self._worst(x, noise, prior, start)
        return self._value(module, x, noise, prior)

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """Return the error of some images' reconstructions; see `Task.evaluate`."""
        network, device, total = self.module, next(self.module.parameters()).device, 0.0
        for rows in self.scored.split(ROWS):
            x = _pixels(self.x[rows]).to(device)
            total += float((network.decode(network.encode(x)[0]) - x).square().sum())
        return {"error": total / len(self.scored)}

    def _value(self, module: Any, x: Tensor, noise: Tensor, prior: Tensor) -> Tensor:
        space = self.space
        mean, log_variance, z, found = (part.float() for part in module(x, noise))
        error = (found - x).square().flatten(1).sum(1).mean()
        if space.divergence == "kl":
            distance = kl_to_standard_normal(mean, log_variance)
        else:
            distance = maximum_mean_discrepancy(z, prior, space.bandwidths)
        loss: Tensor = error / (2 * space.variance) + space.gamma * distance
        return loss

    def _worst(self, x: Tensor, noise: Tensor, prior: Tensor, start: Tensor) -> Tensor:
        """Return x* of Eq. 10: projected gradient ascent on the loss itself, from a random start."""
        epsilon, steps = self.space.epsilon, self.space.attack_steps
        low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
        worst = torch.lerp(low, high, start)
        self.module.eval()
        for _ in range(steps):
            worst.requires_grad_()
            value = self._value(self.module, worst, noise, prior)
            (gradient,) = torch.autograd.grad(value, worst)
            step = worst.detach() + 2.5 * epsilon / steps * gradient.sign()
            worst = torch.maximum(torch.minimum(step, high), low)
        self.module.train()
        return worst


def _pixels(x: Tensor) -> Tensor:
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()
