"""Where curves go besides history.csv: TensorBoard, and Weights & Biases on request."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gormpo_density.errors import ConfigError

Log = Callable[[int, Mapping[str, float]], None]


def import_wandb() -> Any:
    """Return the module wandb.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise ConfigError("--wandb needs wandb: pip install 'gormpo-density[wandb]'") from None
    return wandb


@contextmanager
def open_loggers(
    run: Path, config: Mapping[str, Any], *, done: int = 0, use_wandb: bool = False
) -> Iterator[Log]:
    """Open the loggers of a run.

    Args:
        run: The run folder; TensorBoard's events go to its tensorboard/, wandb's files to wandb/.
        config: What wandb shows as the run's configuration, plain values.
        done: Updates, or epochs, that a resumed run has behind it. TensorBoard drops what a
            killed process logged after them.
        use_wandb: Log to wandb too: each process a run of its own, in a group called as the
            folder is.

    Yields:
        A function of the number of updates, or epochs, and of values by name; those that are not
        finite (NaN: not measured this time) are left out.

    Raises:
        ConfigError: wandb is not installed.
    """
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    with ExitStack() as stack:
        writer = SummaryWriter(str(run / "tensorboard"), purge_step=done + 1 if done else None)
        stack.callback(writer.close)
        online = None
        if use_wandb:
            online = import_wandb().init(
                project="gormpo_density", group=run.name, dir=str(run), config=dict(config)
            )
            stack.callback(online.finish)

        def log(updates: int, values: Mapping[str, float]) -> None:
            finite = {name: value for name, value in values.items() if math.isfinite(value)}
            for name, value in finite.items():
                writer.add_scalar(name, value, updates)
            if online is not None:
                online.log(finite, step=updates)

        yield log
