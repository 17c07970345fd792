"""Families: methods that share candidates are trained together, each candidate once."""

from collections.abc import Sequence

from vicinal.study.methods import Method
from vicinal.study.protocol import Protocol

__all__ = ["method_families"]


def method_families(methods: Sequence[Method], protocol: Protocol) -> list[list[Method]]:
    """Group methods that share candidates; a study's unit of work is a data set and such a family.

    Args:
        methods: from `read_methods`.
        protocol: what their candidates are under.

    Returns:
        The families, ordered by their first method; methods in the order given.

    Examples:
        >>> from vicinal.study.methods import read_methods
        >>> from vicinal.study.protocol import read_protocol
        >>> found = method_families(read_methods("genlabel-kde,vanilla,genlabel,genlabel-gaussian"), read_protocol("paper"))
        >>> [[method.name for method in family] for family in found]
        [['genlabel-kde', 'genlabel', 'genlabel-gaussian'], ['vanilla']]
    """
    families: list[tuple[list[Method], set[tuple[str | None, ...]]]] = []
    for method in methods:
        keys = {candidate.key() for candidate in method.candidates(protocol)} if method.candidates else set()
        shared = [family for family in families if family[1] & keys]
        rest = [family for family in families if family not in shared]
        joined = [m for members, _ in shared for m in members] + [method]
        families = [*rest, (joined, keys.union(*(k for _, k in shared)))]
    order = {method.name: i for i, method in enumerate(methods)}
    sorted_members = [sorted(members, key=lambda m: order[m.name]) for members, _ in families]
    return sorted(sorted_members, key=lambda members: order[members[0].name])
