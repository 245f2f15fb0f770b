"""Classes by name: built in, of an installed package (a real entry point), by a class path; refused before import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from landmark_diffusion import LandmarkDataset
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import ALLOW_VARIABLE, Registry
from landmark_diffusion.data.sources import DATASETS, build_dataset, dataset_options, said_of, takes_root
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.detection.forms import WRITERS
from landmark_diffusion.methods import METHODS
from tests.plugins.install import GROUPS, installed, on_path, write_dist_info, write_pictures

__all__ = ["installed", "on_path"]

STRANGER = """
from pathlib import Path
Path(__file__).with_name("mark").write_text("")
class Other: ...
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be imported, and leaves a mark when it is."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return tmp_path


def bring(folder: Path, monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    """Install a package whose entry points of the data sets are these."""
    monkeypatch.syspath_prepend(write_dist_info(folder / "site", {DATASETS.group: entries}, "other_lab"))


@pytest.mark.parametrize("registry", [DATASETS, METHODS, WRITERS], ids=lambda each: each.what)
def test_every_class_that_is_built_in_can_be_loaded_and_is_written_in_full(registry: Registry) -> None:
    for name in registry.built_in:
        assert registry.load(name).__module__.startswith("landmark_diffusion.")


def test_an_installed_package_brings_its_classes_by_short_names(installed: None) -> None:
    for registry in (DATASETS, METHODS, WRITERS):
        (name, place), *more = GROUPS[registry.group].items()
        assert not more and registry.names() == [*registry.built_in, name] and place.split(":")[0] not in sys.modules
        loaded = registry.load(name)
        assert f"{loaded.__module__}:{loaded.__qualname__}" == place
        assert registry.load(place.replace(":", ".")) is loaded


def test_a_path_that_an_entry_point_names_needs_no_leave_but_its_neighbours_do(installed: None) -> None:
    assert DATASETS.load("my_lab.data.MyData").name == "my_data"
    with pytest.raises(UserError, match=r"my_lab\.writer\.MyWriter: refused"):
        DATASETS.load("my_lab.writer.MyWriter")
    assert "my_lab.writer" not in sys.modules


def test_a_short_name_of_this_package_stays_this_package_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(tmp_path, monkeypatch, phantom="stranger:Other")
    assert DATASETS.load("phantom") is PhantomDataset and DATASETS.found() == {}


def test_a_class_path_is_refused_before_its_module_is_imported(stranger: Path) -> None:
    with pytest.raises(UserError) as refused:
        DATASETS.load("stranger.Other")
    assert str(refused.value).startswith("data.dataset: stranger.Other: refused, and nothing of it was run")
    assert "add --allow_classes stranger (in Python: import stranger first)" in str(refused.value)
    assert not (stranger / "mark").exists() and "stranger" not in sys.modules
    assert dataset_options("stranger.Other") == set() and takes_root("stranger.Other")
    assert said_of("stranger.Other") is LandmarkDataset and not (stranger / "mark").exists()


@pytest.mark.parametrize("leave", ["stranger", "a.b, stranger"])
def test_leave_or_an_import_lets_it_in(stranger: Path, leave: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_VARIABLE, leave)
    with pytest.raises(UserError, match=r"stranger\.Other is no LandmarkDataset \(landmark_diffusion\.data\.source\."):
        DATASETS.load("stranger.Other")
    monkeypatch.delenv(ALLOW_VARIABLE)
    with pytest.raises(UserError, match=r"the module stranger has no class Othre\. Did you mean Other\?"):
        DATASETS.load("stranger.Othre")  # imported by now


@pytest.mark.parametrize("leave", ["strange", "stranger.x", ""])
def test_leave_is_for_whole_names(stranger: Path, leave: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_VARIABLE, leave)
    with pytest.raises(UserError, match="refused"):
        DATASETS.load("stranger.Other")


def test_classes_that_lie_about_are_of_another_kind_and_nobody_is_told_to_allow_the_system() -> None:
    for name in ("os.system", "subprocess.Popen", "landmark_diffusion.detection.writer.Writer"):
        with pytest.raises(UserError, match="is no LandmarkDataset"):
            DATASETS.load(name)
    assert "turtle" not in sys.modules
    with pytest.raises(UserError, match="refused") as refused:
        DATASETS.load("turtle.Turtle")
    assert "--allow_classes" not in str(refused.value)


def test_what_its_base_asks_for_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no ABC watches over it, as for a method, which torch's metaclass does not."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOW_VARIABLE, "half")
    (tmp_path / "half.py").write_text(
        "from landmark_diffusion import LandmarkDataset, LandmarkModule, Writer\n"
        "class Data(LandmarkDataset):\n    def samples(self, stage): return []\n"
        "class Method(LandmarkModule):\n    def variants(self, in_fit=False): return ()\n"
    )
    with pytest.raises(UserError, match=r"half\.Data lacks check, load_image, which every LandmarkDataset has"):
        DATASETS.load("half.Data")
    with pytest.raises(UserError, match=r"half\.Method lacks losses, predict_maps, which every Method has"):
        METHODS.load("half.Method")
    sys.modules.pop("half")


def test_a_dataset_says_what_every_one_has_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOW_VARIABLE, "mute")
    text = "from landmark_diffusion import PhantomDataset\nclass Data(PhantomDataset):\n    unit = 'cm'\n"
    (tmp_path / "mute.py").write_text(
        text + "from my_base import Plain\nclass Mute(Plain):\n    name, landmark_names = 'mute', ()\n"
    )
    (tmp_path / "my_base.py").write_text(
        "from landmark_diffusion import LandmarkDataset\nclass Plain(LandmarkDataset):\n"
        "    samples = load_image = check = lambda self, *_: []\n"
    )
    with pytest.raises(UserError, match=r"found the unit 'cm' of mute\.Data, expected one of mm, px, px256"):
        build_dataset("mute.Data")
    with pytest.raises(UserError, match=r"mute\.Mute does not say its annotator_names"):
        build_dataset("mute.Mute")
    for name in ("mute", "my_base"):
        sys.modules.pop(name)


