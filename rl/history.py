"""What went before a row in its episode, and what a sequence model remembers of it.

Memories are not kept for the rows of the data, for that of a VAE-LSTM is about a hundred times as
large as a row: they are made anew, by replaying the rows before it.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gormpo_density import DensityModel, SequenceModel
from gormpo_density.errors import DataError
from rl.offline_data import OfflineData

State = tuple[Tensor, ...]


class Memory(NamedTuple):
    """What a sequence model remembers, for a batch of rows and on its device.

    Attributes:
        state: Its state, batch first.
        seen: (B,) number of rows that went into it.
    """

    state: State
    seen: Tensor


#: Returns the memory of what went before rows of these numbers (B,).
Recall = Callable[[Tensor], Memory]

_CHUNK_ROWS = 1024  # whose memories the caches of a CPU can hold


def no_memory(model: SequenceModel[Any], rows: int) -> Memory:
    """Return the memory of rows before which nothing was seen."""
    state: State = model.init_state(rows)
    return Memory(state, torch.zeros(rows, dtype=torch.int64, device=model.device))


def picked(memory: Memory | None, rows: Tensor) -> Memory | None:
    """Return the memory of some rows, by a mask or by their numbers; None of None."""
    if memory is None:
        return None
    return Memory(_mapped(lambda part: part[rows], memory.state), memory.seen[rows])


def go_on(model: SequenceModel[Any], rows: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Score rows (B, D) after what is remembered; on a CPU in chunks that its caches can hold.

    Returns:
        Scores (B,) of the steps, and the memory after them.
    """
    size = _CHUNK_ROWS if rows.device.type == "cpu" else max(1, len(rows))
    parts = [part.split(size) for part in memory.state]
    scores, states = [], []
    for x, *before in zip(rows[:, None].split(size), *parts, strict=True):
        score, state = model.step(x, _like(memory.state, before))
        scores.append(score)
        states.append(state)
    after = _mapped(lambda *parts: torch.cat(parts), *states)
    return torch.cat(scores), Memory(after, memory.seen + 1)


def _mapped(function: Callable[..., Tensor], *states: State) -> State:
    """Apply a function to the first tensors of states, to the second ones, and so on."""
    return _like(states[0], [function(*tensors) for tensors in zip(*states, strict=True)])


def _like(state: State, parts: Iterable[Tensor]) -> State:
    made: State = getattr(state, "_make", tuple)(parts)  # a NamedTuple stays one
    return made


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
        of an episode. The other half is left to a rollout: one no longer than that stays within
        the length that the model was fitted on; a longer one goes on from the same state, with
        the model's noise draws from the first again. Nothing waits for the device.
        """
        memory = no_memory(model, len(index))
        for back in range(model.sequence_length // 2, 0, -1):
            is_known = self.place[index] >= back
            _, after = go_on(model, self.rows[(index - back).clamp(min=0)], memory)
            memory = _chosen(is_known, after, memory)
        return memory


def _chosen(of_first: Tensor, first: Memory, second: Memory) -> Memory:
    """Return the first memory of some rows, the second one of the others."""

    def of(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(of_first.reshape(-1, *([1] * (one.ndim - 1))), one, other)

    return Memory(_mapped(of, first.state, second.state), of(first.seen, second.seen))


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
