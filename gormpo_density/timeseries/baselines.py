"""Simple scores that a learned detector has to beat, by name."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from gormpo_density.errors import ConfigError, GormpoDensityError
from gormpo_density.registry import suggestion
from gormpo_density.timeseries.baseline import Baseline, Rows, State

#: A direction with a smaller share of the variance is rounding error.
_LEAST_SHARE = 1e-12


class Random(Baseline):
    """A uniform number, drawn from the row's own bytes and the seed.

    Equal rows have equal scores, whatever else is scored, and the numbers of different rows have
    nothing to do with each other.
    """

    def _estimate(self, z: Rows, seed: int) -> State:
        return {"seed": np.array([float(seed)])}

    def _score(self, z: Rows, learnt: State) -> Rows:
        key = learnt["seed"].tobytes()
        digests = b"".join(blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in z)
        return np.frombuffer(digests, dtype="<u8") / 2.0**64


class Constant(Baseline):
    """The same score, 0, for everything."""

    def _estimate(self, z: Rows, seed: int) -> State:
        return {}

    def _score(self, z: Rows, learnt: State) -> Rows:
        return np.zeros(len(z))


class ZScore(Baseline):
    """Minus the largest |x - mean| / std of the row's values, with each channel's own units."""

    def _estimate(self, z: Rows, seed: int) -> State:
        return {}

    def _score(self, z: Rows, learnt: State) -> Rows:
        largest: Rows = np.abs(z).max(1)
        return -largest


class MedianDistance(Baseline):
    """Minus the mean of |x - median| / std over the row's values, the median each channel's."""

    def _estimate(self, z: Rows, seed: int) -> State:
        steps = z.reshape(-1, self.event_shape[-1])
        return {"median": np.median(steps, axis=0)}

    def _score(self, z: Rows, learnt: State) -> Rows:
        steps = z.reshape(len(z), -1, self.event_shape[-1])
        distance: Rows = np.abs(steps - learnt["median"]).mean((1, 2))
        return -distance


class PCA(Baseline):
    """Sub-PCA: minus the weighted sum of distances to the principal directions of the windows.

    score(x) = -sum_k ||u - v_k|| / w_k, where u is x with each of its T * D values standardised,
    v_k the unit eigenvectors of their covariance and w_k the shares of the variance they carry.
    So it is defined in PyOD, from where the benchmark TSB-AD has it. It is no reconstruction
    error. Directions without variance are left out; PyOD divides by their rounding error.

    Source:
        Shyu et al. 2003, "A novel anomaly detection scheme based on principal component
        classifier", as in `pyod.models.pca`; Liu & Paparrizos 2024 (TSB-AD).
    """

    def _estimate(self, z: Rows, seed: int) -> State:
        from sklearn.decomposition import PCA as Directions

        mean, scale = z.mean(0), z.std(0)
        scale[scale <= 1e-9] = 1.0
        with np.errstate(invalid="ignore"):  # shares of equal rows are 0 / 0
            found = Directions(random_state=seed).fit((z - mean) / scale)
        shares = found.explained_variance_ratio_
        kept = shares > _LEAST_SHARE
        return {
            "mean": mean,
            "scale": scale,
            "directions": found.components_[kept],
            "shares": shares[kept],
        }

    def _score(self, z: Rows, learnt: State) -> Rows:
        u = (z - learnt["mean"]) / learnt["scale"]
        squared = np.square(u).sum(1)[:, None] + 1.0 - 2.0 * u @ learnt["directions"].T
        distance: Rows = (np.sqrt(squared.clip(min=0.0)) / learnt["shares"]).sum(1)
        return -distance


class T2Q(Baseline):
    """PCA as a control chart: minus the larger of T2 and Q, each in units of its limit.

    T2 = sum_k u_k^2 / lambda_k over the leading principal directions, those that carry a given
    share of the variance; Q is the squared length of what they leave. A limit is the 99 %
    quantile of the training rows, so about 1 % or 2 % of them score below -1.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        share: Share of the variance that the leading directions carry together.

    Source:
        Jackson & Mudholkar 1979 (Q), Hotelling 1931 (T2), joined as in the SKAB benchmark.
        Differs: limits are quantiles, not formulas that assume a Gaussian.
    """

    def __init__(
        self, input_dim: int | Sequence[int], share: Annotated[float, Gt(0), Lt(1)] = 0.9
    ) -> None:
        super().__init__(input_dim)
        self.share = share

    def _estimate(self, z: Rows, seed: int) -> State:
        mean = z.mean(0)
        covariance = np.atleast_2d(np.cov(z, rowvar=False, ddof=0))
        variances, directions = np.linalg.eigh(covariance)
        order = np.argsort(variances)[::-1]
        variances = variances[order].clip(min=_LEAST_SHARE)
        kept = 1 + np.searchsorted(variances.cumsum() / variances.sum(), self.share)
        learnt = {
            "mean": mean,
            "directions": np.ascontiguousarray(directions[:, order[:kept]]),  # as when loaded
            "variances": variances[:kept],
        }
        charts = self._charts(z, learnt)
        return {**learnt, "limits": np.quantile(charts, 0.99, axis=0).clip(min=_LEAST_SHARE)}

    def _charts(self, z: Rows, learnt: State) -> Rows:
        """T2 and Q of each row, (B, 2)."""
        u = (z - learnt["mean"]) @ learnt["directions"]
        left = z - learnt["mean"] - u @ learnt["directions"].T
        t2 = (np.square(u) / learnt["variances"]).sum(1)
        return np.stack([t2, np.square(left).sum(1)], axis=1)

    def _score(self, z: Rows, learnt: State) -> Rows:
        worse: Rows = (self._charts(z, learnt) / learnt["limits"]).max(1)
        return -worse


class Nearest(Baseline):
    """Minus the Euclidean distance to the nearest training row."""

    def _estimate(self, z: Rows, seed: int) -> State:
        return {"points": z}

    def _score(self, z: Rows, learnt: State) -> Rows:
        from sklearn.metrics import pairwise_distances_argmin

        nearest = learnt["points"][pairwise_distances_argmin(z, learnt["points"])]
        distance: Rows = np.linalg.norm(z - nearest, axis=1)
        return -distance


class KMeans(Nearest):
    """Minus the Euclidean distance to the closest of k centres of the training rows.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        n_clusters: k; there are never more centres than rows.

    Source:
        Yairi et al. 2001, as KMeansAD of TimeEval and TSB-AD, whose k is 20.
    """

    def __init__(
        self, input_dim: int | Sequence[int], n_clusters: Annotated[int, Ge(1)] = 20
    ) -> None:
        super().__init__(input_dim)
        self.n_clusters = n_clusters

    def _estimate(self, z: Rows, seed: int) -> State:
        from sklearn.cluster import KMeans as Clusters

        k = min(self.n_clusters, len(np.unique(z, axis=0)))
        clusters = Clusters(n_clusters=k, n_init=3, random_state=seed).fit(z)
        return {"points": clusters.cluster_centers_}


class IsolationForest(Baseline):
    """How many random cuts it takes to be alone: scikit-learn's isolation forest.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        n_estimators: Number of trees.

    Source:
        Liu et al. 2008, "Isolation forest", as `sklearn.ensemble.IsolationForest`.
    """

    def __init__(
        self, input_dim: int | Sequence[int], n_estimators: Annotated[int, Ge(1)] = 100
    ) -> None:
        super().__init__(input_dim)
        self.n_estimators = n_estimators

    def _estimate(self, z: Rows, seed: int) -> State:
        from sklearn.ensemble import IsolationForest as Forest

        self._forest = Forest(n_estimators=self.n_estimators, random_state=seed).fit(z)
        return {}

    def _score(self, z: Rows, learnt: State) -> Rows:
        scores: Rows = self._forest.score_samples(z)
        return scores

    def state(self) -> State:
        """Refuse: a forest is saved by a pickle only."""
        self._require_fitted()
        raise GormpoDensityError("an isolation forest is not saved: fit it again from its seed")


_BASELINES: Mapping[str, type[Baseline]] = {
    "random": Random,
    "constant": Constant,
    "zscore": ZScore,
    "median_distance": MedianDistance,
    "pca": PCA,
    "t2_q": T2Q,
    "nearest": Nearest,
    "kmeans": KMeans,
    "isolation_forest": IsolationForest,
}


def available_baselines() -> tuple[str, ...]:
    """Return the name of every baseline, from the simplest on."""
    return tuple(_BASELINES)


def make_baseline(name: str, input_dim: int | Sequence[int], **params: Any) -> Baseline:
    """Build the baseline called `name`, for instance `make_baseline("pca", (32, 1))`.

    Raises:
        ConfigError: The name is unknown or a parameter does not fit.
    """
    if name not in _BASELINES:
        raise ConfigError(f"baseline {name!r} is unknown{suggestion(name, available_baselines())}")
    try:
        return _BASELINES[name](input_dim, **params)
    except TypeError as error:
        raise ConfigError(f"baseline {name!r}: {error}") from error
