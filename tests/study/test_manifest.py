"""What makes a study another one is said entry by entry."""

from typing import Any

import pytest

from vicinal.core.checks import InputError
from vicinal.study.manifest import join_manifests

BASE: dict[str, Any] = {
    "kind": "images",
    "network": "small-resnet",
    "trials": 3,
    "options": {"network": "small-resnet", "epochs": 15, "augmented": False, "vae": {"epochs": 30, "width": 32}},
    "planned": [],
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 3}, "epochs: 15 there, 3 asked"),
        ({"vae": {"epochs": 1, "width": 32}}, "vae.epochs: 30 there, 1 asked"),
        ({"vae": None}, "vae.epochs: 30 there, the default asked; vae.width: 32 there, the default asked"),
        ({"vae": {}}, "vae.epochs: 30 there, the default asked; vae.width: 32 there, the default asked"),
        ({"augmented": None}, "augmented: false there, the default asked"),
        ({"severities": [1]}, "severities: the default there, [1] asked"),
        ({"manifold": {}}, "manifold: the default there, {} asked"),
        ({"schedule": "cosine", "epochs": 3}, "epochs: 15 there, 3 asked; schedule: the default there, cosine asked"),
    ],
)
def test_only_what_differs_is_named(changes: dict[str, Any], said: str) -> None:
    options = {name: value for name, value in {**BASE["options"], **changes}.items() if value is not None}
    with pytest.raises(InputError) as refused:
        join_manifests(BASE, BASE | {"options": options}, "studies/mine")
    assert str(refused.value) == f"studies/mine holds another study ({said}); choose another with --out."


def test_what_stands_in_two_places_is_said_once() -> None:
    other = BASE | {"network": "lenet-5", "options": BASE["options"] | {"network": "lenet-5"}}
    with pytest.raises(InputError, match=r"study \(network: small-resnet there, lenet-5 asked\);"):
        join_manifests(BASE, other)


def test_the_same_study_is_joined() -> None:
    assert join_manifests(BASE, {**BASE, "options": dict(BASE["options"])})["trials"] == 3
