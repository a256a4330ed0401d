"""Wrong files and places, as a newcomer names them: one message that says what and where."""

import errno
import os
import re
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen2reco import (
    cli,
    compare,
    info,
    init,
    load_study,
    open_events,
    save_emulator,
    schema,
    simulate,
    train,
    validate,
    write_events,
)
from gen2reco.emulator import check_replaceable, load_emulator
from gen2reco.errors import (
    EmulatorError,
    EventFileError,
    OutputExistsError,
    StudyError,
    TrainingError,
)
from gen2reco.events import Jagged, to_events
from gen2reco.events.parquet import ParquetWriter
from gen2reco.study import Study
from gen2reco.verbs.report_folder import place_report
from gen2reco.verbs.training_rows import read_tables


@pytest.fixture
def table(gen_file):
    return pq.read_table(gen_file).slice(0, 60)


def stored(folder, table, name="events.parquet"):
    pq.write_table(table, folder / name)
    return folder / name


def with_values(table, name, values, kind=None):
    index = table.schema.get_field_index(name)
    kind = kind or table.schema.field(index).type
    changed = table.set_column(index, name, pa.array(values, kind))
    return changed.cast(pa.schema(field.with_nullable(True) for field in changed.schema))


class TestColumns:
    def test_a_column_of_text(self, small_emulator, table, tmp_path):
        texts = [str(value) for value in table["GenMET_pt"].to_pylist()]
        path = stored(tmp_path, with_values(table, "GenMET_pt", texts, pa.string()))
        with pytest.raises(
            StudyError, match=r"events\.parquet.*'pt': GenMET_pt holds string, not a number or a"
        ):
            simulate(small_emulator, path, tmp_path / "reco.parquet")

    def test_an_object_all_of_text(self, small_emulator, table, tmp_path):
        for name in ("GenMET_pt", "GenMET_phi"):
            table = with_values(table, name, ["?"] * len(table), pa.string())
        with pytest.raises(StudyError, match=r"'GenMET' cannot be used: GenMET_p\w+ holds string"):
            simulate(small_emulator, stored(tmp_path, table), tmp_path / "reco.parquet")

    def test_a_number_among_lists(self, small_emulator, table, tmp_path):
        path = stored(tmp_path, with_values(table, "GenJet_pt", [1.0] * len(table), pa.float32()))
        with pytest.raises(StudyError, match="GenJet_pt is one number per event, not a list"):
            simulate(small_emulator, path, tmp_path / "reco.parquet")

    def test_a_column_that_one_of_the_files_lacks(self, small_emulator, table, tmp_path):
        whole = stored(tmp_path, table, "a.parquet")
        other = stored(tmp_path, table.drop_columns(["GenMET_phi"]), "b.parquet")
        with pytest.raises(StudyError, match=r"GenMET_phi is missing in .*b\.parquet"):
            simulate(small_emulator, [whole, other], tmp_path / "reco.parquet")

    def test_a_column_of_two_shapes(self, small_emulator, table, tmp_path):
        whole = stored(tmp_path, table, "a.parquet")
        lists = [[value] for value in table["GenMET_phi"].to_pylist()]
        other = stored(
            tmp_path, with_values(table, "GenMET_phi", lists, pa.list_(pa.float32())), "b.parquet"
        )
        with pytest.raises(
            StudyError,
            match=r"GenMET_phi is a list per event in .*b\.parquet and a number in .*a\.parquet",
        ):
            simulate(small_emulator, [whole, other], tmp_path / "reco.parquet")

    def test_training_and_judging_name_the_file(self, small_emulator, table, tmp_path):
        path = stored(tmp_path, table.drop_columns(["Muon_pt"]))
        with pytest.raises(StudyError, match=r"events\.parquet: the study does not fit.*Muon"):
            train("wjet", path, tmp_path / "model")
        with pytest.raises(StudyError, match=r"events\.parquet: these events cannot.*Muon"):
            validate(small_emulator, path, tmp_path / "report")

    def test_no_events_to_judge(self, small_emulator, table, tmp_path):
        path = stored(tmp_path, table.slice(0, 0))
        with pytest.raises(EventFileError, match="there are no events to judge"):
            validate(small_emulator, path, tmp_path / "report")
        whole = stored(tmp_path, table, "whole.parquet")
        for pair in ((path, whole), (whole, path)):
            with pytest.raises(
                EventFileError, match=r"events\.parquet: there are no .* to compare"
            ):
                compare(*pair, tmp_path / "report")


