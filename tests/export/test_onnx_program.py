"""A model as one ONNX file from image to points: it gives what ``ldx detect`` gives, and a wrong one is never left.

A translation takes up to a minute, so the fast tests run the graph's program in torch, also where a file is checked;
those of files are slow: of a tiny model, of each method, and of the shipped models on real radiographs. A file with a
network alone is among the fast ones (`test_onnx_export.py`).
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.model import load_module
from landmark_diffusion.export import onnx_program
from landmark_diffusion.export.onnx_program import IMAGES, Checked, Program, phantoms, write_program
from landmark_diffusion.export.traced.finders import NOISE, drawn_noise
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.methods.diffusion_heatmap import DiffusionHeatmapModule
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.spread.calibration import SpreadCalibration
from landmark_diffusion.spread.doubt import Doubt
from landmark_diffusion.spread.image_score import ImageScore
from landmark_diffusion.spread.model_calibration import Calibration, SettingCalibration
from tests.detection.tiny_model import answers_of, facts, made_up_residuals, picture, pictures
from tests.methods import tiny_positions
from tests.options import nested

REPOSITORY = Path(__file__).resolve().parents[2]
MAPS: dict[str, Any] = {**tiny_positions.COARSE, "network.encoder_channels": (4, 8), "network.decoder_channels": (8, 4)}
SMALLEST: dict[str, Any] = {
    "network.encoder_channels": (4,), "network.decoder_channels": (4,), "window_network.encoder_channels": (4,),
    "window_network.decoder_channels": (4,), "windows.size": 8, "joint.peaks": 4, "outside": True,
}  # fmt: skip


def positions(options: Mapping[str, Any] | None = None) -> Finder:
    """A tiny finder of positions whose landmarks know of each other."""
    module = tiny_positions.module(options)
    rng = np.random.default_rng(0)
    points = rng.uniform(8, 56, (1, module.num_landmarks, 2)) + rng.normal(0, 4, (20, module.num_landmarks, 2))
    module.joint.fit(module.shape_prior, torch.from_numpy(points), tiny_positions.W)
    return module


def of_maps(method: type[Finder], options: Mapping[str, Any] | None = None) -> Callable[[], Finder]:
    def make() -> Finder:
        torch.manual_seed(0)
        made = method(tiny_positions.N, **nested({**MAPS, **(options or {})})).eval()
        for parameter in made.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
        return made

    return make


METHODS: dict[str, Callable[[], Finder]] = {
    "positions": positions,
    "positions, landmarks outside": lambda: positions({"outside": True}),
    "positions, each landmark alone": lambda: positions({"joint.enabled": False}),
    "positions, the last evaluation, no wide windows": lambda: positions(
        {"sampling.aggregate": "last", "windows.wide": 0.0, "sampling.prior_weight": 0.0}
    ),
    "positions, the first guess": lambda: positions({"sampling.steps": 1}),
    "positions with noise": lambda: positions({"sampling.eta": 1.0, "sampling.start_noise": 1.0}),
    "positions, three chains": lambda: positions(
        {"sampling.eta": 1.0, "sampling.start_noise": 1.0, "sampling.samples": 3}
    ),
    "diffusion of maps": of_maps(DiffusionHeatmapModule, {"sampling.steps": 3, "decoding.decoder": "expectation"}),
    "diffusion of maps, ddim, two samples": of_maps(
        DiffusionHeatmapModule, {"sampling.steps": 2, "sampling.sampler": "ddim", "sampling.samples": 2}
    ),
    "baseline": of_maps(DiffusionHeatmapModule, {"diffusion": False}),
    "fine-tuned": of_maps(HeatmapFinetuneModule, {"target.loss": "bce", "decoding.decoder": "half_max"}),
    "fine-tuned, landmark_ce": of_maps(HeatmapFinetuneModule, {"target.loss": "landmark_ce"}),
}
DECODERS = ("argmax", "top_k", "half_max", "expectation", "local_centroid")


def feed(detector: Detector, grey: np.ndarray, program: Program) -> list[torch.Tensor]:
    """The inputs of the program for an image: with the draws that ``ldx detect`` takes."""
    call = onnx_program._call(program, detector.size)
    found = onnx_program._noise_feed(detector, grey, call)
    return [torch.from_numpy(each) for each in ({"image": grey} | found).values()]


def run_in_torch(detector: Detector, grey: np.ndarray) -> dict[str, np.ndarray]:
    program = Program(detector).eval()
    with torch.no_grad():
        found = program(*feed(detector, grey, program))
    return dict(zip(onnx_program._call(program, detector.size).outputs, (x.numpy() for x in found), strict=True))


def agree(found: Mapping[str, np.ndarray], expected: Detection, by: float = 0.01) -> None:
    assert np.linalg.norm(found["points"] - expected.points, axis=-1).max() < by
    assert expected.covariance is not None
    least = 1e-3 * np.abs(expected.covariance).max()
    assert np.allclose(found["covariance"], expected.covariance, rtol=0.01, atol=least)
    for name, value in (("outside_probability", expected.outside), ("far_probability", expected.far)):
        assert (name in found) == (value is not None)
        if value is not None:
            assert np.abs(found[name] - value).max() < 0.006  # a step of the regression's table is 1/201
    if "image_score" in found:
        assert expected.image_score is not None and abs(found["image_score"] - expected.image_score) < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_points_of_detect(method: str) -> None:
    detector = Detector(METHODS[method](), facts(), orientation="as-is", device="cpu")
    for seed, size in enumerate([(150, 200), (64, 80), (90, 61)]):
        grey = picture(seed, size)
        agree(run_in_torch(detector, grey), detector(grey))
    # a grey level differs here and there where an image grows, of which untrained networks and half a maximum make much
    agree(run_in_torch(detector, picture(3, (40, 50))), detector(picture(3, (40, 50))), by=0.3)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder(decoder: str) -> None:
    module = of_maps(HeatmapFinetuneModule, {"decoding.decoder": decoder})()
    detector = Detector(module, facts(), orientation="as-is", device="cpu")
    agree(run_in_torch(detector, picture(3)), detector(picture(3)))


def test_an_image_that_is_padded() -> None:
    told = replace(facts(), data={"dataset": "folder", "size": [64, 80], "resize": "pad"})
    detector = Detector(positions(), told, orientation="as-is", device="cpu")
    for size in ((150, 90), (50, 120), (30, 30)):
        agree(run_in_torch(detector, picture(0, size)), detector(picture(0, size)))


def calibrated(module: Finder, doubt: bool) -> ModelFacts:
    """The facts of a model that is calibrated on made-up pictures and residuals, with doubt where asked for."""
    detector = Detector(module, facts(), orientation="as-is", device="cpu")
    answers = answers_of(detector, pictures(120, first=1000))
    residuals = made_up_residuals(answers.covariance, seed=1) / 20  # of right points, beside those of others
    residuals[::3] *= 20
    doubted = Doubt.fit(answers, answers.points + residuals, detector.size) if doubt else None
    wide = answers.covariance if doubted is None else doubted.widened(answers)
    setting = SettingCalibration(
        detector.settings, SpreadCalibration.fit(residuals, wide), ImageScore.fit(answers), {}, doubted
    )
    return replace(facts(), calibration=Calibration("made up", 120, (setting,)).to_dict())


@pytest.mark.parametrize("doubt", [False, True])
@pytest.mark.parametrize("method", ["positions, landmarks outside", "fine-tuned, landmark_ce"])
def test_trust_is_that_of_detect(method: str, doubt: bool) -> None:
    module = METHODS[method]()
    detector = Detector(module, calibrated(module, doubt), orientation="as-is", device="cpu")
    for seed in (1, 2000):
        found, expected = run_in_torch(detector, picture(seed)), detector(picture(seed))
        agree(found, expected)
        if expected.expected_error is not None:
            assert np.allclose(found["expected_error"], expected.expected_error, rtol=0.01)
        assert ("doubtful" in found) == doubt
        if doubt:
            assert found["doubtful"].dtype == bool and np.array_equal(found["doubtful"], expected.doubtful)


# ---- the file -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told() -> tuple[Finder, ModelFacts]:
    module = positions(SMALLEST)
    return module, replace(calibrated(module, doubt=True), note="for research use")


@pytest.fixture(scope="module")
def exported(told: tuple[Finder, ModelFacts], tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return write_program(tmp_path_factory.mktemp("program") / "x.onnx", *told)


def _session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_onnxruntime_gives_the_points_of_detect(exported: Checked, told: tuple[Finder, ModelFacts]) -> None:
    assert exported.difference < 0.01 and exported.images == IMAGES and exported.undecided < 3
    detector, session = Detector(*told, orientation="as-is", device="cpu"), _session(exported.path)
    for size in ((150, 200), (333, 222), (64, 80), (33, 47), (200, 40)):
        found = dict(zip(exported.outputs, session.run(None, {"image": picture(7, size)}), strict=True))
        agree(found, detector(picture(7, size)))


@pytest.mark.slow
def test_the_file_stands_alone_and_explains_itself(exported: Checked) -> None:
    proto = onnx.load(exported.path, load_external_data=False)
    shape = [axis.dim_param for axis in proto.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["height", "width"] and [each.version for each in proto.opset_import if not each.domain] == [18]
    assert not any(each.external_data for each in proto.graph.initializer)
    assert [path.name for path in exported.path.parent.iterdir()] == ["x.onnx"]
    said = {each.key: each.value for each in proto.metadata_props}
    assert json.loads(said["landmark_names"]) == ["sella", "nasion", "menton"] and said["note"] == "for research use"
    assert list(json.loads(said["outputs"])) == list(exported.outputs) == [value.name for value in proto.graph.output]
    calibration = json.loads(said["calibration"])
    assert calibration["level"] == 0.9 and np.shape(calibration["quantiles"]) == (3, 4)
    assert json.loads(said["settings"])["steps"] == 5 and json.loads(said["network_size"]) == [64, 80]
    content = exported.path.read_bytes()
    for place in (REPOSITORY, Path(torch.__file__).parent, Path.home()):
        assert str(place).encode() not in content


@pytest.mark.slow
def test_regions_follow_from_the_metadata(exported: Checked, told: tuple[Finder, ModelFacts]) -> None:
    session = _session(exported.path)
    calibration = json.loads(session.get_modelmeta().custom_metadata_map["calibration"])
    for level in calibration["levels"]:
        detector = Detector(*told, orientation="as-is", device="cpu", level=level)
        expected = detector(picture(1003))  # of the calibration's own, so that it is not called unlike
        found = dict(zip(exported.outputs, session.run(None, {"image": picture(1003)}), strict=True))
        reach = np.array(calibration["quantiles"])[:, calibration["levels"].index(level)]
        assert expected.regions is not None
        assert np.allclose(found["covariance"] * reach[:, None, None] ** 2, expected.regions, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("arguments", [[], ["nowhere.onnx", "x.png"]])
def test_the_example_of_the_docs_tells_how_it_is_used(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["onnx_points.py", *arguments])
    with pytest.raises(SystemExit, match=r"^usage: python onnx_points\.py ceph\.onnx xray\.png \(two files"):
        runpy.run_path(str(REPOSITORY / "docs" / "examples" / "onnx_points.py"))


@pytest.mark.slow
def test_the_example_of_the_docs_needs_no_torch(
    exported: Checked, told: tuple[Finder, ModelFacts], tmp_path: Path
) -> None:
    """The lines of docs/examples, in a process where our package and torch cannot be imported."""
    Image.fromarray(picture(1003)).save(tmp_path / "x.png")
    example = REPOSITORY / "docs" / "examples" / "onnx_points.py"
    refuse = "import sys, runpy; sys.modules.update(torch=None, cv2=None, landmark_diffusion=None); "
    command = [sys.executable, "-c", f"{refuse}sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])", str(example)]
    done = subprocess.run([*command, str(exported.path), "x.png"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    expected = Detector(*told, orientation="as-is", device="cpu")(picture(1003))
    assert [line[0] for line in lines] == ["sella", "nasion", "menton"]
    found = np.array([line[1:] for line in lines], dtype=float)
    assert np.abs(found[:, :2] - expected.points).max() < 0.01
    ellipses = expected.ellipses()
    assert ellipses is not None and np.allclose(found[:, 2:], ellipses[:, :2], rtol=0.01, atol=0.01)
    assert len(example.read_text().splitlines()) <= 25


# ---- refusals -------------------------------------------------------------------------------------------------------


class InTorch:
    """In place of onnxruntime: runs the program itself, and moves its points by so many pixels."""

    def __init__(self, program: Program, by: float) -> None:
        self.program, self.by = program, by

    def run(self, _: None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            points, *others = (found.numpy() for found in self.program(*map(torch.from_numpy, inputs.values())))
        return [points + np.float32(self.by), *others]


def stand_in(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Make a file's content a word, and its session the program that it would hold."""
    programs: list[Program] = []
    monkeypatch.setattr(onnx_program, "translate", lambda program, *_: programs.append(program) or b"a program")
    monkeypatch.setattr(onnx_program, "session", lambda place: InTorch(programs[-1], by))


