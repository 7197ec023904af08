"""The data of these measures."""

from pathlib import Path

import torch

from benchmarks.cells import Bench
from gormpo_density.config import DataConfig
from rl.offline_data import OfflineData, load_offline_data

SUBJECT = "hopper_medium"
DEVICE = torch.device("cpu")


def data_file(bench: Bench) -> Path:
    """Return the file of the transitions."""
    return bench.data_dir / "mujoco" / f"{SUBJECT}.npz"


def load(path: Path) -> OfflineData:
    """Load a file and split it as a run with the seed 0 does."""
    return load_offline_data(DataConfig(data_path=path), 0, DEVICE, progress=False)
