import json
import shutil
import zipfile

import awkward as ak
import pytest

from gen2reco import info, load_emulator, open_events, save_emulator, train
from gen2reco.emulator.migrations import FORMAT, MIGRATIONS, migrate
from gen2reco.emulator.reference import check_reference
from gen2reco.errors import EmulatorError, OutputExistsError


@pytest.fixture
def copy(small_emulator, tmp_path):
    return shutil.copytree(small_emulator, tmp_path / "copy")


def change(folder, **values):
    file = folder / "emulator.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_loading_gives_the_same_numbers(small_emulator, copy, gen_file):
    gen = next(iter(open_events(gen_file)))
    assert ak.array_equal(
        load_emulator(small_emulator).simulate(gen), load_emulator(copy).simulate(gen)
    )
    assert load_emulator(small_emulator).digest == load_emulator(copy).digest


def test_parts_that_are_not_those_of_the_study_are_damage(copy, hmumu_model, tmp_path):
    change(copy, parts=[])
    with pytest.raises(EmulatorError, match="damaged: it holds no part, and the study has event"):
        load_emulator(copy)
    fewer = shutil.copytree(hmumu_model, tmp_path / "fewer")
    parts = json.loads((fewer / "emulator.json").read_text())["parts"]
    change(fewer, parts=[part for part in parts if part["name"] != "jets.presence"])
    with pytest.raises(EmulatorError, match=r"and the study has .*jets\.presence"):
        load_emulator(fewer)


def test_a_zip_is_as_good_as_a_folder(small_emulator, tmp_path, gen_file):
    saved = save_emulator(load_emulator(small_emulator), tmp_path / "model.zip")
    assert zipfile.is_zipfile(tmp_path / "model.zip")
    loaded = load_emulator(tmp_path / "model.zip")
    assert loaded.digest == saved.digest
    gen = next(iter(open_events(gen_file)))
    assert ak.array_equal(loaded.simulate(gen), load_emulator(small_emulator).simulate(gen))


def test_a_zip_is_checked_as_a_folder_is(small_emulator, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "model"), "zip", small_emulator)
    assert info(packed, check=True).check == info(small_emulator, check=True).check
    bare = tmp_path / "bare.zip"
    save_emulator(load_emulator(small_emulator), bare)
    with pytest.raises(EmulatorError, match=r"bare\.zip holds no reference\.parquet.*train"):
        info(bare, check=True)


def test_reference_events_are_reproduced(small_emulator):
    check = check_reference(load_emulator(small_emulator), small_emulator)
    assert check.passed
    assert check.identical
    assert check.events >= 100


def test_other_weights_fail_the_reference_check(copy):
    shutil.copy(copy / "event-1.safetensors", copy / "event-0.safetensors")
    check = check_reference(load_emulator(copy), copy)
    assert not check.passed
    assert check.column


def test_saving_never_replaces_silently(small_emulator, copy):
    emulator = load_emulator(small_emulator)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        save_emulator(emulator, copy)
    assert save_emulator(emulator, copy, overwrite=True).digest == emulator.digest


@pytest.mark.parametrize("number", [FORMAT + 1, None, "1"])
def test_unknown_formats_are_refused_with_advice(copy, number):
    change(copy, format=number)
    with pytest.raises(EmulatorError, match="Install a newer gen2reco"):
        load_emulator(copy)


def test_older_formats_go_through_numbered_migrations(monkeypatch):
    monkeypatch.setitem(
        MIGRATIONS, FORMAT - 1, lambda document: document | {"format": FORMAT, "new": True}
    )
    assert migrate({"format": FORMAT - 1}, "model") == {"format": FORMAT, "new": True}
    with pytest.raises(EmulatorError, match="no longer reads"):
        migrate({"format": FORMAT - 2}, "model")


def test_damage_is_one_clear_error(copy):
    weights = copy / "event-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(EmulatorError, match="damaged"):
        load_emulator(copy)
    (copy / "emulator.json").write_text("{")
    with pytest.raises(EmulatorError, match="damaged"):
        load_emulator(copy)
    (copy / "emulator.json").unlink()
    with pytest.raises(EmulatorError, match="not an emulator"):
        load_emulator(copy)
    with pytest.raises(EmulatorError, match="there is no emulator"):
        load_emulator(copy / "nowhere")


@pytest.mark.parametrize("wrong", ["x", 3, None, "absent"])
@pytest.mark.parametrize(
    "place",
    [
        (),
        ("study",),
        ("study", "parts"),
        ("parts",),
        ("parts", 0, "name"),
        ("parts", 0, "features"),
        ("parts", 0, "members"),
        ("layout",),
        ("layout", "types"),
        ("provenance",),
    ],
)
def test_a_document_of_another_shape_is_damage(copy, place, wrong):
    file = copy / "emulator.json"
    document = json.loads(file.read_text())
    *above, last = ("whole", *place)
    node = holder = {"whole": document}
    for step in above:
        node = node[step]
    if wrong == "absent":
        del node[last]
    else:
        node[last] = wrong
    file.write_text(json.dumps(holder.get("whole", [])))
    with pytest.raises(EmulatorError, match=r"copy is damaged: \S"):
        load_emulator(copy)


def test_a_family_that_is_not_there_is_damage(copy):
    text = (copy / "emulator.json").read_text()
    (copy / "emulator.json").write_text(text.replace('"kind": "mixed"', '"kind": "mixd"'))
    with pytest.raises(EmulatorError, match="copy is damaged"):
        load_emulator(copy)


def test_damage_anywhere_in_a_zip_is_one_clear_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("emulator.json", json.dumps({str(i): i for i in range(40)}))
        archive.writestr("event-0.safetensors", bytes(range(200)))
    content = (tmp_path / "whole.zip").read_bytes()
    for place in range(len(content)):
        for flipped in (0x01, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= flipped
            (tmp_path / "model.zip").write_bytes(damaged)
            with pytest.raises(EmulatorError):
                load_emulator(tmp_path / "model.zip")


def test_an_emulator_with_discrete_columns_comes_back(bundled, gen_file, tmp_path):
    overrides = {
        "parts.0.model": {
            "kind": "mixed",
            "categories": {"hidden": [8]},
            "continuous": {"couplings": 2, "hidden": [8], "bins": 4},
        },
        "training.epochs": 1,
        "training.max_rows": 3000,
    }
    train("wjet", bundled, tmp_path / "model", overrides=overrides)
    loaded = load_emulator(tmp_path / "model")
    (trained,) = loaded.parts
    assert trained.members[0].shape.levels == (2, 2)
    assert trained.features.target_names[:2] == ("second", "jet_mass point mass")
    assert check_reference(loaded, tmp_path / "model").identical
    masses = ak.flatten(loaded.simulate(next(iter(open_events(gen_file)))).Jet.mass)
    assert 0 < ak.sum(masses == 0) < 0.1 * len(masses)
