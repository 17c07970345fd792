"""Networks: the classifiers that vicinal trains."""

from vicinal.networks.mlp import MLP

__all__ = ["MLP"]
