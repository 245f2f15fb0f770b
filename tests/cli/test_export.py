"""``ldx export`` on checkpoints of real modules: one file and its card, or a word why not, and nothing half done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.export import onnx_export, onnx_program, orientation, translation
from landmark_diffusion.export.onnx_export import Written
from landmark_diffusion.export.onnx_networks import Network
from landmark_diffusion.finders.orientation import FORM_WEIGHTS, learn_forms
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.model_file import read_model_file
from tests.detection.tiny_model import NAMES, facts, picture, tiny_options, write_positions
from tests.methods.tiny_positions import module as positions
from tests.options import nested

DOTTED = {
    "num_landmarks": 2, "network.encoder_channels": [4, 8], "network.decoder_channels": [8, 4],
    "network.blocks_per_level": 1, "network.attention_factors": [], "network.channels_last": True,
    "pretrained": "runs/start/checkpoints/last.ckpt",
}  # fmt: skip
OPTIONS = nested(DOTTED)
CLASS = "landmark_diffusion.methods.heatmap_finetune.HeatmapFinetuneModule"
CHECKPOINT = Path("runs/x/checkpoints/best.ckpt")
METRICS = Path("runs/x/test/metrics.json")


def make_checkpoint(path: Path = CHECKPOINT, **changes: Any) -> None:
    """Write a checkpoint as ``ldx fit`` does, with an average of the weights."""
    torch.manual_seed(0)
    module = HeatmapFinetuneModule(**OPTIONS)
    averaged = module.state_dict()
    raw = {name: value + 1 for name, value in averaged.items()}
    data = {"dataset": "isbi2015", "root": "/home/ann/isbi", "size": [16, 24], "split": "official"}
    content = {
        "state_dict": averaged, "current_model_state": raw, "averaging_state": {}, "global_step": 40,
        "hyper_parameters": {"_class_path": CLASS, **OPTIONS}, "optimizer_states": [{"lr": 1}],
        "landmark_diffusion": {"landmark_names": ["sella", "nasion"], "data": data}, **changes,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def make_metrics(path: Path = METRICS, **extra: Any) -> None:
    row = {"label": "heatmap", "group": "method", "points": 4, "mre": 1.25, "std": 0.5, "median": 1.0,
           "sdr": {"2": 75.0}, "beyond_10mm": 0.0}  # fmt: skip
    content = {
        "protocol": "protocol default: error < 2 mm", "unit": "mm", "radii": [2.0], "table": [row],
        "variants": {"heatmap": {"mre": 1.25, "images": 2, "points": 4}}, "landmark_names": ["sella", "nasion"],
        "extra": {"command": "ldx test", "updates": 40, "checkpoint": str(CHECKPOINT), **extra},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_checkpoint()


def export(*arguments: str) -> int:
    return main(["export", str(CHECKPOINT), "x.ldx", *arguments])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a refused export says; it leaves no file."""
    before = sorted(Path().glob("*"))
    assert export(*arguments) == 1
    assert sorted(Path().glob("*")) == before
    return capsys.readouterr().err


def test_the_averaged_weights_are_handed_over_with_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """``state_dict`` is what ``ldx test`` loads; the raw weights are for going on with training."""
    make_metrics()
    assert export() == 0
    model, checkpoint = read_model_file("x.ldx"), read_checkpoint(CHECKPOINT)
    assert model.weights.keys() == checkpoint["state_dict"].keys()
    assert all(torch.equal(value, checkpoint["state_dict"][name]) for name, value in model.weights.items())
    assert model.facts.class_path == "HeatmapFinetuneModule"
    assert model.facts.landmark_names == ("sella", "nasion")
    assert (model.facts.updates, model.facts.length_unit) == (40, "mm")
    assert model.facts.measured is not None and model.facts.measured["variants"]["heatmap"]["mre"] == 1.25
    out = capsys.readouterr().out
    assert "wrote x.ldx" in out and "ldx test x.ldx --data.root PATH" in out
    card = Path("x.md").read_text()
    assert "| heatmap | 1.25 ± 0.50 |" in card and "Trained on ISBI 2015, for research use." in card
    for file in ("x.ldx", "x.md"):
        content = Path(file).read_bytes()
        assert b"/home" not in content and b"runs/" not in content


def test_what_no_training_moves_is_no_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    made = positions()  # with a shape prior of buffers
    told = {"landmark_names": list(NAMES), "data": facts().data}
    options = {**tiny_options(), "_class_path": f"{type(made).__module__}.PositionDiffusionModule"}
    make_checkpoint(hyper_parameters=options, state_dict=made.state_dict(), landmark_diffusion=told)
    assert export() == 0
    assert f", {sum(each.numel() for each in made.parameters())} parameters)" in capsys.readouterr().out


