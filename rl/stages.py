"""Trained parts kept under what decided them, so that no run trains the same part twice."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

import gormpo_density
from gormpo_density.atomic import replacing

_FACTS = "stage.json"


class Stages:
    """Folders <root>/<name>-<digest>, each held by one process at a time.

    The digest is of the part's key and of the source of this library, so no part made by other
    code is taken for one made by this.

    Args:
        root: Folder of the parts; several runs may share it.

    Attributes:
        cpu_seconds: What it took to make the parts used so far, whoever made them. Of a part
            whose making was killed and gone on with, that is the last process's share.
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
            key: All that decides it but the code, as plain values.

        Yields:
            The folder, and whether the part in it is finished. What a killed run left of an
            unfinished part is still there.
        """
        key = {**key, "code": code_digest()}
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


@cache
def code_digest() -> str:
    """Return a digest of every source file of `gormpo_density` and `rl`.

    Any edit of any of them changes it: to train a part again costs less than to find out that an
    edit mattered. A model of somebody else's package is known by its name alone.
    """
    return digest_of_sources(Path(gormpo_density.__file__).parent, Path(__file__).parent)


def digest_of_sources(*packages: Path) -> str:
    """Return a digest of the Python files in folders: of their names and of what is in them."""
    digest = hashlib.sha256()
    for package in packages:
        for file in sorted(package.rglob("*.py")):
            digest.update(f"{file.relative_to(package).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
