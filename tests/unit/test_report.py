import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from gormpo_density import report
from gormpo_density.report import (
    Table,
    format_value,
    ood_levels,
    ood_table,
    text_table,
    write_report,
)

VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a browser would see: text by tag, attributes by tag; tags must be balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)


def figure() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    return figure


def write(path: Path, **changes) -> Page:
    content = {
        "title": "run",
        "summary": [("test NLL [nats]", 1.23456)],
        "config_text": "seed: 0\n",
        "metrics": {"seconds": 2.0},
    }
    write_report(path, **{**content, **changes})
    return Page(path)


def test_a_report_shows_all_that_it_was_given(tmp_path):
    page = write(
        tmp_path / "deep" / "report.html",
        tables=[Table("by split", ("split", "rows", "score"), [("test", 12345, math.nan)])],
        figures=[("loss by epoch", figure())],
        notes=["the embedded set was used"],
    )
    assert page.text["h1"] == ["run"]
    assert page.text["dt"] == ["test NLL [nats]"]
    assert page.text["dd"] == ["1.235"]
    assert page.text["li"] == ["the embedded set was used"]
    assert page.text["td"] == ["test", "12,345", "\N{EN DASH}", "seconds", "2.000"]
    assert page.text["figcaption"] == ["loss by epoch"]
    assert page.text["pre"] == ["seed: 0\n"]


def test_a_report_without_extras_has_no_empty_sections(tmp_path):
    page = write(tmp_path / "report.html")
    assert page.text["h2"] == ["Details"]
    assert "img" not in page.attributes


def test_a_report_loads_nothing_and_runs_nothing(tmp_path):
    page = write(tmp_path / "report.html", figures=[("a", figure())])
    assert not {"script", "link", "iframe"} & set(page.attributes)
    assert re.search(r"https?://|url\(|@import", page.source) is None
    assert all(image["src"].startswith("data:image/") for image in page.attributes["img"])


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"'&<b>", "$title ${x} $$"])
def test_all_text_is_shown_as_it_is(tmp_path, text):
    page = write(
        tmp_path / "report.html",
        title=text,
        summary=[(text, text)],
        config_text=text,
        metrics={text: text},
        tables=[Table(text, [text], [[text]])],
        figures=[(text, figure())],
        notes=[text],
    )
    for tag in ("title", "h1", "dt", "dd", "li", "pre", "figcaption"):
        assert "".join(page.text[tag]) == text
    assert page.text["td"] == [text] * 3
    assert page.attributes["img"][0]["alt"] == text
    assert "script" not in page.attributes


@pytest.mark.parametrize(
    ("limit", "kind", "start"),
    [(10**9, "svg+xml", b"<?xml"), (10, "png", b"\x89PNG")],
)
def test_figures_are_svg_unless_that_is_large(tmp_path, monkeypatch, limit, kind, start):
    monkeypatch.setattr(report, "_MAX_SVG_BYTES", limit)
    page = write(tmp_path / "report.html", figures=[("a", figure())])
    (image,) = page.attributes["img"]
    head, _, content = image["src"].partition(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(content).startswith(start)
    assert image["width"] == "192"


def test_a_report_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    write(path, title="old")
    with pytest.raises(AttributeError):
        write(path, title="new", figures=[("not a figure", None)])
    assert Page(path).text["h1"] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.94871, "0.949"),
        (np.float32(0.5), "0.500"),
        (-12.3456, "-12.346"),
        (12345.678, "12,345.7"),
        (1.5e-5, "1.5e-05"),
        (-1e30, "-1e+30"),
        (0.0, "0.000"),
        (100000, "100,000"),
        (np.int64(7), "7"),
        (True, "True"),
        (math.nan, "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
        (math.inf, "inf"),
        ("text", "text"),
    ],
)
def test_values_are_rounded_for_people(value, shown):
    assert format_value(value) == shown


def test_levels_are_read_from_flat_metrics():
    metrics = {
        "test_nll": 1.0,
        "ood.obs0.25.roc_auc": 0.9,
        "ood.obs0.25.fpr95": 0.2,
        "ood.a/b-v0.1.roc_auc": None,
    }
    levels = ood_levels(metrics)
    assert levels["obs0.25"] == {"roc_auc": 0.9, "fpr95": 0.2}
    assert math.isnan(levels["a/b-v0.1"]["roc_auc"])
    assert len(levels) == 2


def test_the_detection_table_has_trivial_scores_beside():
    table = ood_table({"obs1": {"roc_auc": 0.9, "pr_auc": 0.8, "fpr95": 0.3}}, anomaly_share=0.25)
    assert table.columns == ("set", "AUROC", "AUPR", "FPR95")
    assert table.rows == [
        ("obs1", 0.9, 0.8, 0.3),
        ("(random score)", 0.5, 0.25, 0.95),
        ("(constant score)", 0.5, 0.25, 1.0),
    ]


def test_a_metric_that_is_missing_is_shown_as_a_dash():
    _, *values = ood_table({"obs1": {"roc_auc": 0.9}}).rows[0]
    assert [format_value(value) for value in values] == ["0.900", "\N{EN DASH}", "\N{EN DASH}"]


def test_a_table_in_a_terminal_is_aligned():
    table = Table("unused", ("set", "AUROC"), [("obs0.25", 0.5), ("perm", None)])
    assert text_table(table).splitlines() == [
        "set      AUROC",
        "obs0.25  0.500",
        "perm         \N{EN DASH}",
    ]
