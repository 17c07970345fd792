"""Adversarial attacks: foolbox's and AutoAttack's, re-checked, on any features, for many networks at once.

An attack looks for a point near a correctly classified row that the network takes for another class. What the libraries
report is not taken on trust: `Attack` evaluates every point again. They are imported when an attack runs; they come with
`pip install 'vicinal[attacks]'`.
"""

from vicinal.evaluation.attacks.auto import AutoAttack
from vicinal.evaluation.attacks.base import Attack, AttackResult, Finding
from vicinal.evaluation.attacks.boundary import BoundaryAttack
from vicinal.evaluation.attacks.gradient import PGD
from vicinal.evaluation.attacks.target import Target

__all__ = ["PGD", "Attack", "AttackResult", "AutoAttack", "BoundaryAttack", "Finding", "Target"]
