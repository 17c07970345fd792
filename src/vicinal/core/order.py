"""The order of random keys: what shuffles rows and draws permutations, thousands of times a training."""

import torch
from torch import Tensor

__all__ = ["order_of"]


def order_of(keys: Tensor) -> Tensor:
    """Return the indices that sort keys along the last axis, equal keys by their index.

    On the CPU numpy sorts whole numbers with vector instructions, much faster than torch sorts keys and indices:
    the bits of a number >= 0 sort as the number does, and its index fits in below them.

    Args:
        keys: (..., B) in single precision, none negative.

    Returns:
        (..., B) indices.

    Examples:
        >>> order_of(torch.tensor([0.5, 0.0, 0.25, 0.0])).tolist()
        [1, 3, 2, 0]
    """
    if keys.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.argsort(keys, dim=-1, stable=True)
    packed = keys.contiguous().view(torch.int32).to(torch.int64) << 32 | torch.arange(keys.shape[-1])
    packed.numpy().sort(-1)
    return packed & 0xFFFFFFFF
