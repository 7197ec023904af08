import pytest

from gormpo_density.errors import ConfigError
from gormpo_density.models.realnvp import RealNVP


@pytest.mark.parametrize("wrong", [{"mixing": "liner"}, {"precision": "bf16"}])
def test_a_misspelt_choice_is_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigError, match=f"{name} must be '.*' or '.*', got '{value}'"):
        RealNVP(2, **wrong)
