"""What `python -m gormpo_density.augment` refuses: one line for each problem, exit code 2."""

import pytest

SERIES = "\t".join(str(i * i % 7) for i in range(12))
SHORT = "\t".join(str(i * i % 7) for i in range(9))


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--data-dir", "/nowhere"], "/nowhere: no such folder"),
        (["--data-path", "absent.npz"], "absent.npz: cannot be read"),
        (["--dataset", "no_module:load"], "data set 'no_module:load' cannot be imported"),
        (["--dataset", "shapes", "--set", "data.time_step=9"], "did you mean 'time_steps'"),
        (["--model", "kde"], "model 'kde' has no latent space to augment in"),
        (["--noise", "-1"], "augment.noise must be greater than or equal to 0, is -1"),
        (["--latent_dim", "0"], "model.latent_dim must be greater than or equal to 1, is 0"),
        (["--num-epochs", "0"], "fit.epochs must be greater than or equal to 1, is 0"),
        (["--set", "arms=[jiter]"], "arms.jiter: 'jiter' is unknown, did you mean 'jitter'"),
        (["--use-trained"], "--use-trained: no model in"),
        (["--export", "x.csv"], "--export x.csv: must end in .npz, .tsv, .ts"),
        (["--export", "x.ts", "--seeds", "1", "2"], "--export writes one file"),
        (["--nois", "1"], "argument --nois is unknown, did you mean --noise?"),
        (["--config", "augment/symbol"], "config 'augment/symbol' is not found; there are"),
    ],
)
def test_bad_configurations(command, tmp_path, monkeypatch, args, complaint) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command(*args, "--device", "cpu", "--quiet", "--run-dir", tmp_path / "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err.splitlines()[0]
    assert outcome.err.count("\n") == (2 if args[0] == "--num-epochs" else 1)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_too_many_folds_are_told_before_anything_is_trained(command, tmp_path, small) -> None:
    run = tmp_path / "run"
    outcome = command(*small, "--set", "evaluation.folds=99", "--run-dir", run)
    text = "evaluation.folds must be at most 12, the training rows; is 99\n"
    assert (outcome.code, outcome.err) == (2, text)
    assert not (run / "model").exists()


BAD_SETS = {
    "unknown": ({}, "Min", "no data set 'Min', did you mean 'Mine'? it holds Mine"),
    "lengths": (
        {"TRAIN": [f"1\t{SERIES}", f"2\t{SHORT}"]},
        "Mine",
        "line 2: length and channels are (9, 1) where the first is (12, 1); fill the gaps",
    ),
    "halves": (
        {"TRAIN": [f"1\t{SHORT}", f"2\t{SHORT}"]},
        "Mine",
        "Mine: windows of the two halves differ in shape: (9, 1) and (12, 1)",
    ),
    "missing": (
        {"TRAIN": [f"1\t{SERIES}", f"2\tNaN\t{SERIES[2:]}"]},
        "Mine",
        "line 2: step 0 is missing (1 such); fill the gaps",
    ),
    "test label": (
        {"TEST": [f"1\t{SERIES}", f"3\t{SERIES}"]},
        "Mine",
        "Mine: test labels ['3'] are not in the training part",
    ),
    "one class": (
        {"TRAIN": [f"1\t{SERIES}"] * 3, "TEST": [f"1\t{SERIES}"]},
        "Mine",
        "Mine: has a single class, '1'",
    ),
}


@pytest.mark.parametrize(("changes", "name", "complaint"), BAD_SETS.values(), ids=BAD_SETS)
def test_bad_sets_are_one_line(
    command, tmp_path, write_set, tiny, changes, name, complaint
) -> None:
    args = ("--dataset", name, "--data_dir", write_set(**changes), "--baseline")
    outcome = command(*tiny, *args, "--run-dir", tmp_path / "run")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert complaint in outcome.err


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("method", ["noise", "posterior", "interpolate", "class_gaussian"])
def test_a_class_of_one_row_is_augmented_like_the_others(
    command, tmp_path, write_set, tiny, method
) -> None:
    lines = [f"1\t{SERIES[::-1]}", f"1\t{SERIES}", f"1\t1{SERIES}", f"2\t3{SERIES}"]
    folder = write_set(TRAIN=lines)
    args = ("--dataset", "Mine", "--data_dir", folder, "--set", f"arms=[{method}]")
    outcome = command(*tiny, *args, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "NaN" not in (tmp_path / "run" / "metrics.json").read_text()
    assert "null" not in (tmp_path / "run" / "metrics.json").read_text()


def test_all_candidates_rejected_is_one_line_that_counts_them(command, tmp_path, training) -> None:
    args = ("--test-augment", "--noise", "1e6", "--set", "augment.accept=true")
    alpha = ("--set", "calibration.alpha=0.9")
    outcome = command(*training, *args, *alpha, "--run-dir", tmp_path / "run")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert "rejected" in outcome.err
