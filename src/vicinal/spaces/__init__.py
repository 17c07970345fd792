"""Spaces: where to mix instead of among pixels or columns: encode, mix the codes, decode."""

from vicinal.spaces.base import Identity, Reconstructed, Space
from vicinal.spaces.divergence import kl_to_standard_normal, maximum_mean_discrepancy
from vicinal.spaces.mmd_vae import MMDVAE
from vicinal.spaces.pca import PCA

__all__ = ["MMDVAE", "PCA", "Identity", "Reconstructed", "Space", "kl_to_standard_normal", "maximum_mean_discrepancy"]