def test_one_that_cannot_be_imported_is_named_with_the_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    bring(tmp_path, monkeypatch, broken="broken:Data", gone="gone_lab.data:Data")
    with pytest.raises(UserError, match=r"broken cannot be imported: ZeroDivisionError: division by zero"):
        DATASETS.load("broken")
    with pytest.raises(UserError, match=r"gone cannot be imported: No module named 'gone_lab'\. Install its package"):
        DATASETS.load("gone")
    with pytest.raises(UserError, match=r"unknown dataset 'brocken'\. Did you mean broken\?"):
        DATASETS.load("brocken")


def test_a_missing_extra_of_this_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    for module in [each for each in sys.modules if each.startswith("landmark_diffusion.detection.writers.dicom_sr")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UserError, match=r"dicom-sr needs highdicom, .* pip install 'landmark_diffusion\[dicom-sr\]'"):
        WRITERS.load("dicom-sr")


def test_a_data_set_from_outside_is_built_with_its_own_options(installed: None, tmp_path: Path) -> None:
    data = build_dataset("my_lab.data.MyData", write_pictures(tmp_path), split="folds:5/2")
    assert [len(data.samples(stage)) for stage in ("train", "val", "test", "predict")] == [7, 1, 2, 2]
    assert data.load_image(data.samples("test")[0]).shape == (48, 64) and data.check() == data.check()
    assert dataset_options("my_data") == {"split"} and takes_root("my_data") and not takes_root("phantom")
    with pytest.raises(UserError, match=r"the dataset my_data has no option 'splitt'\. Did you mean split\?"):
        build_dataset("my_data", tmp_path, splitt="seeded")


def test_a_class_that_takes_any_option_is_given_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that derives from the folder dataset and hands its options on."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOW_VARIABLE, "wide")
    (tmp_path / "wide.py").write_text(
        "from landmark_diffusion import PhantomDataset\nclass Wide(PhantomDataset):\n"
        "    def __init__(self, **options): super().__init__(**options)\n"
    )
    assert build_dataset("wide.Wide", None, count=(1, 0, 0)).count == (1, 0, 0)  # type: ignore[attr-defined]
    assert dataset_options("wide.Wide") == set() and takes_root("wide.Wide")
    sys.modules.pop("wide")
