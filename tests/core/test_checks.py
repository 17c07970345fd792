"""What the checks let through, and what they say of the rest."""

import numpy as np
import pytest
import torch

from vicinal.core import InputError, check_device, check_features, check_in, check_labels, check_number, require


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.int64(1)])
def test_numbers_pass(value: object) -> None:
    check_number("gamma", value, 0, 1)


@pytest.mark.parametrize(
    ("value", "options", "error", "message"),
    [
        (1.3, {"low": 0, "high": 1}, InputError, r"`v` must lie in \[0, 1\], got 1.3\."),
        (0, {"low": 0, "open_low": True}, InputError, r"`v` must lie in \(0, inf\), got 0\."),
        (float("nan"), {"low": 0, "high": 1}, InputError, r"`v` must lie in \[0, 1\], got nan\."),
        (-1, {"low": 0}, InputError, r"`v` must lie in \[0, inf\), got -1\."),
        (True, {}, TypeError, "`v` must be a number, got True"),
        ("0.5", {}, TypeError, "`v` must be a number, got '0.5'"),
        (2.0, {"whole": True}, TypeError, "`v` must be an integer, got 2.0"),
    ],
)
def test_other_numbers_do_not(value: object, options: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_number("v", value, **options)


def test_options() -> None:
    check_in("prior", "flat", ("flat", "steep"))
    with pytest.raises(InputError, match="`prior` must be one of 'flat', 'steep', got 'round'"):
        check_in("prior", "round", ("flat", "steep"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_keep_a_floating_dtype(dtype: torch.dtype) -> None:
    assert check_features(torch.ones(2, 3, dtype=dtype)).dtype == dtype


def test_features_of_numpy_keep_double_precision() -> None:
    assert check_features(np.array([[0.1, 0.2]])).dtype == torch.float64


@pytest.mark.parametrize("large", [2**24 + 1, 1_700_000_001])
def test_large_whole_numbers_keep_their_digits(large: int) -> None:
    """Time stamps: single precision would merge neighbours."""
    for given in (np.array([[large - 1], [large]]), torch.tensor([[large - 1], [large]])):
        x = check_features(given)
        assert float(x[1, 0]) == large
        assert float(x[0, 0]) == large - 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_must_be_finite(bad: float, dtype: torch.dtype) -> None:
    with pytest.raises(
        InputError, match=r"`x` must be finite and below 1e[+]30 in magnitude, got NaN or infinite values"
    ):
        check_features(torch.tensor([[0.0], [bad]], dtype=dtype))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1e31]], InputError, "got values up to 1e[+]31; impute or rescale"),
        ([["a"]], TypeError, "`x` must be numeric, got .*<U1; encode text first"),
        ([1.0, 2.0], InputError, r"shape \(N, ...\), got \(2,\)"),
        (np.empty((0, 3)), InputError, r"at least one row and one feature.*got \(0, 3\)"),
        (np.empty((3, 0)), InputError, r"got \(3, 0\)"),
    ],
)
def test_features_refused(x: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_features(x)


@pytest.mark.parametrize("y", [[0, 2, 1], np.array([0.0, 2.0, 1.0]), torch.tensor([0.0, 2.0, 1.0])])
def test_labels(y: object) -> None:
    labels, k = check_labels(y)
    assert labels.tolist() == [0, 2, 1]
    assert labels.dtype == torch.int64
    assert k == 3
    assert check_labels(y, 5)[1] == 5


@pytest.mark.parametrize(
    ("y", "options", "error", "message"),
    [
        (["cat"], {}, TypeError, "`y` must hold class indices 0..K-1, got dtype <U3; encode text with scikit-learn"),
        ([0.5, 1.0], {}, TypeError, "`y` must hold class indices"),
        (torch.tensor([0.5, 1.0]), {}, TypeError, "`y` must hold class indices.*not whole"),
        (torch.tensor([0.0, torch.nan]), {}, TypeError, "`y` must hold class indices"),
        ([[0], [1]], {}, InputError, r"one class index per row, shape \(N,\), got \(2, 1\)"),
        ([0, 1], {"rows": 3}, InputError, "as many rows as `x`, got 2 and 3"),
        ([0, 3], {"n_classes": 3}, InputError, "`y` must lie in 0..2, got 0..3"),
        ([-1, 1], {}, InputError, "`y` must lie in 0..1, got -1..1"),
    ],
)
def test_labels_refused(y: object, options: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_labels(y, **options)


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_devices(device: str) -> None:
    assert check_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=f"`device` must be one that torch can use here, got '{device}'; 'cpu' always"):
        check_device(device)


def test_a_missing_extra_names_the_command() -> None:
    with pytest.raises(ImportError, match=r"`no_such_module` is not installed; .*pip install 'vicinal\[flows\]'"):
        require("no_such_module", extra="flows")
