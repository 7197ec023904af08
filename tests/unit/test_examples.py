import re

import pytest

from gormpo_density import examples
from gormpo_density.data import minari
from gormpo_density.examples import EXAMPLES, main


@pytest.fixture(autouse=True)
def small_datasets(monkeypatch):
    monkeypatch.setitem(minari._PARTS, "medium", {"medium": 20_000})


def numbers(text: str) -> list[float]:
    return [float(word.replace(",", "")) for word in re.findall(r"-?\d[\d,]*\.?\d*", text)]


@pytest.fixture
def printed(capsys):
    """Return a function that runs an example and gives what it prints, as text and numbers."""

    def run(name: str) -> tuple[str, list[float]]:
        assert main([name]) == 0
        heading, _, text = capsys.readouterr().out.strip().partition("\n")
        assert heading.startswith(f"{name}: ")
        return text, numbers(text)

    return run


def test_every_example_of_the_module_can_be_named() -> None:
    functions = {name for name in vars(examples) if name.startswith("example_")}
    assert {f"example_{name}" for name in EXAMPLES} == functions


def test_synthetic_data_shows_the_parts_of_the_loss(printed) -> None:
    text, values = printed("synthetic_data")
    assert [line.split()[0] for line in text.splitlines()[:3]] == ["train", "val", "test"]
    total, recon, kl = values[3:6]
    assert total == pytest.approx(recon + kl, abs=2e-3)


def test_anomaly_detection_keeps_its_false_alarm_rate(printed) -> None:
    _, (_, nominal, false_alarms, detected, auroc, accuracy) = printed("anomaly_detection")
    assert nominal == 5
    assert false_alarms < 10
    assert detected > 90
    assert min(auroc, accuracy) > 0.9


def test_rl_dataset_tells_random_actions_from_the_data(printed) -> None:
    _, (n_rows, width, score, random_score, auroc) = printed("rl_dataset")
    assert (n_rows, width) == (pytest.approx(2400, abs=600), 5)
    assert random_score < score
    assert auroc > 0.7


def test_own_arrays_end_in_a_penalty_that_tells_actions_apart(printed) -> None:
    _, (own, opposite) = printed("own_arrays")
    assert own < 0.2
    assert opposite > 20 * own


def test_save_and_load_gives_the_same_scores(printed) -> None:
    text, _ = printed("save_and_load")
    assert text.startswith("same scores: True")


def test_latent_space_analysis_samples_rows_like_the_data(printed) -> None:
    _, values = printed("latent_space_analysis")
    assert values[-2] == pytest.approx(values[-1], rel=0.25)


def test_a_larger_beta_gives_a_smaller_kl(printed) -> None:
    text, _ = printed("beta_vae")
    betas, recons, kls, bounds = zip(*map(numbers, text.splitlines()), strict=True)
    assert betas == (0.1, 1, 4)
    assert sorted(recons) == list(recons)
    assert sorted(kls, reverse=True) == list(kls)
    assert bounds[1] == min(bounds)


def test_an_unknown_name_is_told_in_one_line(capsys) -> None:
    assert main(["sythetic_data"]) == 2
    told = capsys.readouterr().err
    assert "sythetic_data" in told
    assert "synthetic_data" in told
    assert told.count("\n") == 1
