"""Trained parts kept under what decided them, so that no run trains the same part twice."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from gormpo_density.atomic import replacing

_KEY = "key.json"


class Stages:
    """Folders <root>/<name>-<digest of its key>, each held by one process at a time.

    Args:
        root: Folder of the parts; several runs may share it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def stage(self, name: str, key: Mapping[str, Any]) -> Iterator[tuple[Path, bool]]:
        """Hold the folder of a part; one that is left without an error is finished.

        Args:
            name: Of the part, for people.
            key: All that decides it, as plain values.

        Yields:
            The folder, and whether the part in it is finished. What a killed run left of an
            unfinished part is still there.
        """
        text = json.dumps(key, sort_keys=True, indent=1)
        folder = self.root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            is_finished = (folder / _KEY).is_file()
            yield folder, is_finished
            if not is_finished:
                with replacing(folder / _KEY) as temporary:
                    temporary.write_text(text + "\n", encoding="utf-8")
