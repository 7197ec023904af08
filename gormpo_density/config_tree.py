"""Plain values on their way to a typed configuration, with the origin of each."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gormpo_density.config_files import find_config, parse_yaml, read_config
from gormpo_density.errors import ConfigError
from gormpo_density.schema import S, validate

logger = logging.getLogger(__name__)

#: The origin of what `--set` and the other flags say.
COMMAND_LINE = "command line"


class ConfigTree:
    """Nested values from a file and the command line, and every problem found in them so far.

    Problems are collected, not raised, until `validate` reports all of them at once, each with
    the file or the command line it comes from.

    Args:
        values: Nested dicts of plain values; taken over and changed.
        source: Where they come from, for error texts.

    Attributes:
        problems: One line for each problem found so far.
    """

    def __init__(self, values: dict[str, Any], source: str) -> None:
        self.values = values
        self.source = source
        self.problems: list[str] = []
        self._origins: dict[str, str] = {}

    @classmethod
    def read(cls, name: str | Path | None) -> "ConfigTree":
        """Read a configuration by name or path, see `find_config`; None gives an empty one."""
        if name is None:
            return cls({}, COMMAND_LINE)
        path = find_config(name)
        return cls(read_config(path), str(path))

    def origin(self, path: str) -> str:
        """Return where the value at a dotted path comes from."""
        while path:
            if path in self._origins:
                return self._origins[path]
            path = path.rpartition(".")[0]
        return self.source

    def get(self, path: str) -> Any:
        """Return the value at a dotted path, None where there is none."""
        node: Any = self.values
        for part in path.split("."):
            if not isinstance(node, dict):
                return None
            node = node.get(part)
        return node

    def set(self, path: str, value: Any, origin: str) -> None:
        """Put a value at a dotted path, making the sections above it."""
        node, done = self.values, ""
        *sections, leaf = path.split(".")
        for section in sections:
            done = f"{done}.{section}".lstrip(".")
            if node.get(section) is None:
                node[section] = {}
                self._origins[done] = origin
            node = node[section]
            if not isinstance(node, dict):
                self.problems.append(f"{origin}: {path} is unknown, {done} is not a section")
                return
        node[leaf] = value
        self._origins[path] = origin

    def rename(self, aliases: Mapping[str, str]) -> None:
        """Move top-level keys to where they belong.

        Args:
            aliases: Dotted path of each key that is accepted at the top level.
        """
        for alias in aliases.keys() & self.values.keys():
            self.claim(alias, aliases[alias], self.values[alias])

    def claim(self, key: str, path: str, value: Any) -> None:
        """Replace a top-level key by what it means at a path.

        Where the path has a value already, the command line outdoes a file; of two from one place
        that say the same one is enough, with a warning, and others contradict each other.
        """
        origin, there = self.origin(key), self.origin(path)
        del self.values[key]
        if self.get(path) is None or origin == COMMAND_LINE != there:
            self.set(path, value, f"{origin} ({key})")
        elif self.get(path) == value:
            logger.warning("%s: %s and %s are given, alike", origin, key, path)
        elif origin == COMMAND_LINE or there != COMMAND_LINE:
            self.problems.append(f"{origin}: {key} and {path} are the same; keep one")

    def override(self, settings: Iterable[str], aliases: Mapping[str, str]) -> None:
        """Apply "path=value" settings of the command line, in order.

        Args:
            settings: The value is YAML; the path is dotted, or an alias.
            aliases: As in `rename`.
        """
        for setting in settings:
            path, equals, text = setting.partition("=")
            path = path.strip()
            if not (path and equals):
                self.problems.append(f"{COMMAND_LINE}: --set {setting} must be of the form a.b=v")
                continue
            try:
                value = parse_yaml(text, f"{COMMAND_LINE} ({setting})")
            except ConfigError as error:
                self.problems.extend(error.problems)
            else:
                self.set(aliases.get(path, path), value, COMMAND_LINE)

    def validate(self, schema: type[S]) -> S:
        """Return the typed configuration; a section or key left empty takes its default.

        Raises:
            ConfigError: Every problem found until now, and every one the schema finds.
        """
        empty = {key for key in schema.model_fields if self.values.get(key) is None}
        values = {key: value for key, value in self.values.items() if key not in empty}
        try:
            config = validate(schema, values, self.origin)
        except ConfigError as error:
            raise ConfigError([*self.problems, *error.problems]) from None
        if self.problems:
            raise ConfigError(self.problems)
        return config