@pytest.fixture(params=["torch", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def translated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Make the exporter give the tiny program with its points, or one weight, changed by so much."""

    def change(by: float) -> None:
        if request.param == "torch":
            stand_in(monkeypatch, by)
            return
        proto = onnx.load(request.getfixturevalue("exported").path)
        weight = next(each for each in proto.graph.initializer if each.name.endswith("network.conv_out.weight"))
        values = onnx.numpy_helper.to_array(weight).copy()
        values += by * np.sign(values)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        monkeypatch.setattr(onnx_program, "translate", lambda *_: proto.SerializeToString())

    return change


def test_a_file_that_gives_other_points_is_refused(
    translated: Callable[[float], None], told: tuple[Finder, ModelFacts], tmp_path: Path
) -> None:
    translated(0.3)
    (tmp_path / "x.onnx").write_text("mine")
    with pytest.raises(UserError, match=r"x\.onnx: not written, since onnxruntime gives other points than torch"):
        write_program(tmp_path / "x.onnx", *told, images=[picture(1), picture(2)], overwrite=True)
    assert (tmp_path / "x.onnx").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_images_of_ones_own_are_compared(
    translated: Callable[[float], None], told: tuple[Finder, ModelFacts], tmp_path: Path
) -> None:
    translated(0.0)
    heard: list[int] = []
    made = write_program(tmp_path / "x.onnx", *told, images=[picture(1), picture(2)], checked=heard.append)
    assert made.images == 2 and heard == [0, 1, 2]


def test_a_file_that_is_there_is_not_replaced_unasked(told: tuple[Finder, ModelFacts], tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("mine")
    with pytest.raises(UserError, match=r"x\.onnx exists already and was left as it is"):
        write_program(tmp_path / "x.onnx", *told)


def test_what_no_graph_can_do_is_told_before_it_is_tried(tmp_path: Path) -> None:
    regions = of_maps(HeatmapFinetuneModule, {"decoding.decoder": "largest_region"})()
    with pytest.raises(UserError, match=r"the decoder largest_region .*--networks"):
        write_program(tmp_path / "x.onnx", regions, facts())
    long = of_maps(DiffusionHeatmapModule)()
    with pytest.raises(UserError, match=r"200 network evaluations, and one file holds at most 32 .*--networks"):
        write_program(tmp_path / "x.onnx", long, facts())


def test_a_method_that_cannot_be_translated_is_told(
    told: tuple[Finder, ModelFacts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's exporter raises anything, of any length."""

    def fails(*_: Any) -> bytes:
        raise RuntimeError("no such operator\nand a page of more")

    monkeypatch.setattr(onnx_program, "translate", fails)
    with pytest.raises(UserError, match=r"cannot be translated .*no such operator.*--networks"):
        write_program(tmp_path / "x.onnx", *told)
    assert not list(tmp_path.iterdir())


def test_phantoms_are_larger_and_smaller_than_the_network() -> None:
    sizes = [grey.shape for grey in phantoms((64, 80), 5)]
    assert len(set(sizes)) == 5 and min(sizes)[0] < 80 < max(sizes)[0]


def test_noise_is_what_detect_draws() -> None:
    """The draws of every chain, in order: the graph has no generator."""
    module = positions({"sampling.eta": 1.0, "sampling.samples": 2})
    module.fixed_seed = 3
    batch = {"image": torch.zeros(1, 1, 80, 64), "index": [7]}
    draws = drawn_noise(module, (64, 80), batch)
    assert draws.shape == (2 * 4, 3, 2)
    source = module._noise_source(batch, 1)  # type: ignore[operator]
    assert torch.equal(draws[4:], torch.cat([source() for _ in range(4)]))
    assert NOISE == "noise"


# ---- slow -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_translated(method: str, tmp_path: Path) -> None:
    made = write_program(tmp_path / "x.onnx", METHODS[method](), facts(), [picture(seed) for seed in range(IMAGES)])
    assert made.difference < 0.01 and made.undecided < 3


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_is_translated(decoder: str, tmp_path: Path) -> None:
    module = of_maps(HeatmapFinetuneModule, {"decoding.decoder": decoder})()
    assert write_program(tmp_path / "x.onnx", module, facts(), [picture(seed) for seed in range(5)]).difference < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ceph", "ceph_small"])
def test_the_shipped_models_on_real_radiographs(name: str, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = REPOSITORY / "weights" / f"{name}.ldx"
    images = sorted(shared_data("isbi2015").joinpath("cepha400").glob("*.jpg"))[:IMAGES]
    assert len(images) == IMAGES
    target = tmp_path / "x.onnx"
    assert main(["export", str(source), str(target), "--check", *map(str, images)]) == 0
    assert target.stat().st_size < 1.3 * source.stat().st_size
    module, read = load_module(source)
    detector, session = Detector(module, read, orientation="as-is", device="cpu"), _session(target)
    grey = np.asarray(Image.open(images[-1]).convert("L"))
    found = dict(zip((each.name for each in session.get_outputs()), session.run(None, {"image": grey}), strict=True))
    agree(found, detector(grey))
