"""Real and synthetic rows in a DataLoader: new in every epoch, the same in every run."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gormpo_density.augmentation.augmenter import Augmented, Augmenter
from gormpo_density.augmentation.classic import Jitter, Mixup
from gormpo_density.augmentation.dataset import AugmentedDataset, epoch_seed
from gormpo_density.errors import ConfigError, DataError

X = np.random.default_rng(0).normal(size=(6, 9, 2)).astype(np.float32)
Y = np.arange(6) % 3
forks = pytest.mark.filterwarnings(
    "ignore:.*use of fork:DeprecationWarning", "ignore:This DataLoader will create:UserWarning"
)


class Thinned(Augmenter):
    """Keeps only as many synthetic rows as the seed says: what rejection does."""

    def _augment(self, x, y, generator):
        m = int(torch.randint(1, len(x), (), generator=generator))
        return Augmented(x[:m], y[:m], torch.arange(m), len(x) - m)


def epochs(dataset, numbers):
    for epoch in numbers:
        dataset.set_epoch(epoch)
        yield dataset.rows[0].clone()


def test_the_real_rows_come_first():
    dataset = AugmentedDataset(X, Y, Jitter(num_samples=2), seed=4)
    assert len(dataset) == 18
    x, y = dataset.rows
    torch.testing.assert_close(x[:6], torch.from_numpy(X), rtol=0, atol=0)
    np.testing.assert_array_equal(y, np.tile(Y, 3))
    made = Jitter(num_samples=2).augment(X, Y, seed=epoch_seed(4, 0))
    np.testing.assert_array_equal(x[6:], made.x)


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 2)])
@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy])
def test_an_item_is_a_series_and_its_label(shape, as_kind):
    x = as_kind(X.reshape(-1)[: np.prod(shape)].reshape(shape))
    dataset = AugmentedDataset(x, as_kind(Y), Mixup())
    series, label = dataset[-1]
    assert series.shape == shape[1:]
    assert series.dtype == torch.float32
    assert label.dtype == torch.int64
    assert label.shape == ()
    assert len(list(dataset)) == 12


def test_an_epoch_has_its_rows_whatever_was_drawn_before():
    dataset = AugmentedDataset(X, Y, Jitter(), seed=1)
    first, second, third = epochs(dataset, [0, 1, 2])
    again = AugmentedDataset(X, Y, Jitter(), seed=1)
    late, early = epochs(again, [2, 0])
    assert torch.equal(first, early)
    assert torch.equal(third, late)
    assert not torch.equal(first, second)
    other_seed = AugmentedDataset(X, Y, Jitter(), seed=2)
    assert not torch.equal(first, other_seed.rows[0])
    for x in (second, third, other_seed.rows[0]):
        assert torch.equal(x[:6], first[:6])


def test_the_number_of_rows_follows_the_epoch():
    dataset = AugmentedDataset(X, Y, Thinned())
    sizes = {len(x) for x in epochs(dataset, range(20))}
    assert len(sizes) > 1
    assert len(dataset) == len(dataset.rows[0])


@forks
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("n_workers", [1, 2])
def test_workers_load_the_same_rows_epoch_after_epoch(n_workers, persistent):
    dataset = AugmentedDataset(X, Y, Jitter(), seed=3)
    loader = DataLoader(
        dataset,
        batch_size=5,
        num_workers=n_workers,
        persistent_workers=persistent,
        multiprocessing_context="fork",
    )
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        loaded = [torch.cat(parts) for parts in zip(*loader, strict=True)]
        expected = AugmentedDataset(X, Y, Jitter(), seed=3)
        expected.set_epoch(epoch)
        for found, wanted in zip(loaded, expected.rows, strict=True):
            assert torch.equal(found, wanted)


def test_a_copy_draws_the_same():
    dataset = AugmentedDataset(X, Y, Jitter(), seed=3)
    dataset.set_epoch(7)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy.rows[0], dataset.rows[0])
    for x, expected in zip(epochs(copy, [8, 7]), epochs(dataset, [8, 7]), strict=True):
        assert torch.equal(x, expected)


def test_seeds_of_epochs_do_not_meet():
    seeds = {epoch_seed(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert epoch_seed(1, 2) != epoch_seed(2, 1)


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (0, -1)])
def test_a_negative_seed_or_epoch_is_refused(seed, epoch):
    with pytest.raises(ConfigError, match=f"are {seed} and {epoch}"):
        AugmentedDataset(X, Y, Jitter(), seed).set_epoch(epoch)


def test_an_epoch_that_is_refused_changes_nothing():
    dataset = AugmentedDataset(X, Y, Jitter())
    before = dataset.rows[0]
    with pytest.raises(ConfigError):
        dataset.set_epoch(-1)
    assert dataset.rows[0] is before


def test_bad_rows_are_refused_at_once():
    with pytest.raises(DataError, match="x column 0, 0 row 0 is nan"):
        AugmentedDataset(X * np.nan, Y, Jitter())
