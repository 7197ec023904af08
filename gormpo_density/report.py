"""One self-contained HTML page about a run: numbers, tables, figures, configuration.

It needs no network and no scripts: figures are part of the file, and the page's own security
policy forbids loading anything.
"""

import base64
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from matplotlib.figure import Figure

from gormpo_density.atomic import replacing

NO_VALUE = "\N{EN DASH}"

_MAX_SVG_BYTES = 500_000
_PIXELS_PER_INCH = 96  # of CSS


@dataclass(frozen=True)
class Table:
    """A table of a report; text stands left, numbers right.

    Attributes:
        caption: What it shows.
        columns: Heading of each column.
        rows: One value for each column; a value may be text, a number, or None.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def ood_levels(metrics: Mapping[str, object]) -> dict[str, dict[str, float]]:
    """Return {level: {"roc_auc": ..., ...}} from the flat "ood.<level>.<metric>" of metrics.json.

    A level may have dots in its name; what was not a number in JSON is nan.
    """
    levels: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        if key.startswith("ood."):
            level, _, metric = key.removeprefix("ood.").rpartition(".")
            number = float(value) if isinstance(value, numbers.Real) else math.nan
            levels.setdefault(level, {})[metric] = number
    return levels


def ood_table(levels: Mapping[str, Mapping[str, float]], anomaly_share: float = math.nan) -> Table:
    """Return detection by level, beside what trivial scores reach.

    Args:
        levels: roc_auc, pr_auc and fpr95 by level.
        anomaly_share: Share of anomalies among the scored rows, which is what trivial scores
            reach in AUPR; nan when it differs between levels.
    """
    rows: list[Sequence[object]] = [
        (level, *(metrics.get(key, math.nan) for key in ("roc_auc", "pr_auc", "fpr95")))
        for level, metrics in levels.items()
    ]
    trivial = [
        ("(random score)", 0.5, anomaly_share, 0.95),
        ("(constant score)", 0.5, anomaly_share, 1.0),
    ]
    caption = (
        "Detection of out-of-distribution rows (AUROC and AUPR: higher is better; FPR95: lower)"
    )
    return Table(caption, ("set", "AUROC", "AUPR", "FPR95"), [*rows, *trivial])


def format_value(value: object) -> str:
    """Return a value as it is shown: numbers rounded, what is not a number as an en dash."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    number = float(value)
    if math.isnan(number):
        return NO_VALUE
    size = abs(number)
    if math.isinf(number) or size >= 1e6 or 0 < size < 5e-4:
        return f"{number:.3g}"
    return f"{number:,.1f}" if size >= 1000 else f"{number:.3f}"


def text_table(table: Table) -> str:
    """Return a table for a terminal, without its caption: the first column left, others right."""
    rows = [table.columns, *([format_value(value) for value in row] for row in table.rows)]
    padded = []
    for place, cells in enumerate(zip(*rows, strict=True)):
        width = max(map(len, cells))
        padded.append([cell.rjust(width) if place else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def write_report(
    path: str | Path,
    *,
    title: str,
    summary: Sequence[tuple[str, object]],
    config_text: str,
    metrics: Mapping[str, object],
    tables: Sequence[Table] = (),
    figures: Sequence[tuple[str, Figure]] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write a report, whole or not at all.

    Args:
        path: The HTML file.
        title: Heading of the page.
        summary: The few numbers that matter, with their labels.
        config_text: The resolved configuration.
        metrics: All metrics by name; shown folded up.
        tables: Tables in order.
        figures: Captions and figures in order.
        notes: What a reader must know, for instance that data was substituted.
    """
    all_metrics = Table("metrics.json", ("metric", "value"), list(metrics.items()))
    page = _PAGE.substitute(
        title=escape(title),
        summary="".join(_summary_item(*item) for item in summary),
        notes=_block("Notes", "".join(f"<li>{escape(note)}</li>" for note in notes), "ul"),
        tables=_block("Results", "".join(map(_table, tables))),
        figures=_block("Figures", "".join(_figure(*pair) for pair in figures)),
        metrics=_table(all_metrics),
        config=escape(config_text),
    )
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _block(heading: str, content: str, tag: str = "div") -> str:
    """Return a section of the page, or nothing when it would be empty."""
    name = heading.lower()
    return f'<h2>{heading}</h2>\n<{tag} class="{name}">{content}</{tag}>\n' if content else ""


def _summary_item(label: str, value: object) -> str:
    return f"<div><dt>{escape(label)}</dt><dd>{escape(format_value(value))}</dd></div>\n"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"


def _cell(value: object) -> str:
    kind = ' class="text"' if isinstance(value, str) else ""
    return f"<td{kind}>{escape(format_value(value))}</td>"


def _figure(caption: str, figure: Figure) -> str:
    width = round(figure.get_figwidth() * _PIXELS_PER_INCH)
    text = escape(caption)
    image = f'<img src="{_data_uri(figure)}" alt="{text}" width="{width}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>\n"


def _data_uri(figure: Figure) -> str:
    """Return the figure as SVG, or as PNG where that would be large."""
    kind, image = "svg+xml", _rendered(figure, "svg")
    if len(image) > _MAX_SVG_BYTES:
        kind, image = "png", _rendered(figure, "png")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _rendered(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form)
    return buffer.getvalue()


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; border-bottom: 1px solid #ddd; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.7rem;
  margin: 0; }
dl div { padding: 0.6rem 0.8rem; background: #f4f6f8; border-radius: 6px; }
dt { color: #555; font-size: 0.85rem; }
dd { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
.notes { padding-left: 1.2rem; }
.results { display: flex; flex-wrap: wrap; gap: 1.5rem 3rem; align-items: flex-start; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: 0.4rem; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td.text { text-align: left; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-end; }
figure { margin: 0; max-width: 100%; break-inside: avoid; }
img { max-width: 100%; height: auto; display: block; }
figcaption { color: #555; font-size: 0.9rem; }
details { margin-top: 0.8rem; }
summary { cursor: pointer; }
pre { padding: 0.8rem; background: #f4f6f8; overflow-x: auto; white-space: pre-wrap; }
@media print {
  body { margin: 0; max-width: none; font-size: 11px; }
  details::details-content { content-visibility: visible; height: auto; }
  tr { break-inside: avoid; }
}
</style>
</head>
<body>
<h1>$title</h1>
<dl>
$summary</dl>
$notes$tables$figures<h2>Details</h2>
<details><summary>All metrics</summary>
$metrics</details>
<details><summary>Configuration</summary>
<pre>$config</pre></details>
</body>
</html>
""")