def test_a_module_is_built_from_the_file_in_python() -> None:
    """The lines of docs/model_file.md."""
    assert export() == 0
    model = read_model_file("x.ldx")
    module = HeatmapFinetuneModule(**model.facts.model)
    module.load_state_dict(model.weights)
    assert module.num_landmarks == 2


def test_options_of_the_command_line_are_followed(capsys: pytest.CaptureFixture[str]) -> None:
    make_metrics(Path("other.json"))
    assert export("--metrics", "other.json", "--card", "CARD.md", "--note", "Ask the hospital.") == 0
    assert read_model_file("x.ldx").facts.note == "Ask the hospital."
    assert "Ask the hospital." in Path("CARD.md").read_text() and not Path("x.md").exists()
    assert "figures" not in capsys.readouterr().out


def test_the_runs_config_is_followed() -> None:
    init_args = {**OPTIONS, "num_landmarks": None, "decoding": {"decoder": "argmax"}}
    config = {"seed_everything": 5, "trainer": {"precision": "bf16-mixed"},
              "model": {"class_path": CLASS, "init_args": init_args}}  # fmt: skip
    Path("runs/x/config.yaml").write_text(yaml.safe_dump(config))
    assert export() == 0
    facts = read_model_file("x.ldx").facts
    assert (facts.seed, facts.precision, facts.model["decoding"]["decoder"]) == (5, "bf16-mixed", "argmax")


@pytest.mark.parametrize(
    ("extra", "why"),
    [({"updates": 30}, "of 30 updates, the checkpoint of 40"), ({"checkpoint": "last.ckpt"}, "they are of last.ckpt")],
)
def test_figures_of_other_weights_are_left_out_and_refused_when_asked_for(
    extra: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_metrics(**extra)
    assert why in refusal(capsys, "--metrics", str(METRICS))
    assert export() == 0
    assert "no figures" in (out := capsys.readouterr().out) and why in out
    assert read_model_file("x.ldx").facts.measured is None


def test_a_run_without_test_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert export() == 0
    out = capsys.readouterr().out
    assert "no figures: no test/metrics.json" in out and "the precision is unknown" in out


@pytest.mark.parametrize("there", ["x.ldx", "x.md"])
def test_files_are_not_replaced_unasked(there: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(there).write_text("mine")
    assert f"{there} exists already and was left as it is" in refusal(capsys)
    assert Path(there).read_text() == "mine"
    assert export("--overwrite") == 0
    assert read_model_file("x.ldx").facts.updates == 40 and Path("x.md").read_text().startswith("# x.ldx")


def test_other_names_and_sources_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(CHECKPOINT), "x.safetensors"]) == 1
    assert "ends in .ldx" in capsys.readouterr().err
    Path("runs/empty").mkdir(parents=True)
    assert main(["export", "runs/empty", "x.ldx"]) == 1
    assert "runs/empty" in capsys.readouterr().err
    assert main(["export", "runs/y.ckpt", "x.ldx"]) == 1
    assert "runs/y.ckpt: found nothing" in capsys.readouterr().err
    assert export() == 0
    assert main(["export", "x.ldx", "y.ldx"]) == 1
    assert "x.ldx is an exported model already" in capsys.readouterr().err


