"""What went before a row in its episode, and what a sequence model remembers of it.

A memory is the state of a sequence model for a batch of rows: a tuple of tensors, batch first, on
the device of the model. Memories are not kept for the rows of the data, for that of a VAE-LSTM is
hundreds of times as large as a row: they are made anew, by replaying the rows before it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gormpo_density import DensityModel, SequenceModel
from gormpo_density.errors import DataError
from rl.offline_data import OfflineData

Memory = tuple[Tensor, ...]
#: Returns the memory of what went before rows of these numbers (B,).
Recall = Callable[[Tensor], Memory]

_CHUNK_ROWS = 1024  # whose memories the caches of a CPU can hold


def mapped(function: Callable[..., Tensor], *memories: Memory) -> Memory:
    """Apply a function to the first tensors of memories, to the second ones, and so on."""
    make = getattr(memories[0], "_make", tuple)  # a NamedTuple stays one
    made: Memory = make([function(*tensors) for tensors in zip(*memories, strict=True)])
    return made


def picked(memory: Memory | None, rows: Tensor) -> Memory | None:
    """Return the memory of some rows, by a mask or by their numbers; None of None."""
    return None if memory is None else mapped(lambda part: part[rows], memory)


def remembered(
    function: Callable[[Tensor, Memory], tuple[Tensor, Memory]], rows: Tensor, memory: Memory
) -> tuple[Tensor, Memory]:
    """Apply a function to rows and their memories, on a CPU in chunks that its caches can hold."""
    size = _CHUNK_ROWS if rows.device.type == "cpu" else max(1, len(rows))
    if len(rows) <= size:
        return function(rows, memory)
    pairs = [
        function(
            rows[start : start + size], mapped(lambda part, i=start: part[i : i + size], memory)
        )
        for start in range(0, len(rows), size)
    ]
    scores, memories = zip(*pairs, strict=True)
    return torch.cat(scores), mapped(lambda *parts: torch.cat(parts), *memories)


@dataclass(frozen=True, eq=False)
class Paths:
    """The rows of all episodes, in time order inside each.

    Attributes:
        rows: (N, D), of the kind that a density model scores.
        place: (N,) number of rows before each in its episode.
    """

    rows: Tensor
    place: Tensor

    @classmethod
    def of(cls, rows: Tensor, episode: Tensor) -> "Paths":
        """Build from rows (N, D) and the episode (N,) of each, whose rows are adjacent."""
        number = torch.arange(len(rows), device=rows.device)
        is_first = torch.ones_like(number, dtype=torch.bool)
        is_first[1:] = episode[1:] != episode[:-1]
        return cls(rows, number - torch.where(is_first, number, 0).cummax(0).values)

    def sequences(self, index: Tensor, length: int, most: int, seed: int) -> Tensor:
        """Draw sequences (n, length, D) of consecutive rows that end in rows of given numbers.

        Args:
            index: Numbers of rows (m,). Where fewer than `length` rows are known, none ends.
            length: Rows of a sequence.
            most: Largest n.
            seed: Of the draw, without replacement; all are taken where there are no more.

        Raises:
            DataError: No episode among them is as long as that.
        """
        ends = index[self.place[index] >= length - 1]
        if not len(ends):
            raise DataError(f"no episode has the {length} rows that a sequence model is fitted on")
        order = torch.randperm(len(ends), generator=torch.Generator().manual_seed(seed))
        ends = ends[order[:most].sort().values.to(ends.device)]
        back = torch.arange(1 - length, 1, device=ends.device)
        return self.rows[ends[:, None] + back]

    @torch.no_grad()
    def recall(self, model: SequenceModel[Any], index: Tensor) -> Memory:
        """Return what a model of single rows remembers of what went before rows (B,).

        It is shown the half of a sequence: as many real rows before each, fewer at the beginning
        of an episode. The other half is left to a rollout, which thus stays within the length
        that the model was fitted on. Nothing waits for the device.
        """
        memory: Memory = model.init_state(len(index))
        for back in range(model.sequence_length // 2, 0, -1):
            is_known = self.place[index] >= back
            rows = self.rows[(index - back).clamp(min=0)]
            _, after = remembered(lambda x, m: model.step(x[:, None], m), rows, memory)
            memory = mapped(
                lambda new, old, known=is_known: _where(known, new, old), after, memory
            )
        return memory


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *([1] * (new.ndim - 1))), new, old)


def recall_for(data: OfflineData, row_kind: str, *models: DensityModel | None) -> Recall | None:
    """Return the recall of the first model of paths among these; None where there is none.

    Args:
        data: Whose rows are remembered.
        row_kind: What the models score.
        models: Density models of rows or paths.
    """
    for model in models:
        if isinstance(model, SequenceModel):
            paths = Paths.of(data.rows(row_kind), data.episode)
            return functools.partial(paths.recall, model)
    return None
