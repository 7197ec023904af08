"""Where an augmentation run tells what it is doing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gormpo_density.loggers import Log

Tell = Callable[[str], None]


@dataclass
class Journal:
    """Where a run tells what it is doing.

    Attributes:
        tell: Called with a line for people.
        log: Called with a number that only grows, and values by name.
        progress: Whether to show progress bars.
        done: The last such number.
    """

    tell: Tell
    log: Log
    progress: bool
    done: int = 0

    def of(self, part: str) -> Callable[[int, Mapping[str, float]], None]:
        """Return a function of the epochs or steps of one training, counted from 1."""
        start = self.done

        def record(step: int, values: Mapping[str, float]) -> None:
            self.done = start + step
            self.log(self.done, {f"{part}/{name}": value for name, value in values.items()})

        return record
