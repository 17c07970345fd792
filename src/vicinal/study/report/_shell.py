"""The page around a report: one file with style, script and plotly.js inside, held to itself by its content policy."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from vicinal.study.report._palette import THEMES
from vicinal.study.report._text import thousands

__all__ = ["fill"]

HERE = Path(__file__).parent


def fill(template: str, figures: Mapping[str, Any], **parts: Any) -> str:
    """Return the page that a template makes of its parts; each figure belongs to the element that has its name as id."""
    scripts = {"plotly": get_plotlyjs(), "ours": (HERE / "page.js").read_text(encoding="utf-8")}
    return (
        _environment()
        .get_template(template)
        .render(
            figures=figures,
            themes=THEMES,
            payload=_script_json({"figures": figures, "themes": THEMES}),
            scripts=scripts,
            hashes=" ".join(f"'sha256-{_digest(text)}'" for text in scripts.values()),
            **parts,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["thousands"] = thousands
    return environment


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _script_json(value: Any) -> str:
    """Return JSON that can stand inside a script element: no sign that HTML could take for markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
