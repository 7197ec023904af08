import pytest

from gormpo_density.errors import ConfigError, DataError, ShapeError


@pytest.mark.parametrize("error", [ConfigError, DataError, ShapeError])
def test_an_error_tells_every_problem_on_a_line(error):
    assert error("one").problems == ("one",)
    assert error(["one", "two"]).problems == ("one", "two")
    assert str(error(["one", "two"])) == "one\ntwo"
