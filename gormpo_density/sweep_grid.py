"""The grid of a sweep: every combination of the values that its settings are to try."""

import itertools
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError

#: What may stand in the name of a folder as it is: a plain word or number, or a list of numbers.
_CLEAR = re.compile(r"[\w.+-]{1,24}|\[[\d.e+ ,-]{1,24}\]", re.ASCII)


@dataclass(frozen=True)
class GridPoint:
    """One combination of values.

    Attributes:
        settings: Value by dotted path, all settings of the sweep.
        varied: Those among them that have several values in the sweep, by short name.
    """

    settings: Mapping[str, Any]
    varied: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The point in words, for tables and figures."""
        words = [f"{name}={value_text(value)}" for name, value in self.varied.items()]
        return ", ".join(words) or "as configured"

    @property
    def overrides(self) -> list[str]:
        """The settings as `--set` takes them."""
        return [
            f"{path}={json.dumps(value, ensure_ascii=False)}"
            for path, value in self.settings.items()
        ]

    def run_name(self, seed: int) -> str:
        """Return the name of the folder of the point's run under a seed."""
        words = [f"{name}={_folder_text(value)}" for name, value in self.varied.items()]
        return "-".join([*words, f"seed{seed}"])


def make_grid(settings: Sequence[str]) -> list[GridPoint]:
    """Return all points of a grid, the last setting varying fastest.

    Args:
        settings: "a.b=v,w" each: values in YAML, with commas between them. A comma inside
            brackets or quotes belongs to its value.

    Raises:
        ConfigError: A setting is malformed or given twice, or one of its values is.
    """
    choices: dict[str, list[Any]] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        path = path.strip()
        if not (path and equals):
            raise ConfigError(f"--set {setting} must be of the form a.b=v or a.b=v,w,...")
        if path in choices:
            raise ConfigError(f"--set {path} is given twice; its values belong together, a.b=v,w")
        choices[path] = _values(path, text)
    names = _short_names([path for path, values in choices.items() if len(values) > 1])
    return [
        GridPoint(point, {name: point[path] for path, name in names.items()})
        for values in itertools.product(*choices.values())
        for point in [dict(zip(choices, values, strict=True))]
    ]


def value_text(value: Any) -> str:
    """Return a value as a reader wants to see it: JSON, but text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _values(path: str, text: str) -> list[Any]:
    values: list[Any] = parse_yaml(f"[{text}]", f"--set {path}={text}") or [None]
    texts = [value_text(value) for value in values]
    for i, repeated in enumerate(texts):
        if repeated in texts[:i]:
            raise ConfigError(f"--set {path}={text}: {repeated} is given twice")
    return values


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each dotted path that no other path has."""
    names = {}
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [f".{other}" for other in paths if other != path]
        names[path] = next(
            (end for end in ends if not any(o.endswith(f".{end}") for o in others)), path
        )
    return names


def _folder_text(value: Any) -> str:
    """Return a value as part of a folder's name, no two values alike."""
    text = value_text(value)
    safe = re.sub(r"[^\w.+-]+", "-", text.strip("[]"), flags=re.ASCII)
    return safe if _CLEAR.fullmatch(text) else f"{safe[-24:]}-{zlib.crc32(text.encode()):08x}"
