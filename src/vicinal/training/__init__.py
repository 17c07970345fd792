"""Training many small networks at once as one tensor program, and choosing among them."""

from vicinal.training.ensemble import predict_ensemble, select_ensemble
from vicinal.training.fit import fit_stack
from vicinal.training.latent import LatentFit, fit_latent
from vicinal.training.objectives import AdaMixup, ManifoldMixup, Objective
from vicinal.training.optimizer import Optimizer
from vicinal.training.perceptrons import Perceptrons
from vicinal.training.problem import Group, Latent, Setting
from vicinal.training.progress import Progress
from vicinal.training.result import Fit
from vicinal.training.selection import checkpoint_epochs, choose, make_group, plainness, split_folds

__all__ = [
    "AdaMixup",
    "Fit",
    "Group",
    "Latent",
    "LatentFit",
    "ManifoldMixup",
    "Objective",
    "Optimizer",
    "Perceptrons",
    "Progress",
    "Setting",
    "checkpoint_epochs",
    "choose",
    "fit_latent",
    "fit_stack",
    "make_group",
    "plainness",
    "predict_ensemble",
    "select_ensemble",
    "split_folds",
]
