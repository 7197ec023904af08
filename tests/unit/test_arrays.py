import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.arrays import check_finite, check_shape, to_kind, to_tensor
from gormpo_density.errors import DataError, ShapeError

PROPERTY = settings(derandomize=True, max_examples=30, deadline=None)
ROWS = np.arange(6.0).reshape(3, 2)
FLOAT32 = torch.zeros(())


@PROPERTY
@given(event=st.lists(st.integers(1, 8), min_size=1, max_size=2), batch=st.sampled_from([0, 1, 5]))
def test_a_batch_of_events_passes(event, batch):
    check_shape(np.zeros((batch, *event)), tuple(event), "x")
    check_shape(torch.zeros(batch, *event), tuple(event), "x")


@pytest.mark.parametrize(
    ("shape", "event", "text"),
    [
        ((5, 3), (2,), r"x must have shape \(B, 2\), got \(5, 3\)"),
        ((2,), (2,), r"x must have shape \(B, 2\), got \(2,\)"),
        ((), (2,), r"x must have shape \(B, 2\), got \(\)"),
        ((5, 2), (4, 2), r"x must have shape \(B, 4, 2\), got \(5, 2\)"),
        ((5, 4, 2), (2,), r"x must have shape \(B, 2\), got \(5, 4, 2\)"),
    ],
)
def test_another_shape_is_named_beside_the_right_one(shape, event, text):
    for x in (np.zeros(shape), torch.zeros(shape)):
        with pytest.raises(ShapeError, match=text):
            check_shape(x, event, "x")


def test_a_list_is_refused_by_name():
    with pytest.raises(DataError, match="x must be a numpy array or a tensor, got list"):
        check_shape([[1.0, 2.0]], (2,), "x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_bad_value_is_named_by_column_and_row(value):
    x = np.zeros((4, 3, 2))
    x[2, 1, 0] = x[3, 0, 0] = value
    for data in (x, torch.from_numpy(x)):
        with pytest.raises(
            DataError, match=f"^x column 1, 0 row 2 is {value} \\(2 such values\\)$"
        ):
            check_finite(data, "x")
        with pytest.raises(DataError, match=f"^x column 0 row 2 is {value} "):
            check_finite(data[:, 1], "x")
        with pytest.raises(DataError, match=f"^x row 2 is {value} "):
            check_finite(data[:, 1, 0], "x")


@pytest.mark.parametrize("x", [ROWS, ROWS[:0], ROWS.astype(int), ROWS > 2, ROWS * 1e300])
def test_finite_values_pass(x):
    check_finite(x, "x")
    check_finite(torch.from_numpy(x), "x")


@pytest.mark.parametrize("dtype", [object, str, complex])
def test_what_is_no_real_number_is_refused(dtype):
    for call in (lambda x: check_finite(x, "x"), lambda x: to_tensor(x, FLOAT32)):
        with pytest.raises(DataError, match="does not hold real numbers"):
            call(ROWS.astype(dtype))


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "x",
    [
        ROWS,
        ROWS.astype(np.float16),
        ROWS.astype(np.int64),
        ROWS.astype(">f8"),
        ROWS[::-1],
        np.asfortranarray(ROWS),
        ROWS.T,
        read_only(ROWS),
        ROWS[:0],
    ],
)
def test_every_layout_of_an_array_becomes_an_equal_tensor(x):
    check_finite(x, "x")
    tensor = to_tensor(x, FLOAT32)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), x)


def test_a_tensor_takes_the_dtype_of_another():
    rows = torch.from_numpy(ROWS)
    assert to_tensor(rows, FLOAT32).dtype == torch.float32
    assert to_tensor(rows, rows) is rows


def test_the_result_is_of_the_callers_kind():
    result = torch.ones(3)
    assert isinstance(to_kind(result, ROWS), np.ndarray)
    assert to_kind(result, torch.from_numpy(ROWS)) is result
