"""Measured cells: one JSON file each, kept and used again while its settings are the same."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gormpo_density.atomic import replacing

Result = dict[str, Any]


class Cell(NamedTuple):
    """What is measured once: the part of the benchmark, on what, of what, which repetition."""

    part: str
    subject: str
    scorer: str
    seed: int = 0

    @property
    def file(self) -> str:
        """Path of the cell's file in the folder of cells."""
        name = f"{self.subject}-{self.scorer}-seed{self.seed}".replace(" ", "_")
        return f"{self.part}/{name}.json"


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        data_dir: Holds the folders of data sets: adbench/, mujoco/, nab/ and so on.
        out: Where cells and tables go.
        quick: Measure tiny subsets with few epochs, to see that everything works.
    """

    data_dir: Path
    out: Path
    quick: bool = False

    def result(
        self, cell: Cell, settings: Mapping[str, Any], measure: Callable[[], Result]
    ) -> Result:
        """Return the result of a cell, measuring it unless it was with these very settings.

        Args:
            cell: Which cell.
            settings: All that decides the result and can change, as plain values.
            measure: Measures the cell; the result is of plain values.
        """
        path = self.out / "cells" / cell.file
        wanted = json.loads(json.dumps(settings))
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["settings"] == wanted:
                return dict(stored["result"])
        start = time.process_time()
        result = json.loads(json.dumps(measure()))
        seconds = time.process_time() - start
        print(f"{cell.file}: {seconds:.1f} CPU s", file=sys.stderr, flush=True)
        content = {"settings": wanted, "cpu_seconds": seconds, "result": result}
        with replacing(path) as file:
            file.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return dict(result)
