"""Log loss and hits of many replicas at once, from their logits.

After every epoch all held-out rows are scored under all replicas, so this costs as much as the training if done the obvious
way: torch takes much longer for an argmax over a few classes than for their maximum.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["score_logits"]

LEAST = -80.0
"""Below -87 exp is no normal number in single precision, and takes far longer."""


def score_logits(logits: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of log loss (in nats) and of hits over rows.

    A class that ties with another is a hit only where argmax would take it: before the other.

    Args:
        logits: (S, V, K, R) for S streams of R replicas.
        label: (S, V) class indices.
        weight: (S, V).

    Returns:
        Log losses (S, R) and hits (S, R).

    Examples:
        >>> logits = torch.tensor([2.0, 2.0, 0.0]).log().view(1, 1, 3, 1).expand(1, 2, 3, 1)     # a tie of classes 0 and 1
        >>> losses, hits = score_logits(logits, torch.tensor([[0, 1]]), torch.tensor([[1.0, 10.0]]))
        >>> round(losses.exp().item()), hits.item()                                              # 2^11 and the first row
        (2048, 1.0)
    """
    if logits.shape[2] == 2:
        margin, own = logits[:, :, 1] - logits[:, :, 0], label[..., None] == 1
        loss = softplus(torch.where(own, -margin, margin).clamp_(min=LEAST))
        hit = (margin > 0) == own
    else:
        at_label = logits.gather(2, label[:, :, None, None].expand(-1, -1, 1, logits.shape[3]))[:, :, 0]
        best = logits.amax(2, keepdim=True)
        loss = (logits - best).clamp_(min=LEAST).exp_().sum(2).log_().add_(best[:, :, 0]).sub_(at_label)
        hit = at_label == best[:, :, 0]
        top = logits == best
        if int(top.count_nonzero()) != best.numel():
            s, v, r = (hit & (top.sum(2) > 1)).nonzero(as_tuple=True)
            hit[s, v, r] = logits[s, v, :, r].argmax(1) == label[s, v]
    return (loss * weight[..., None]).sum(1), (hit * weight[..., None]).sum(1)
