"""Trained parts kept under what decided them, so that no run trains the same part twice."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from gormpo_density.atomic import replacing

_FACTS = "stage.json"


class Stages:
    """Folders <root>/<name>-<digest of its key>, each held by one process at a time.

    Args:
        root: Folder of the parts; several runs may share it.

    Attributes:
        cpu_seconds: What it took to make the parts used so far, whoever made them.
        cpu_seconds_here: What of that was spent by this object's user.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cpu_seconds = 0.0
        self.cpu_seconds_here = 0.0

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
        text = json.dumps(key, sort_keys=True)
        folder = self.root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            is_finished = (folder / _FACTS).is_file()
            started = time.process_time()
            yield folder, is_finished
            if not is_finished:
                seconds = time.process_time() - started
                self.cpu_seconds_here += seconds
                facts = {"key": key, "cpu_seconds": seconds}
                with replacing(folder / _FACTS) as temporary:
                    temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            self.cpu_seconds += json.loads((folder / _FACTS).read_text())["cpu_seconds"]