class TestIds:
    def test_repeated_events_are_refused(self, small_emulator, table, tmp_path):
        events = table["event"].to_pylist()
        events[41] = events[7]
        path = stored(tmp_path, with_values(table, "event", events))
        with pytest.raises(
            EventFileError, match=rf"row 41: run .*event {events[7]} is in row 7 already.*ids"
        ):
            simulate(small_emulator, path, tmp_path / "reco.parquet")

    def test_events_of_one_file_are_not_those_of_another(self, small_emulator, table, tmp_path):
        files = [
            stored(tmp_path, table.slice(0, 40), "a.parquet"),
            stored(tmp_path, table.slice(30, 30), "b.parquet"),
        ]
        with pytest.raises(
            EventFileError, match=r"b\.parquet, row 0: run .* is in row 30 of .*a\.parquet already"
        ):
            simulate(small_emulator, files, tmp_path / "reco.parquet")

    def test_the_same_number_in_another_run_is_another_event(self, small_emulator, table, tmp_path):
        twice = pa.concat_tables(
            [
                with_values(table, "run", [run + more for run in table["run"].to_pylist()])
                for more in (0, 1)
            ]
        )
        made = simulate(small_emulator, stored(tmp_path, twice), tmp_path / "reco.parquet")
        assert made.read == 120


class TestOptions:
    def test_they_are_refused_before_a_file_is_read(self, small_emulator, tmp_path):
        for options, message in (
            ({"policy": "dorp"}, "error, drop, flag, not 'dorp'. Did you mean 'drop'"),
            ({"oversample": 70_000}, "between 1 and 65536"),
        ):
            with pytest.raises(StudyError, match=message):
                simulate(small_emulator, "no_file.parquet", tmp_path / "reco.parquet", **options)
        with pytest.raises(StudyError, match=r"auto, test, all, not 'tset'. Did you mean 'test'"):
            validate(small_emulator, "no_file.parquet", tmp_path / "report", split="tset")

    def test_mistakes_of_a_study_are_told_before_events_are_read(self, tmp_path):
        with pytest.raises(StudyError, match=r"no family 'mixd'.*Did you mean 'mixed'"):
            train("wjet", "no_file.parquet", tmp_path / "m", overrides={"model.kind": "mixd"})
        with pytest.raises(StudyError, match="overrides act on a study file"):
            train(load_study("wjet"), overrides={"training.epochs": 1}, output=tmp_path / "m")

    def test_negative_seeds(self, small_emulator, tmp_path):
        for verb in (
            lambda: validate(small_emulator, "no_file.parquet", tmp_path / "report", seed=-1),
            lambda: compare("no_file.parquet", "no_file.parquet", tmp_path / "report", seed=-1),
        ):
            with pytest.raises(StudyError, match="a seed is a whole number from 0 on, not -1"):
                verb()

    def test_a_study_in_the_place_of_an_emulator(self, gen_file, tmp_path):
        with pytest.raises(EmulatorError, match=r"wjet, which is a study.*gen2reco train wjet"):
            simulate("wjet", gen_file, tmp_path / "reco.parquet")

    def test_names_that_nothing_has(self, small_emulator):
        with pytest.raises(EmulatorError, match=r"no emulator at .*modle. Did you mean .*model"):
            load_emulator(small_emulator.with_name("modle"))
        with pytest.raises(EmulatorError, match=r"no file of events at .*modle. Did you mean"):
            info(small_emulator.with_name("modle"))
        with pytest.raises(StudyError, match=r"'study' and 'expressions'"):
            schema("x")


