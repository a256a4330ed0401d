import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gen2reco.errors import OutputExistsError
from gen2reco.events.publish import publish, publish_folder, remove_stale, temporary_name


def test_temporary_names_are_hidden_and_unique(tmp_path):
    first, second = temporary_name(tmp_path / "a.root"), temporary_name(tmp_path / "a.root")
    assert first != second
    assert first.parent == tmp_path
    assert first.name.startswith(".a.root.")
    assert f"-{os.getpid()}-" in first.name


def test_the_first_one_wins(tmp_path):
    path = tmp_path / "a"
    for text in ("first", "second"):
        (tmp_path / f".{text}").write_text(text)
    publish(tmp_path / ".first", path)
    with pytest.raises(OutputExistsError, match="already there"):
        publish(tmp_path / ".second", path)
    assert path.read_text() == "first"
    assert not (tmp_path / ".first").exists()
    assert (tmp_path / ".second").exists()
    publish(tmp_path / ".second", path, overwrite=True)
    assert path.read_text() == "second"


def test_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a"
    (tmp_path / ".one").write_text("one")
    publish(tmp_path / ".one", path)
    (tmp_path / ".two").write_text("two")
    with pytest.raises(OutputExistsError):
        publish(tmp_path / ".two", path)
    assert path.read_text() == "one"


def test_a_dangling_link_is_an_existing_output(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".one").write_text("one")
    with pytest.raises(OutputExistsError):
        publish(tmp_path / ".one", tmp_path / "a")


def test_a_folder_takes_the_place_of_another_and_of_a_link(tmp_path):
    for name in ("old", "new", "newer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "old", target_is_directory=True)
    publish_folder(tmp_path / "new", tmp_path / "link")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link" / "name").read_text() == "new"
    assert (tmp_path / "old" / "name").read_text() == "old"
    publish_folder(tmp_path / "newer", tmp_path / "link")
    assert (tmp_path / "link" / "name").read_text() == "newer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]


def test_the_old_folder_outlives_a_kill_before_the_new_one_has_its_name(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    rename = Path.rename

    def killed(self, target):
        if self.name == "new":
            raise InterruptedError
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(InterruptedError):
        publish_folder(tmp_path / "new", tmp_path / "old")
    assert sorted(path.read_text() for path in tmp_path.rglob("name")) == ["new", "old"]


def test_only_what_dead_processes_left_is_removed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from gen2reco.events.publish import temporary_name;"
        "p = temporary_name(Path(sys.argv[1])); p.write_text('x'); print(p)"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "a.root")]
    dead = Path(subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip())
    alive = temporary_name(tmp_path / "a.root")
    elsewhere = tmp_path / f".a.root.another-machine-{10**9}-0.part"
    foreign = tmp_path / ".settings.part"
    for file in (alive, elsewhere, foreign):
        file.write_text("x")
    assert dead.exists()
    remove_stale(tmp_path)
    assert not dead.exists()
    assert alive.exists()
    assert elsewhere.exists()
    assert foreign.exists()
