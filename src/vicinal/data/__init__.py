"""Where data comes from: tables with their labels, the same as numbers, and synthetic problems with a known answer.

`load_table` reads a table, `Vectorizer` turns its columns into finite numbers, and `SYNTHETIC` holds problems whose
p(y|x) is known exactly.

Examples:
    >>> from vicinal.data import Vectorizer, load_table
    >>> table = load_table("wine")
    >>> Vectorizer().fit_transform(table.features).shape
    (178, 13)
"""

from vicinal.data.arcs import Arc, NoisyArcs
from vicinal.data.problems import SYNTHETIC
from vicinal.data.synthetic import Cubes, Gaussians, Synthetic
from vicinal.data.tables import Table, bundled_tables, load_table
from vicinal.data.vectorise import Vectorizer

__all__ = [
    "SYNTHETIC",
    "Arc",
    "Cubes",
    "Gaussians",
    "NoisyArcs",
    "Synthetic",
    "Table",
    "Vectorizer",
    "bundled_tables",
    "load_table",
]
