import pytest

from gormpo_density.evaluate import main


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "the following arguments are required: RUN"),
        (["run", "--odd", "obs1"], "argument --odd is unknown, did you mean --ood?"),
        (["run", "--ood"], "argument --ood: expected at least one argument"),
        (["run", "--device", "gpu"], "device 'gpu' is unknown; choose from auto, cpu, cuda, "),
        (["nowhere"], "nowhere is not a run folder: it has no config.yaml"),
    ],
)
def test_a_wrong_use_is_told_in_one_line(words, problem, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith(problem)
    assert told.count("\n") == 1
