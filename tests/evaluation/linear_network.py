"""A problem whose adversarial distances are known: a linear network."""

import torch

from vicinal.networks import MLP

__all__ = ["BOX", "margin", "problem"]

BOX = (-5.0, 5.0)
"""Bounds that no attack of these tests reaches."""


def problem(k: int, d: int = 3, rows: int = 40, seed: int = 0) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    """A linear network and rows, every fifth of them misclassified."""
    generator = torch.Generator().manual_seed(seed)
    network = MLP.from_parameters([torch.randn(k, d, generator=generator), torch.randn(k, generator=generator) / 4])
    x = 2 * torch.rand(rows, d, generator=generator) - 1
    y = network(x).argmax(1)
    y[::5] = (y[::5] + 1) % k
    return network, x, y


def margin(network: MLP, x: torch.Tensor, y: torch.Tensor, norm: str) -> torch.Tensor:
    """The distance from each row to the nearest other class: |difference of logits| / dual norm; 0 for misclassified rows."""
    layer, z = network.layers[0], network(x)
    gap = z.gather(1, y[:, None]) - z
    dual = torch.linalg.vector_norm(layer.weight[y][:, None] - layer.weight[None], 2 if norm == "l2" else 1, dim=2)
    distance = (gap / dual).scatter(1, y[:, None], torch.inf).amin(1)
    return distance.clamp_min(0).double()