def test_a_run_folder_gives_its_best_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "runs/x", "by_folder.ldx"]) == 0
    assert export() == 0
    capsys.readouterr()
    by_folder, by_name = read_model_file("by_folder.ldx"), read_model_file("x.ldx")
    assert by_folder.facts.weights_sha256 == by_name.facts.weights_sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hyper_parameters": {"_class_path": CLASS, **nested({**DOTTED, "network.encoder_channels": [4, 16]})}},
            "holds another network",
        ),
        ({"hyper_parameters": {"_class_path": CLASS, **OPTIONS, "spin": 3}}, "no HeatmapFinetuneModule can be built"),
        ({"hyper_parameters": {"_class_path": "landmark_diffusion.Unheard", **OPTIONS}}, "expected one of Diffusion"),
        ({"hyper_parameters": {"_class_path": "x.Unheard", **OPTIONS}}, "x.Unheard: refused, and nothing of it was"),
        ({"hyper_parameters": {"_class_path": "x.DDPMPretrainModule"}}, "finds no landmarks"),
        ({"state_dict": {}}, "holds another network"),
    ],
)
def test_a_model_that_could_not_be_loaded_is_not_handed_over(
    changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_checkpoint(**changes)
    err = refusal(capsys)
    assert message in err and "Traceback" not in err


def test_weights_that_went_astray_are_not_handed_over(capsys: pytest.CaptureFixture[str]) -> None:
    state = {name: value * float("nan") for name, value in HeatmapFinetuneModule(**OPTIONS).state_dict().items()}
    make_checkpoint(state_dict=state)
    assert "not finite" in refusal(capsys)


# ---- ONNX -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def translated(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Spare the seconds of a translation: the weights of each network that would be translated; its file is a word."""
    found: list[dict[str, torch.Tensor]] = []

    def to_onnx(network: Network, _: dict[str, str]) -> bytes:
        found.append(network.module.state_dict())
        return b"onnx"

    monkeypatch.setattr(onnx_export, "to_onnx", to_onnx)
    monkeypatch.setattr(
        onnx_export, "_checked", lambda network, target, _: Written(target, network, 2.5e-6, 3.5e-5, 12.25)
    )
    return found


@pytest.mark.parametrize(
    ("source", "target", "options", "files"),
    [
        (CHECKPOINT, "x.ldx", ["--onnx"], {"x.ldx", "x.md", "x.onnx"}),
        (CHECKPOINT, "y.onnx", [], {"y.onnx"}),
        ("whole.ldx", "y.onnx", [], {"y.onnx"}),
        ("whole.ldx", "y.onnx", ["--onnx"], {"y.onnx"}),
    ],
)
def test_onnx_is_made_of_the_averaged_weights(
    source: Path | str, target: str, options: list[str], files: set[str],
    translated: list[dict[str, torch.Tensor]], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """From a checkpoint, and by those who have nothing but the exported model."""
    assert main(["export", str(CHECKPOINT), "whole.ldx", "--card", "whole.md"]) == 0
    assert main(["export", str(source), target, *options, "--networks"]) == 0
    assert {path.name for path in Path().glob("*.*")} == files | {"whole.ldx", "whole.md"}
    (weights,) = translated
    averaged = read_checkpoint(CHECKPOINT)["state_dict"]
    assert all(torch.equal(weights[name], value) for name, value in averaged.items())
    out = capsys.readouterr().out
    assert "image -> output); largest difference from torch 2.5e-06 (allowed 3.5e-05) in outputs of up to 12.2" in out


def test_a_refused_onnx_leaves_no_model_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(translation, "find_spec", lambda _: None)
    assert "pip install 'landmark_diffusion[onnx]'" in refusal(capsys, "--onnx")


def test_onnx_files_are_not_replaced_unasked(
    translated: list[dict[str, torch.Tensor]], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.onnx").write_text("mine")
    assert "x.onnx exists already and was left as it is" in refusal(capsys, "--onnx")
    assert main(["export", str(CHECKPOINT), "x.onnx"]) == 1
    assert main(["export", str(CHECKPOINT), "x.onnx", "--networks"]) == 1
    assert Path("x.onnx").read_text() == "mine" and not translated
    assert export("--onnx", "--networks", "--overwrite") == 0
    assert Path("x.onnx").read_text() == "onnx"


@pytest.mark.parametrize("option", ["--metrics", "--card", "--note"])
def test_what_belongs_to_a_model_file_is_refused_with_onnx_alone(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(CHECKPOINT), "x.onnx", option, "z"]) == 1
    assert f"{option}: goes with a target FILE.ldx; found x.onnx" in capsys.readouterr().err
    assert not Path("x.onnx").exists()


def test_who_exports_an_exported_model_is_told_of_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    assert export() == 0
    assert main(["export", "x.ldx", "y.ldx", "--onnx"]) == 1
    assert "for ONNX, name a target such as y.onnx; --hub FOLDER alone writes a folder" in capsys.readouterr().err
    assert main(["export", "y.ldx", "y.onnx"]) == 1
    assert "y.ldx: found nothing, expected a model file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_networks_of_a_run_are_exported_with_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    assert export("--onnx", "--networks") == 0
    module = HeatmapFinetuneModule(**OPTIONS)
    module.load_state_dict(read_model_file("x.ldx").weights)
    image = torch.rand(3, 1, 24, 16)
    found = onnxruntime.InferenceSession("x.onnx").run(None, {"image": image.numpy()})[0]
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(found), module.eval()(image), atol=1e-6)
    assert "largest difference from torch" in capsys.readouterr().out


@pytest.fixture
def upright(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two radiographs in a folder, and two updates to learn their orientation in."""
    folder = Path("upright")
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(picture(seed)).save(folder / f"{seed}.png")
    monkeypatch.setattr(
        orientation, "learn_forms", lambda images, steps, seed, advance: learn_forms(images, 2, seed, advance)
    )
    return folder


def test_a_model_file_learns_orientations(upright: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else of it changes, its card apart."""
    before = read_model_file(write_positions(Path("mine.ldx")))
    assert main(["export", "mine.ldx", "any.ldx", "--orientation", str(upright)]) == 0
    assert "orientation: learning from 2 images, all taken as upright; 10 or more are better" in capsys.readouterr().out
    after, wanted = read_model_file("any.ldx"), learn_forms([picture(0), picture(1)], 2).state_dict()
    added = {FORM_WEIGHTS + name: value for name, value in wanted.items()}
    assert after.weights.keys() == before.weights.keys() | added.keys()
    assert all(torch.equal(value, after.weights[name]) for name, value in (before.weights | added).items())
    assert after.facts.model["orientation"]["learn"] and after.facts.calibration == before.facts.calibration
    assert "orientation.learn True" in Path("any.md").read_text()
    assert Detector.load("any.ldx")(picture(0)).orientation != "" and Detector.load("mine.ldx").form_network is None


def test_a_checkpoint_is_exported_with_orientations(upright: Path) -> None:
    assert export("--orientation", str(upright)) == 0
    assert Detector.load("x.ldx")(picture(0)).orientation != ""


def test_orientations_that_cannot_be_learned_are_told(upright: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_positions(Path("mine.ldx"))
    for given, told in (
        (["--orientation", "nowhere/"], "nowhere/: the folder does not exist"),
        (["--orientation", "runs"], "runs: found no radiograph in the folder"),
        (["--orientation", str(CHECKPOINT)], "best.ckpt"),
        (["--note", "mine", "--orientation", str(upright)], "--note: goes with a checkpoint"),
        ([], "let it learn orientations (--orientation UPRIGHT_XRAYS)"),
    ):
        assert main(["export", "mine.ldx", "any.ldx", *given]) == 1
        told_now = capsys.readouterr().err
        assert told in " ".join(told_now.split()) and "Traceback" not in told_now
        assert not Path("any.ldx").exists() and not Path("any.md").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the file to write, FILE.ldx or FILE.onnx, or --hub FOLDER"),
        (["x.ldx", "--networks"], "--networks: goes with a target FILE.onnx, or with --onnx"),
        (["x.ldx", "--check", "a.png"], "--check: goes with a target FILE.onnx, or with --onnx"),
        (["x.onnx", "--networks", "--check", "a.png"], "--check: the networks alone find no points"),
        (["--hub", "folder", "--onnx"], "--onnx: goes with a target FILE.ldx"),
        (["--hub", "folder", "--card", "a.md"], "--card: goes with a target FILE.ldx"),
        (["x.onnx", "--hub", "folder"], "--hub: goes with a target FILE.ldx; found x.onnx"),
        (["x.onnx", "--check", "nothing.png"], "nothing.png"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().glob("*"))
    assert main(["export", str(CHECKPOINT), *arguments]) == 1
    assert words in capsys.readouterr().err and sorted(Path().glob("*")) == before


def test_the_whole_program_is_checked_on_images_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most twenty, from all over a folder."""
    found: list[Any] = []

    def write_program(
        path: Path, module: Any, facts: Any, images: Any, overwrite: bool, checked: Any
    ) -> onnx_program.Checked:
        found.extend([module, images])
        checked(0)
        path.write_bytes(b"onnx")
        return onnx_program.Checked(path, ("image",), ("points", "covariance"), len(images), 2e-4, 1e-5, 1, (0.5, 0.25))

    monkeypatch.setattr(onnx_program, "write_program", write_program)
    Path("xrays").mkdir()
    for number in range(25):
        Image.fromarray(picture(number, (30 + number, 40))).save(f"xrays/{number:02}.png")
    assert export("--onnx", "--check", "xrays") == 0
    module, images = found
    averaged = read_checkpoint(CHECKPOINT)["state_dict"]
    assert all(torch.equal(module.state_dict()[name], value) for name, value in averaged.items())
    widths = [grey.shape[1] for grey in images]
    assert len(widths) == len(set(widths)) == 20 and widths[0] == 30 and widths[-1] >= 53
    out = capsys.readouterr().out
    assert "translated; checking on 20 images\n" in out
    assert "--check: 20 of the 25 images" in out and "image -> points, covariance" in out
    assert "on 20 images points are up to 2.0e-04 px from those of ldx detect (allowed 0.01)" in out
    assert "left out of this: 1 point that torch itself does not give to 0.01 px" in out


def test_a_checkpoint_becomes_a_hubs_folder(capsys: pytest.CaptureFixture[str]) -> None:
    make_metrics()
    assert export("--hub", "folder") == 0
    assert main(["export", str(CHECKPOINT), "--hub", "other", "--note", "Ask us."]) == 0
    out = capsys.readouterr().out
    assert "use it: ldx detect IMAGES --model folder" in out and "Nothing was uploaded" in out
    assert Detector.load("folder").facts.landmark_names == ("sella", "nasion")
    assert "Ask us." in Path("other/README.md").read_text() and not Path("other.md").exists()
    assert (Path("folder/model.safetensors")).read_bytes() == Path("x.ldx").read_bytes()
    for file in Path("folder").iterdir():
        assert b"/home" not in file.read_bytes() and b"runs/" not in file.read_bytes()
