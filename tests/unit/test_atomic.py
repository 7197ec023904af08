import errno
import os
import signal
import subprocess
import sys

import pytest

from gormpo_density import atomic
from gormpo_density.atomic import replacing


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


def names(path):
    return [entry.name for entry in path.parent.iterdir()]


def test_the_new_file_takes_the_place_of_the_old(path):
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename cannot cross file systems
    assert path.read_text() == "new"
    assert names(path) == ["file"]


def test_missing_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(path) as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_the_umask_of_other_threads_is_left_alone(path, monkeypatch):
    def refuse(mask):
        raise AssertionError("the umask belongs to the whole process")

    monkeypatch.setattr(os, "umask", refuse)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_an_error_while_writing_keeps_the_old(path):
    def write(temporary):
        temporary.write_text("half of the n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        write(temporary)
    assert path.read_text() == "old"
    assert names(path) == ["file"]


def test_a_full_disk_keeps_the_old(path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error, replacing(path) as temporary:
        temporary.write_text("new")
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert names(path) == ["file"]


def test_content_reaches_the_disk_before_the_name_does(path, monkeypatch):
    events = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spy(*args, name=name, real=real):
            events.append(name)
            return real(*args)

        monkeypatch.setattr(atomic.os, name, spy)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert events == ["fsync", "replace", "fsync"]


PROGRAM = """
import os, pathlib, signal, sys
from gormpo_density.atomic import replacing
with replacing(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 of POSIX")
def test_kill_9_keeps_the_old(path):
    killed = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
