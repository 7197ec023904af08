"""Configuration files: where they are looked for, and strict reading and writing of them.

YAML is read as PyYAML's safe subset with its traps closed: `3e-4` and `1e6` are numbers (PyYAML
takes them for text), a key given twice is an error (a warning at the top level, if the values are
alike), keys are text, dates stay text, and there are no tags. Anchors and merge keys work. A file
ending in .json is read as JSON.
"""

import difflib
import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gormpo_density.errors import ConfigError

logger = logging.getLogger(__name__)

_SUFFIXES = (".yaml", ".yml", ".json")
_PACKAGE = Path(__file__).parent

_FLOAT = "tag:yaml.org,2002:float"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise yaml.MarkedYAMLError(
                    problem="keys must be text", problem_mark=key.start_mark
                )
            if key.value in seen:
                problem = f"{key.value} is given twice"
                if not (_is_top(key) and _are_alike(value, seen[key.value])):
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                logger.warning("line %d: %s, alike", key.start_mark.line + 1, problem)
            seen[key.value] = value
        return node


def _is_top(key: yaml.Node) -> bool:
    return bool(key.start_mark.column == 0)


def _are_alike(one: yaml.Node, other: yaml.Node) -> bool:
    return isinstance(one, yaml.ScalarNode) and (one.tag, one.value) == (other.tag, other.value)


class _Dumper(yaml.SafeDumper):
    """Writes the text "1e6" in quotes, since our loader would take it for a number."""


def _use_our_resolvers(cls: type[_Loader] | type[_Dumper]) -> None:
    cls.yaml_implicit_resolvers = {
        first: [rule for rule in rules if rule[0] != _TIMESTAMP]
        for first, rules in cls.yaml_implicit_resolvers.items()
    }
    cls.add_implicit_resolver(_FLOAT, re.compile(_EXPONENT.pattern + "$"), list("-+.0123456789"))


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    value = loader.construct_yaml_float(node)
    return _whole(value) if _EXPONENT.fullmatch(node.value) else value


def _whole(value: float) -> float:
    """Return 1e6 as the integer it is, so that it serves where a whole number is asked for."""
    exact = math.isfinite(value) and value.is_integer() and abs(value) < 2**53
    return int(value) if exact else value


for _class in (_Loader, _Dumper):
    _use_our_resolvers(_class)
_Loader.add_constructor(_FLOAT, _construct_float)


def shipped_configs() -> Path:
    """Return the folder of the shipped configurations, in a wheel or in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def find_config(name: str | Path) -> Path:
    """Return the file behind a name such as "hopper.yaml", "mopo/hopper" or a path.

    It is looked for as given, then in ./configs, then among the shipped ones; the ending may be
    left out.

    Raises:
        ConfigError: There is none; near names are listed.
    """
    for folder in (Path(), Path("configs"), shipped_configs()):
        for suffix in ("", *_SUFFIXES):
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    known = sorted(set(_known_names()))
    near = difflib.get_close_matches(str(name), known, n=3) or known
    raise ConfigError(f"config {str(name)!r} is not found; there are {', '.join(near)}")


def _known_names() -> Iterator[str]:
    for folder in (Path("configs"), shipped_configs()):
        for path in folder.rglob("*"):
            if path.suffix in _SUFFIXES:
                yield path.relative_to(folder).as_posix()


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file whose top level is a mapping.

    Raises:
        ConfigError: Not UTF-8, a syntax error (line named), a key given twice, a key that is not
            text, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason})") from None
    parse = parse_json if path.suffix == ".json" else parse_yaml
    values = parse(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    return values


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML to plain dicts, lists, text, numbers, booleans and None.

    Nothing is shared between two places of the result, not even what an anchor repeats.

    Args:
        text: The YAML.
        source: Where it comes from, for error texts.

    Raises:
        ConfigError: It is not valid, see `read_config`.
    """
    try:
        for token in yaml.scan(text, _Loader):
            if isinstance(token, yaml.TagToken):
                raise yaml.MarkedYAMLError(
                    problem="tags (!) are not used here", problem_mark=token.start_mark
                )
        return json.loads(json.dumps(yaml.load(text, _Loader)))  # unshares what anchors share
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an anchor inside itself
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None


def parse_json(text: str, source: str) -> Any:
    """Parse JSON as `parse_yaml` does YAML.

    Raises:
        ConfigError: It is not valid, or a key is given twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for i, (key, _) in enumerate(pairs):
            if key in dict(pairs[:i]):
                raise ValueError(f"{key} is given twice")
        return dict(pairs)

    try:
        return json.loads(
            text, object_pairs_hook=unique, parse_float=lambda number: _whole(float(number))
        )
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None


def dump_yaml(values: Any) -> str:
    """Return YAML text that `parse_yaml` reads back as the same values, in the same order."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text