class TestPlaces:
    def test_an_input_is_not_written_over(self, small_emulator, table, tmp_path):
        path = stored(tmp_path, table)
        before = path.read_bytes()
        for verb in (
            lambda: simulate(small_emulator, path, tmp_path / "." / path.name, overwrite=True),
            lambda: init(path, path, overwrite=True),
        ):
            with pytest.raises(EventFileError, match="it is read and cannot be the output"):
                verb()
        assert path.read_bytes() == before

    def test_what_is_not_ours_is_not_replaced(self, small_emulator, table, tmp_path):
        """A folder goes with all that is in it, so `--overwrite` must not mean any folder."""
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.tex").write_text("years")
        path = stored(tmp_path, table)
        for place in (tmp_path / "thesis", path):
            with pytest.raises(OutputExistsError, match="is there and is not an emulator"):
                train("wjet", output=place, overwrite=True)
            with pytest.raises(OutputExistsError, match="is there and is not a report"):
                validate(small_emulator, path, place, overwrite=True)
        assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years"
        (tmp_path / "empty").mkdir()
        check_replaceable(tmp_path / "empty", overwrite=True)

    def test_a_report_takes_the_place_of_a_link_to_one(self, tmp_path):
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "report.json").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "old")
        place_report(
            tmp_path / "link", True, lambda folder: (folder / "report.json").write_text("new")
        )
        assert not (tmp_path / "link").is_symlink()
        assert (tmp_path / "link" / "report.json").read_text() == "new"
        assert (tmp_path / "old" / "report.json").read_text() == "old"

    def test_checkpoints_of_another_study_are_left_alone(
        self, small_wjet, quick_hmumu, hmumu_sample, tmp_path
    ):
        """Parts of other names would be trained from nothing, and the checkpoints be removed."""
        scratch = tmp_path / "model.training"

        def stop(report):
            if report.kind == "epoch":
                raise ConnectionError

        with pytest.raises(ConnectionError):
            train("wjet", output=tmp_path / "model", overrides=small_wjet, progress=stop)
        before = {path: path.read_bytes() for path in scratch.rglob("*") if path.is_file()}
        assert any(path.suffix == ".safetensors" for path in before)
        with pytest.raises(
            TrainingError, match=r"training belongs to another fit: .*study wjet .*study hmumu"
        ):
            train(
                "hmumu",
                hmumu_sample,
                tmp_path / "model",
                overrides=quick_hmumu,
                resume=True,
                progress=stop,
            )
        after = {path: path.read_bytes() for path in scratch.rglob("*") if path.is_file()}
        assert after == before

    def test_emulators_replace_emulators(self, small_emulator, tmp_path):
        for name in ("model", "model.zip"):
            save_emulator(load_emulator(small_emulator), tmp_path / name)
            with pytest.raises(OutputExistsError, match="--overwrite"):
                save_emulator(load_emulator(small_emulator), tmp_path / name)
            save_emulator(load_emulator(small_emulator), tmp_path / name, overwrite=True)
        shutil.make_archive(str(tmp_path / "other"), "zip", small_emulator.parent)
        with pytest.raises(OutputExistsError, match="is not an emulator"):
            check_replaceable(tmp_path / "other.zip", overwrite=True)
        assert sorted(item.name for item in tmp_path.iterdir()) == [
            "model",
            "model.zip",
            "other.zip",
        ]


def test_a_root_file_that_is_cut_off_is_refused_though_its_tree_can_be_found(gen_file, tmp_path):
    whole = tmp_path / "whole.root"
    write_events(whole, list(open_events(gen_file)))
    content = whole.read_bytes()
    for share in (0.5, 0.95, 0.999):
        cut = tmp_path / "cut.root"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(EventFileError, match=r"cut\.root: it is (cut off|not readable)"):
            list(open_events(cut))
    assert np.sum([len(chunk) for chunk in open_events(whole)]) == 3000


class TestDisk:
    def test_a_place_that_cannot_be_written(self, small_emulator, gen_file):
        with pytest.raises(EventFileError, match=r"/proc/reco\.parquet: it cannot be written"):
            simulate(small_emulator, gen_file, "/proc/reco.parquet")

    def test_a_full_disk_names_the_file_and_leaves_nothing(
        self, small_emulator, gen_file, tmp_path, monkeypatch
    ):
        def full(self, columns):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(ParquetWriter, "write", full)
        with pytest.raises(EventFileError, match=r"reco\.parquet: .* No space left on device"):
            simulate(small_emulator, gen_file, tmp_path / "reco.parquet")
        assert list(tmp_path.iterdir()) == []

    def test_the_command_line_says_what_the_system_said(self, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["gen2reco", "train", "wjet", "-o", "/proc/no/model"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        assert re.fullmatch(r"gen2reco: error: .*'/proc/no.*\n", capsys.readouterr().err)


def test_no_events_to_learn_from(table, tmp_path):
    path = stored(tmp_path, table.slice(0, 0))
    with pytest.raises(EventFileError, match=r"events\.parquet: there are no events to learn from"):
        train("wjet", path, tmp_path / "model")


def test_parts_of_which_no_event_has_all_are_said_so_though_rows_are_enough(tmp_path):
    """Jets in even events, muons in odd ones: there are no reference events."""
    number = np.arange(1000)
    columns = {
        "run": np.ones(1000, np.uint32),
        "luminosityBlock": np.ones(1000, np.uint32),
        "event": number.astype(np.uint64),
        "GenMET_pt": number.astype(np.float32),
    }
    for name, there in (("Jet", number % 2 == 0), ("Muon", number % 2 == 1)):
        offsets = np.concatenate([[0], np.cumsum(there)])
        columns[f"{name}_pt"] = Jagged(offsets, number[there].astype(np.float32))
    write_events(tmp_path / "both.parquet", [to_events(columns)])
    parts = [
        {
            "name": name.lower(),
            "rows": {"kind": "event", "pairing": "paired"},
            "condition": [{"name": "met", "value": "GenMET.pt"}],
            "target": [{"name": "pt", "value": f"leading({name}).pt"}],
            "model": {"kind": "flow"},
            "output": {f"Made{name}": {"pt": "pt"}},
        }
        for name in ("Jet", "Muon")
    ]
    study = Study.model_validate({"name": "apart", "parts": parts})
    with pytest.raises(TrainingError, match=r"no event of .* has a row in every part"):
        read_tables(study, open_events(tmp_path / "both.parquet"))
