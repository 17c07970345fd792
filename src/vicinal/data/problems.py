"""The six synthetic problems of GenLabel's section E.1, with the paper's numbers."""

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import Final

import numpy as np

from vicinal.data.arcs import Arc, NoisyArcs
from vicinal.data.synthetic import Cubes, Gaussians, Synthetic

__all__ = ["SYNTHETIC"]

_OUTER, _INNER = 1.0, 0.8

SYNTHETIC: Final[Mapping[str, Synthetic]] = MappingProxyType(
    {
        problem.name: problem
        for problem in (
            NoisyArcs(
                name="moon",
                train_per_class=500,
                test_per_class=500,
                arcs=((Arc(stop=np.pi),), (Arc((1.0, 0.5), start=np.pi),)),
                scale=0.1,
            ),
            NoisyArcs(
                name="circle",
                train_per_class=500,
                test_per_class=500,
                arcs=((Arc(radius=_OUTER),), (Arc(radius=_INNER),)),
                scale=0.02,
            ),
            # The paper shifts the second circle "to the right"; its authors' code puts the centres at -1.2 and 1.2.
            NoisyArcs(
                name="four-circle",
                train_per_class=1000,
                test_per_class=1000,
                arcs=(
                    (Arc((-1.2, 0.0), _OUTER), Arc((1.2, 0.0), _INNER)),
                    (Arc((-1.2, 0.0), _INNER), Arc((1.2, 0.0), _OUTER)),
                ),
                scale=0.01,
            ),
            Cubes(name="cube2d", train_per_class=20, test_per_class=10_000, centers=((-1.0, 0.0), (1.0, 0.0))),
            Cubes(
                name="cube3d",
                train_per_class=20,
                test_per_class=10_000,
                centers=tuple(product((-1.0, 1.0), repeat=3)),
            ),
            # The paper names no test rows here; as many as for training.
            Gaussians(
                name="9-gaussians",
                train_per_class=5000,
                test_per_class=5000,
                means=tuple(product((-10.0, 0.0, 10.0), repeat=2)),
                variance=0.1,
            ),
        )
    }
)
"""The problems of section E.1 by name.

The paper draws 1000 rows for moon and for circle, and 1000 for each circle pair of four-circle: 500, 500 and 1000 per
class. The circle pairs of four-circle have their centres at (-1.2, 0) and (1.2, 0), so that a gap of 0.4 lies between
them.
"""
