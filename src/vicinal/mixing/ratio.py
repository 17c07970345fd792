"""How much: the share lam in [0, 1] that the first endpoint keeps."""

from abc import abstractmethod

import torch
from torch import Tensor

from vicinal.core import Component, check_in, check_number, draw_uniform, working_dtype

__all__ = ["Beta", "Fixed", "Ratio"]


class Ratio(Component):
    """Abstract ratio."""

    @abstractmethod
    def draw(self, batch_shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw lam of shape `batch_shape` (..., B), on the device and in the dtype of `like`."""


class Beta(Ratio):
    """lam ~ Beta(alpha, alpha) (Zhang et al., 2018).

    Args:
        alpha: above 0. 1 is uniform; small values stay near the endpoints.
        per: 'batch' draws one lam for all rows of a batch (the published code of mixup), 'sample' one for every row.

    Examples:
        >>> lam = Beta(1.0).draw((8,), torch.empty(0), torch.Generator())
        >>> bool((lam == lam[0]).all()), bool(0 <= lam[0] <= 1)
        (True, True)
    """

    def __init__(self, alpha: float = 1.0, per: str = "batch") -> None:
        self.alpha = alpha
        self.per = per

    def draw(self, batch_shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw lam; see `Ratio.draw`."""
        check_number("alpha", self.alpha, 0, open_low=True)
        check_in("per", self.per, ("batch", "sample"))
        shape = batch_shape if self.per == "sample" else (*batch_shape[:-1], 1)
        if self.alpha == 1:
            lam = draw_uniform(shape, like, generator)
        else:
            # Beta(a, a) = G / (G + G'), and G ~ Gamma(a) = Gamma(a + 1) U^(1/a), in logs, for small alpha underflows.
            device = like.device if generator is None else torch.device("cpu")
            pair, dtype = (2, *shape), working_dtype(device)
            gamma = torch._standard_gamma(torch.full(pair, self.alpha + 1.0, dtype=dtype, device=device), generator)
            log_u = torch.rand(pair, generator=generator, dtype=dtype, device=device).log()
            log_gamma = gamma.log() + log_u.clamp(min=-1e3) / self.alpha
            lam = torch.sigmoid(log_gamma[0] - log_gamma[1]).to(like.device)
        return lam.to(like.dtype).expand(batch_shape)


class Fixed(Ratio):
    """The same lam always.

    Args:
        lam: in [0, 1].

    Examples:
        >>> Fixed(0.6).draw((2,), torch.empty(0), None).tolist() == [0.6000000238418579] * 2
        True
    """

    def __init__(self, lam: float = 0.5) -> None:
        self.lam = lam

    def draw(self, batch_shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return lam; see `Ratio.draw`."""
        check_number("lam", self.lam, 0, 1)
        return torch.full(batch_shape, float(self.lam), dtype=like.dtype, device=like.device)
