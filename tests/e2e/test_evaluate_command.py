"""`python -m gormpo_density.evaluate`: saved runs measured again, and against each other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.fixture
def run(finished_run, tmp_path) -> Path:
    """A finished run of one's own, to leave an evaluation in."""
    return shutil.copytree(finished_run.path, tmp_path / "flow")


@pytest.fixture
def train_other(train, transitions, tmp_path):
    """Return a function that makes another run on the same data, and returns its folder."""

    def make(name: str, *args: object) -> Path:
        path = tmp_path / name
        own = ("--data_path", transitions, "--model", "gmm", "--set", "ood=[obs1, perm]")
        outcome = train(*own, "--quiet", "--device", "cpu", "--run-dir", path, *args)
        assert outcome.code == 0, outcome.err
        return path

    return make


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


def test_a_run_is_measured_again_to_the_same_numbers(run, evaluate) -> None:
    outcome = evaluate(run, "--quiet", "--device", "cpu")
    assert outcome.code == 0
    assert outcome.err == ""
    before, again = metrics(run), metrics(run / "evaluation")
    thresholds = {key for key in again if key.startswith("flow.alpha")}
    assert again.keys() - thresholds == {f"flow.{key}" for key in before} & again.keys()
    assert all(again[f"flow.{key}"] == before[key] for key in before if f"flow.{key}" in again)
    assert again["flow.alpha0.05.threshold"] == before["threshold"]
    assert again["flow.alpha0.05.false_alarm_rate"] == before["false_alarm_rate"]
    assert again["flow.alpha0.2.detection.perm"] >= again["flow.alpha0.05.detection.perm"]
    assert {"flow.test_nll", "flow.threshold", "flow.ood.perm.fpr95"} <= again.keys()
    header, obs1, perm, mean, trivial, *_ = outcome.out.splitlines()
    assert header.split() == ["set", "flow"]
    aurocs = [before["ood.obs1.roc_auc"], before["ood.perm.roc_auc"]]
    assert [obs1.split(), perm.split(), mean.split()] == [
        ["obs1", f"{aurocs[0]:.3f}"],
        ["perm", f"{aurocs[1]:.3f}"],
        ["mean", f"{np.mean(aurocs):.3f}"],
    ]
    assert trivial.startswith("(random or constant score)")
    page = run / "evaluation" / "report.html"
    assert outcome.out.splitlines()[-1] == f"report: {page}"
    assert "Evaluation: flow" in page.read_text()
    assert (run / "evaluation" / "plots" / "ood_levels.png").is_file()


def test_other_sets_can_be_asked_for(run, evaluate, written) -> None:
    far = written("far.npz", obs=np.full((20, 3), 9.0), action=np.ones((20, 2)), n_episodes=2)
    outcome = evaluate(run, "--ood", "obs0.25", far, "--quiet")
    assert outcome.code == 0
    names = [line.split()[0] for line in outcome.out.splitlines()[1:3]]
    assert names == ["obs0.25", str(far)]
    assert metrics(run / "evaluation")[f"flow.ood.{far}.roc_auc"] == 1


def test_runs_are_compared_by_an_interval_over_episodes(run, train_other, evaluate) -> None:
    mixture, twin = train_other("mixture"), train_other("twin")
    outcome = evaluate(mixture, "--compare", run, twin, "--quiet")
    assert outcome.code == 0
    header, *_ = outcome.out.splitlines()
    assert header.split() == ["set", "mixture", "flow", "twin"]
    found = metrics(mixture / "evaluation")
    low, estimate, high = (
        found[f"flow.auroc_difference{end}"] for end in ("_ci_low", "", "_ci_high")
    )
    sets = ("obs1", "perm")
    aurocs = {
        name: np.mean([found[f"{name}.ood.{level}.roc_auc"] for level in sets])
        for name in ("mixture", "flow")
    }
    assert estimate == pytest.approx(aurocs["flow"] - aurocs["mixture"])
    assert low < estimate < high
    assert [found[f"twin.auroc_difference{end}"] for end in ("_ci_low", "", "_ci_high")] == [0] * 3
    line = next(line for line in outcome.out.splitlines() if line.startswith("flow "))
    assert line.split()[-3:] == [f"{value:.3f}" for value in (estimate, low, high)]


def test_runs_on_other_rows_are_refused(run, train_other, evaluate) -> None:
    others = [train_other("seed1", "--seed", 1), train_other("half", "--test_ratio", 0.5)]
    outcome = evaluate(run, "--compare", *others)
    assert outcome.code == 2
    lines = outcome.err.splitlines()
    assert [line.split()[0] for line in lines] == [str(other) for other in others]
    assert all("has other data, splits or seed than" in line for line in lines)
    assert not (run / "evaluation").exists()


def test_a_run_cannot_be_compared_with_itself(run, evaluate) -> None:
    assert evaluate(run, "--compare", run).err == "two runs are called flow\n"


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "no model.safetensors in it, nor in its folder model/"),
        (truncate, "not a readable gormpo_density file"),
        (lambda file: file.write_bytes(b"{}" * 50), "not a readable gormpo_density file"),
    ],
    ids=["missing", "truncated", "not ours"],
)
def test_a_run_without_a_model_that_can_be_read_is_told(run, evaluate, damage, reason) -> None:
    damage(run / "model" / "model.safetensors")
    outcome = evaluate(run)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith(str(run))
    assert reason in outcome.err


def test_what_is_no_run_is_told(tmp_path, evaluate) -> None:
    outcome = evaluate(tmp_path)
    assert outcome.code == 2
    assert outcome.err == f"{tmp_path} is not a run folder: it has no config.yaml\n"
