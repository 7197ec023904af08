"""Keys that are accepted at the top level of a file besides the sections, as in GORMPO's files.

A key is honoured under the path it stands for, or has no effect and its user is told why. A file
of GORMPO's is known by them. In such a file a key that is not known is told and left out; in one
of ours it is an error, since it is a slip of the pen.
"""

import difflib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gormpo_density.config_tree import ConfigTree

logger = logging.getLogger(__name__)

#: Keys that files of our own may have at the top level too.
_OURS_TOO = frozenset({"data_path"})


@dataclass(frozen=True)
class FlatKeys:
    """What a command accepts at the top level besides its sections.

    A dash and an underscore in a key are the same.

    Attributes:
        aliases: The path that each key stands for; the flags of the same names mean the same.
        without_effect: Keys that do nothing here, each with the reason why.
        translations: Functions for keys that take more than another path. Each is called if its
            key is there, and takes it away.
        in_files: More keys without effect, which GORMPO's files have and its command line has not.
        mend: Called with a file of GORMPO's before anything else, for what only such files say.
        note: What is told of such a file: how its numbers differ here. Without one no file is
            GORMPO's.
    """

    aliases: Mapping[str, str]
    without_effect: Mapping[str, str]
    translations: Mapping[str, Callable[[ConfigTree], None]]
    in_files: Mapping[str, str] = field(default_factory=dict)
    mend: Callable[[ConfigTree], None] = lambda tree: None
    note: str = ""

    def rename(self, tree: ConfigTree, sections: Collection[str] = ()) -> None:
        """Move a file's keys to where they belong, before the command line is applied.

        Args:
            tree: The file.
            sections: The keys of the top level that are no flat keys.
        """
        known = {*self.aliases, *self.without_effect, *self.translations, *self.in_files}
        for key in list(tree.values):
            name = key.replace("-", "_")
            if name in known and name != key:
                _respell(tree, key, name)
        has_sections = any(isinstance(tree.values.get(name), dict) for name in sections)
        if self.note and not has_sections and (known - _OURS_TOO) & tree.values.keys():
            self._read_as_gormpos(tree, known, sections)
        tree.rename(self.aliases)

    def _read_as_gormpos(
        self, tree: ConfigTree, known: Collection[str], sections: Collection[str]
    ) -> None:
        logger.warning("%s: %s", tree.source, self.note)
        self.mend(tree)
        drop(tree, self.in_files)
        for key in [key for key in tree.values if key not in sections]:
            name = key.replace("-", "_")
            if name in known:
                continue
            near = difflib.get_close_matches(name, self.aliases, n=1, cutoff=0.8)
            hint = f" (did you mean {near[0]}?)" if near else ""
            del tree.values[key]
            logger.warning("%s: %s has no effect here: it is unknown%s", tree.source, key, hint)

    def translate(self, tree: ConfigTree) -> None:
        """Translate what is left at the top level; warn of each key that has no effect."""
        for key, translation in self.translations.items():
            if key in tree.values:
                translation(tree)
        drop(tree, self.without_effect)


def _respell(tree: ConfigTree, key: str, name: str) -> None:
    """Rename a key that is spelt with dashes; it may be there under its name too."""
    value = tree.values.pop(key)
    if name not in tree.values:
        tree.values[name] = value
    elif tree.values[name] == value:
        logger.warning("%s: %s and %s are given, alike", tree.source, key, name)
    else:
        tree.problems.append(f"{tree.source}: {key} and {name} are the same; keep one")


def drop(tree: ConfigTree, reasons: Mapping[str, str]) -> None:
    """Take keys away from the top level, telling why each of them has no effect."""
    for key in sorted(reasons.keys() & tree.values.keys()):
        del tree.values[key]
        logger.warning("%s: %s has no effect here: %s", tree.origin(key), key, reasons[key])


def set_level(key: str) -> Callable[[ConfigTree], None]:
    """Return the translation of a threshold's percentile: 5 is the false-alarm rate .05."""

    def translate(tree: ConfigTree) -> None:
        value: Any = tree.values[key]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        tree.claim(key, "calibration.alpha", value / 100 if is_number else value)

    return translate
