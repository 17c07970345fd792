"""Training many small networks at once as one tensor program."""

from vicinal.training.fit import Fit, fit_stack
from vicinal.training.latent import fit_latent
from vicinal.training.problem import Group, Setting
from vicinal.training.progress import Progress
from vicinal.training.selection import choose, cross_validate

__all__ = ["Fit", "Group", "Progress", "Setting", "choose", "cross_validate", "fit_latent", "fit_stack"]
