import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rl import stages as stages_module
from rl.stages import Stages, code_digest, digest_of_sources

ROOT = Path(__file__).parents[3]
KEY = {"data": "abc", "lr": 1e-3, "dims": [4, 4]}


def make(stages: Stages, key=KEY, text="part") -> bool:
    """Make a part, or find it; return whether it was made."""
    with stages.stage("clone", key) as (folder, is_finished):
        if not is_finished:
            (folder / "weights").write_text(text)
        assert (folder / "weights").read_text() == "part"
        return not is_finished


def folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def test_a_finished_part_is_found_again(tmp_path) -> None:
    assert make(Stages(tmp_path))
    assert not make(Stages(tmp_path))
    (folder,) = folders(tmp_path)
    assert folder.name.startswith("clone-")
    facts = json.loads((folder / "stage.json").read_text())
    assert facts["key"] == {**KEY, "code": code_digest()}


@pytest.mark.parametrize(
    "change", [{"data": "abd"}, {"lr": 2e-3}, {"dims": [4]}, {"dims": None}, {"more": 1}]
)
def test_any_difference_of_the_key_gives_another_folder(tmp_path, change) -> None:
    make(Stages(tmp_path))
    assert make(Stages(tmp_path), {**KEY, **change})
    assert len(folders(tmp_path)) == 2


def test_a_part_that_other_code_made_is_not_taken(tmp_path, monkeypatch) -> None:
    make(Stages(tmp_path))
    monkeypatch.setattr(stages_module, "code_digest", lambda: "another")
    assert make(Stages(tmp_path))
    assert len(folders(tmp_path)) == 2


def test_an_edit_anywhere_in_the_library_is_seen(tmp_path) -> None:
    packages = [tmp_path / name for name in ("gormpo_density", "rl")]
    for package in packages:
        shutil.copytree(ROOT / package.name, package)
    seen = [code_digest(), digest_of_sources(*packages)]
    for file in ("rl/warm_start.py", "gormpo_density/models/nets.py"):
        with (tmp_path / file).open("a") as source:
            source.write("# edited\n")
        seen.append(digest_of_sources(*packages))
    (tmp_path / "rl" / "warm_start.py").rename(tmp_path / "rl" / "another.py")
    seen.append(digest_of_sources(*packages))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 4


def test_the_order_of_a_key_does_not_matter(tmp_path) -> None:
    make(Stages(tmp_path))
    assert not make(Stages(tmp_path), dict(reversed(KEY.items())))


def test_names_keep_parts_apart(tmp_path) -> None:
    make(Stages(tmp_path))
    with Stages(tmp_path).stage("critics", KEY) as (_, is_finished):
        assert not is_finished


def fail(stages: Stages) -> None:
    with stages.stage("clone", KEY) as (folder, _):
        (folder / "checkpoint").write_text("half")
        raise KeyError


def test_a_part_that_failed_is_made_again_from_what_it_left(tmp_path) -> None:
    with pytest.raises(KeyError):
        fail(Stages(tmp_path))
    with Stages(tmp_path).stage("clone", KEY) as (folder, is_finished):
        assert not is_finished
        assert (folder / "checkpoint").read_text() == "half"
    with Stages(tmp_path).stage("clone", KEY) as (_, is_finished):
        assert is_finished


def test_two_threads_never_make_the_same_part(tmp_path) -> None:
    inside, most, made = [], [], []

    def work() -> None:
        with Stages(tmp_path).stage("clone", KEY) as (_, is_finished):
            inside.append(1)
            most.append(len(inside))
            made.append(not is_finished)
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert sorted(made) == [False] * 5 + [True]


def test_other_parts_need_not_wait(tmp_path) -> None:
    with Stages(tmp_path).stage("clone", KEY):
        assert make(Stages(tmp_path), {"other": 1})


HOLD = """
import sys, time
from pathlib import Path
from rl.stages import Stages
with Stages(Path(sys.argv[1])).stage("clone", {"data": "abc"}) as (folder, _):
    (folder / "checkpoint").write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_process_lets_others_go_on(tmp_path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        got = threading.Event()

        def wait() -> None:
            with Stages(tmp_path).stage("clone", {"data": "abc"}) as (folder, is_finished):
                assert not is_finished
                assert (folder / "checkpoint").read_text() == "half"
                got.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(0.2)
        holder.send_signal(signal.SIGKILL)
    waiting.join(60)
    assert got.is_set()


def test_cpu_seconds_count_parts_made_by_others_too(tmp_path) -> None:
    first, second = Stages(tmp_path), Stages(tmp_path)
    make(first)
    make(second)
    assert first.cpu_seconds == first.cpu_seconds_here == second.cpu_seconds
    assert second.cpu_seconds_here == 0
