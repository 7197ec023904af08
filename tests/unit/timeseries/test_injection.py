import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.errors import ConfigError, DataError, ShapeError
from gormpo_density.timeseries.simulate import INJECTED_KINDS, inject_anomalies
from gormpo_density.timeseries.simulate.events import Span, labels_of, place_spans, taper
from gormpo_density.timeseries.simulate.injection import speed_up

QUICK = settings(max_examples=25, derandomize=True, deadline=None)


def normal_series(seed, rows=600, channels=3):
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(rows)[:, None] / 7 + np.arange(channels))
    return wave + 0.1 * rng.standard_normal((rows, channels))


@QUICK
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(INJECTED_KINDS))
def test_labels_cover_exactly_the_changed_rows(seed, kind):
    values = normal_series(seed)
    result = inject_anomalies(values, np.random.default_rng(seed), kinds=[kind], share=0.2)
    np.testing.assert_array_equal((result.values != values).any(axis=1), result.labels)
    np.testing.assert_array_equal(result.types == kind, result.labels)
    assert result.labels.any()
    assert not result.labels[0]


@QUICK
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.99), windows=st.integers(2, 30))
def test_the_share_of_windows_is_changed_and_no_other(seed, share, windows):
    values = normal_series(seed, rows=20 * windows).reshape(windows, 20, 3)
    result = inject_anomalies(values, np.random.default_rng(seed), share=share)
    np.testing.assert_array_equal((result.values != values).any(axis=(1, 2)), result.labels)
    assert result.labels.sum() == max(1, round(share * windows))
    np.testing.assert_array_equal(result.types != "normal", result.labels)


@pytest.mark.parametrize("shape", [(600, 3), (30, 20, 3)])
def test_severity_zero_changes_the_labels_alone(shape):
    values = normal_series(0).reshape(shape)
    result = inject_anomalies(values, np.random.default_rng(0), severity=0.0)
    np.testing.assert_array_equal(result.values, values)
    assert result.labels.any()


def test_the_values_given_are_left_alone_and_a_seed_repeats():
    values = normal_series(0)
    before = values.copy()
    first, again = (inject_anomalies(values, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.types, again.types)


def test_kinds_are_equally_frequent_in_windows():
    values = normal_series(0, rows=2000).reshape(100, 20, 3)
    result = inject_anomalies(values, np.random.default_rng(0), share=0.5)
    kinds, counts = np.unique(result.types[result.labels], return_counts=True)
    assert set(kinds) == set(INJECTED_KINDS)
    assert set(counts) == {10}


def test_sizes_are_in_standard_deviations():
    values = normal_series(0, channels=1) * 1000
    sd = values.std()
    for kind, low, high in [("spike", 3, 6), ("shift", 1, 2)]:
        result = inject_anomalies(values, np.random.default_rng(0), kinds=[kind])
        moved = np.abs(result.values - values)[result.labels] / sd
        assert (moved >= low - 1e-9).all()
        assert (moved <= high + 1e-9).all()


def test_flat_stays_at_the_value_before():
    values = normal_series(0, channels=1)
    result = inject_anomalies(values, np.random.default_rng(0), kinds=["flat"], share=0.05)
    first = int(result.labels.argmax())
    last = first + int((~result.labels[first:]).argmax())
    np.testing.assert_allclose(result.values[first:last, 0], values[first - 1, 0], atol=1e-12)


def test_missing_values_stay_missing_and_constant_channels_are_moved():
    values = normal_series(0)
    values[100:400, 0] = np.nan
    values[:, 1] = 5.0
    result = inject_anomalies(values, np.random.default_rng(0), kinds=["shift"], share=0.5)
    np.testing.assert_array_equal(np.isnan(result.values), np.isnan(values))
    assert result.values[:, 1].std() > 0


BAD = {
    "kind": ({"kinds": ["spikes"]}, "kind 'spikes' is unknown, did you mean 'spike'?"),
    "none": ({"kinds": []}, "kinds is empty"),
    "share": ({"share": 0.0}, "share must lie between 0 and 1, is 0.0"),
    "length": ({"length": 1}, "length must be at least 2"),
    "severity": ({"severity": -1.0}, "severity must be at least 0"),
}


@pytest.mark.parametrize(("options", "text"), BAD.values(), ids=BAD)
def test_bad_options(options, text):
    with pytest.raises(ConfigError) as caught:
        inject_anomalies(normal_series(0), np.random.default_rng(0), **options)
    assert text in str(caught.value)


def test_bad_values():
    with pytest.raises(ShapeError, match=r"are \(5,\)"):
        inject_anomalies(np.ones(5), np.random.default_rng(0))
    with pytest.raises(DataError, match="no room for an anomaly"):
        inject_anomalies(np.ones((5, 1)), np.random.default_rng(0), kinds=["flat"])
    with pytest.raises(DataError, match="windows of 3 steps have no room"):
        inject_anomalies(np.ones((5, 3, 1)), np.random.default_rng(0))


@QUICK
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(1, 30), max_size=8),
    start=st.integers(0, 20),
    room=st.integers(0, 120),
    gap=st.integers(0, 6),
)
def test_spans_keep_apart(seed, lengths, start, room, gap):
    within = slice(start, start + room)
    kinds = [str(i) for i in range(len(lengths))]
    spans = place_spans(np.random.default_rng(seed), kinds, lengths, within, gap)
    edges = [start, *[row for span in spans for row in (span.start, span.stop)], start + room]
    assert all(edges[i + 1] - edges[i] >= gap for i in range(0, len(edges), 2)) or not spans
    assert all(span.stop - span.start == lengths[int(span.kind)] for span in spans)
    assert [span.kind for span in spans] == sorted((s.kind for s in spans), key=int)
    if sum(lengths) + gap * (len(lengths) + 1) <= room:
        assert len(spans) == len(lengths)


def test_spans_can_be_anywhere():
    rng = np.random.default_rng(0)
    starts = {place_spans(rng, ["a"], [3], slice(0, 6), 0)[0].start for _ in range(100)}
    assert starts == {0, 1, 2, 3}


def test_labels_of_spans():
    labels, types = labels_of([Span("a", 1, 3), Span("long", 4, 5)], 6)
    assert types.tolist() == ["", "a", "a", "", "long", ""]
    assert labels.tolist() == [False, True, True, False, True, False]


@given(length=st.integers(1, 40), ramp=st.integers(0, 40))
@QUICK
def test_a_taper_never_vanishes(length, ramp):
    weights = taper(length, ramp)
    assert weights.shape == (length,)
    assert ((weights > 0) & (weights <= 1)).all()
    np.testing.assert_allclose(weights, weights[::-1])


def test_speed_up_reads_ahead_and_turns_back_at_the_end():
    values = np.arange(100.0)[:, None]
    fast = speed_up(values, Span("speed_up", 10, 30), factor=2.0, ramp=2)
    np.testing.assert_allclose(fast[5:15, 0], 10 + 2 * np.arange(5, 15) + 1)
    late = speed_up(values, Span("speed_up", 80, 100), factor=2.0, ramp=2)
    assert late.max() <= 99
    np.testing.assert_allclose(late[12, 0], 99 - (80 + 25 - 99))
