"""Evaluation: how good and how honest predicted probabilities are, under corruption too, and whether a difference means anything.

Names are imported when they are used: what reads records asks for scores without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
