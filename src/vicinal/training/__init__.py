"""Training many small networks at once as one tensor program, and choosing among them."""

from vicinal.training.fit import Fit, fit_stack
from vicinal.training.latent import LatentFit, fit_latent
from vicinal.training.problem import Group, Setting
from vicinal.training.progress import Progress
from vicinal.training.selection import checkpoint_epochs, choose, make_group, plainness, split_folds
from vicinal.training.stack import Optimizer

__all__ = [
    "Fit",
    "Group",
    "LatentFit",
    "Optimizer",
    "Progress",
    "Setting",
    "checkpoint_epochs",
    "choose",
    "fit_latent",
    "fit_stack",
    "make_group",
    "plainness",
    "split_folds",
]
