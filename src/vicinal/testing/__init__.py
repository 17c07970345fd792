"""Contracts: what every part promises, as functions that the author of a new part calls in a test.

    from vicinal.testing import check_density

    def test_my_density():
        check_density(MyDensity())

Each is a plain function of assertions with fixed seeds; it needs no test framework and takes a second or two.
"""

from vicinal.testing.components import check_component
from vicinal.testing.densities import check_density
from vicinal.testing.labelers import check_labeler
from vicinal.testing.mixing import check_mixer, check_pairing, check_ratio
from vicinal.testing.spaces import check_space
from vicinal.testing.vicinities import check_vicinity

__all__ = [
    "check_component",
    "check_density",
    "check_labeler",
    "check_mixer",
    "check_pairing",
    "check_ratio",
    "check_space",
    "check_vicinity",
]
