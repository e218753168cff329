"""Estimators in notebooks: a diagram of their steps in plain HTML, without scripts."""

from __future__ import annotations

import html
from typing import Any

_STYLE = (
    "<style>.corten{font:13px system-ui,sans-serif;color:inherit}.corten details,.corten .leaf{border:1px solid #b7410e;"
    "border-radius:5px;margin:3px;padding:3px 8px;display:inline-block;vertical-align:top;text-align:left}"
    ".corten summary{cursor:pointer;font-weight:600}.corten .row{display:flex;flex-wrap:wrap}"
    ".corten td{padding:0 10px 0 0;text-align:left}.corten .note{opacity:.7}</style>"
)


def diagram(estimator: Any) -> str:
    """The HTML of an estimator and everything inside it."""
    state = "fitted" if getattr(estimator, "_model", None) is not None else "not fitted"
    return (
        f'{_STYLE}<div class="corten"><pre style="display:none">{html.escape(repr(estimator))}</pre>'
        f'{_block(None, estimator)}<div class="note">{state}</div></div>'
    )


def _block(label: str | None, estimator: Any) -> str:
    name = html.escape(type(estimator).__name__ if not isinstance(estimator, str) else estimator)
    title = f"{html.escape(label)}: {name}" if label else name
    parts = _parts(estimator)
    if parts is None:
        rows = _parameters(estimator)
        if not rows:
            return f'<div class="leaf">{title}</div>'
        return f"<details><summary>{title}</summary><table>{rows}</table></details>"
    direction, inner = parts
    blocks = "".join(_block(text, part) for text, part in inner)
    css = "row" if direction == "side" else "column"
    return f'<details open><summary>{title}</summary><div class="{css}">{blocks}</div></details>'


def _parts(estimator: Any) -> tuple[str, list[tuple[str, Any]]] | None:
    if hasattr(estimator, "steps"):
        return "down", [(n, e) for n, e in estimator.steps]
    if hasattr(estimator, "transformers"):
        return "side", [(f"{n} {_columns(c)}", e) for n, e, c in estimator.transformers]
    return None


def _columns(columns: Any) -> str:
    text = repr(columns)
    return text if len(text) <= 60 else text[:57] + "..."


def _parameters(estimator: Any) -> str:
    if not hasattr(estimator, "get_params"):
        return ""
    changed: dict[str, Any] = getattr(estimator, "_changed", dict)()
    return "".join(
        f"<tr><td>{'<b>' if k in changed else ''}{html.escape(k)}{'</b>' if k in changed else ''}</td>"
        f"<td>{html.escape(repr(v)[:80])}</td></tr>"
        for k, v in estimator.get_params(deep=False).items()
    )
