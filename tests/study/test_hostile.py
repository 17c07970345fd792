"""Whatever a table holds: a clear error in one line, or finite probabilities, and nothing injected."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vicinal.core import InputError
from vicinal.study.compare import compare
from vicinal.study.methods import read_methods
from vicinal.study.protocol import Protocol
from vicinal.study.report import render
from vicinal.study.summary import summarize
from vicinal.study.trials import read_problem

NAMES = [
    "a",
    "<script>x()</script>",
    "\x1b[31m",
    "../../etc/passwd",
    "C:\\con",
    "",
    "naïve ✓",
    "target",
    "a'b\"c",
    "\x00",
]
LABELS = ["yes", "no", "<img src=x onerror=x()>", "\x1b]0;t\x07", "../up", "nan", "1", "1.0", "", "\u202egnp.exe"]

PROTOCOL = Protocol(
    "tuned", "linear", (), (0.1,), (1.0,), max_epochs=5, points=2, folds=2, scoring="log_loss", scale=True
)


def column(kind: str, n: int, rng: np.random.Generator) -> list[object] | np.ndarray:
    normal = rng.normal(size=n)
    return {
        "normal": normal,
        "gaps": np.where(rng.random(n) < 0.4, np.nan, normal),
        "infinite": np.where(rng.random(n) < 0.1, np.inf, normal),
        "huge": np.where(np.arange(n) == 0, 1e300, normal),
        "large": normal * 1e29,
        "tiny": normal * 1e-200,
        "constant": np.ones(n),
        "empty": np.full(n, np.nan),
        "text": rng.choice(["x", "y", "<b>", None], n),
        "words": np.array([f"w{i}" for i in range(n)]),
        "bool": rng.random(n) < 0.5,
        "date": pd.date_range("2020-01-01", periods=n).to_numpy(),
        "mixed": [1 if i % 2 else "one" for i in range(n)],
        "whole": rng.integers(-(2**60), 2**60, n),
    }[kind]


KINDS = sorted(
    [
        "normal",
        "gaps",
        "infinite",
        "huge",
        "large",
        "tiny",
        "constant",
        "empty",
        "text",
        "words",
        "bool",
        "date",
        "mixed",
        "whole",
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([0, 1, 2, 6, 9, 20, 60]))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=0, max_size=5))
    frame = pd.DataFrame({i: column(kind, n, rng) for i, kind in enumerate(kinds)}, index=range(n))
    if draw(st.booleans()) and kinds:
        frame = pd.concat([frame, frame.iloc[:, :1]], axis=1)
    frame.columns = [draw(st.sampled_from(NAMES)) for _ in frame.columns]
    classes = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=6, unique=True))
    if draw(st.booleans()):
        labels = [classes[i % len(classes)] for i in range(n)]
    else:
        labels = [f"class {i}" for i in range(n)]
    frame["the class"] = labels
    return frame


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(tables())
def test_a_clear_error_or_finite_numbers(frame):
    try:
        problem = read_problem(frame, "the class")
        result = compare(
            problem,
            read_methods("vanilla,mixup-excluding-intrusion,genlabel,generative-classifier"),
            PROTOCOL,
            trials=1,
        )
    except InputError as error:
        message = str(error)
        assert len(message) > 15
        assert "\n" not in message
        assert message.isprintable()
        return
    summary = json.loads(json.dumps(summarize(result), allow_nan=False))
    page = render(summary)
    for poison in ("<img src=x", "<script>x()", "\x1b", "\u202e"):
        assert poison not in page
    for outcome in result.outcomes.values():
        for p in outcome.probabilities:
            assert np.isfinite(p).all()
            np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
