"""``ldx data check`` and ``ldx cache clear``."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landmark_diffusion.cli.arguments import VerbParser
from landmark_diffusion.cli.label_faults import add_model_options, check_with_model, prepare, refuse_other_landmarks
from landmark_diffusion.configuration.config_checks import load_yaml
from landmark_diffusion.configuration.config_files import find_config
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted

if TYPE_CHECKING:
    from landmark_diffusion.data.source import LandmarkDataset

OF_ONE_DATASET = ("split", "dataset_options", "landmark_names")
"""Options of the data module that mean nothing for another data set."""
_SHOWN = 5
CHECK_EXAMPLES = """examples:
  ldx data check --dataset isbi2015 --root ~/isbi2015
  ldx data check --dataset folder --root my_images --csv landmarks.csv --split-column part
  ldx data check --dataset folder --root my_images --landmark_names '[sella, nasion, orbitale]'
  ldx data check --config ceph_diffusion.yaml
  ldx data check --dataset folder --root my_images --model ceph.ldx --output label_check

With --model also labels that do not belong to their image: turned, exchanged, of another image, slipped. They are
doubts for a person to look at, and do not change the exit status.
"""


def run_data_check(argv: list[str]) -> int:
    """Check a dataset named by options or by configs, print all findings, and return 1 if one is an error.

    ``argv`` are the arguments behind ``ldx data check``. Raises UserError on arguments that cannot be used.
    """
    what = "Read all annotations, headers and images, and list every fault at once."
    parser = VerbParser("data check", what, CHECK_EXAMPLES)
    parser.add_argument("--config", "-c", action="append", default=[], help="config whose data section is checked")
    parser.add_argument("--dataset", "--data.dataset", help="by name or class path; `ldx plugins` lists them")
    parser.add_argument("--root", "--data.root", help="folder of the dataset")
    parser.add_argument("--split", "--data.split", help="split by name, as in data.split")
    parser.add_argument("--csv", "--data.dataset_options.csv", help="folder dataset: the table, or a tool's labels")
    parser.add_argument(
        "--form", "--data.dataset_options.form",
        help="folder dataset: form of the labels (docs/formats.md), where it is not recognised",
    )  # fmt: skip
    parser.add_argument(
        "--split-column", "--data.dataset_options.split_column",
        help="folder dataset: name of the column with train, val, test",
    )  # fmt: skip
    parser.add_argument(
        "--patient-column", "--data.dataset_options.patient_column",
        help="folder dataset: name of the column with the patient",
    )  # fmt: skip
    parser.add_argument(
        "--landmark_names", "--data.landmark_names", "--landmark-names", metavar="NAMES",
        help="as data.landmark_names: '[sella, nasion]' for a table without names, '{N: nasion}' to rename some",
    )  # fmt: skip
    parser.add_argument("--no-decode", action="store_true", help="do not decode the images, only read their headers")
    add_model_options(parser)
    arguments = parser.parse(argv)
    detector = prepare(arguments)
    dataset = _build(arguments)
    if detector is not None:
        refuse_other_landmarks(detector, dataset)
    status = check_dataset(dataset, decode=not arguments.no_decode)
    if detector is not None:
        check_with_model(detector, dataset, arguments)
    return status


def check_dataset(dataset: LandmarkDataset, decode: bool = True) -> int:
    """Print all findings of a dataset at once and a summary; return 1 if one is an error, else 0.

    Each finding is one line that begins with its level and ``file:line``, never wrapped, so that it can be searched.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    levels = ("error", "warning", "note")
    findings = sorted(dataset.check(decode=decode), key=lambda finding: levels.index(finding.level))
    for finding in findings:
        style = {"error": "bold red", "warning": "yellow", "note": "cyan"}[finding.level]
        console.print(Text.assemble((f"{finding.level}: ", style), finding.message), soft_wrap=True)
    for note in dataset.notes():
        console.print(Text(f"note: {note}"), soft_wrap=True)
    errors = sum(finding.level == "error" for finding in findings)
    console.print(_summary(dataset, errors, sum(finding.level == "warning" for finding in findings)))
    return 1 if errors else 0


def run_cache_clear(argv: list[str]) -> int:
    """Delete the kept images and headers, print how much that was, and return 0.

    ``argv`` are the arguments behind ``ldx cache clear``.
    """
    parser = VerbParser("cache clear", "Remove the resized images that were kept.")
    parser.add_argument(
        "--folder", "--data.cache_folder", help="cache folder; default: $LDX_CACHE, else ~/.cache/landmark_diffusion"
    )
    folder = parser.parse(argv).folder

    from landmark_diffusion.data.cache import clear, default_folder

    files, size = clear(folder)
    print(f"{folder or default_folder()}: removed {counted(files, 'file')}, {size / 2**20:.1f} MiB")
    return 0


def _build(arguments: argparse.Namespace) -> LandmarkDataset:
    from landmark_diffusion.data.landmark_names import renamed
    from landmark_diffusion.data.sources import build_dataset

    section = config_section(arguments.config)
    if arguments.dataset not in (None, section.get("dataset")):  # the config's split is another dataset's
        section = {key: value for key, value in section.items() if key not in OF_ONE_DATASET}
    options = dict(section.get("dataset_options") or {})
    name = arguments.dataset or section.get("dataset") or ("folder" if arguments.csv or arguments.form else None)
    if name is None:
        raise UserError("ldx data check: name what to check, by --config NAME or by --dataset NAME --root PATH")
    own = {key: getattr(arguments, key) for key in ("csv", "form", "split_column", "patient_column")}
    given = {"split": arguments.split or section.get("split"), **own}
    options |= {key: value for key, value in given.items() if value is not None}
    if section.get("labels") is False:
        options["labels"] = False
    names = section.get("landmark_names") if arguments.landmark_names is None else _names(arguments.landmark_names)
    return renamed(build_dataset(name, arguments.root or section.get("root"), **options), names)


def _names(text: str) -> list[str] | dict[str, str]:
    """Read names of landmarks as `ldx fit` does; raises UserError for what is neither a list nor a mapping."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if isinstance(found, list) and not any(isinstance(each, list | dict) for each in found):
        return list(map(str, found))
    if isinstance(found, dict) and not any(isinstance(each, list | dict) for each in found.values()):
        return {str(old): str(new) for old, new in found.items()}
    raise UserError(
        f"--landmark_names: found {text!r}, expected all names in the data's order, '[sella, nasion]', or some to "
        "rename, '{N: nasion}'"
    )


def config_section(names: list[str]) -> dict[str, Any]:
    """Read the ``data`` section of configs, a later one over an earlier one; both ways to write a class are read."""
    section: dict[str, Any] = {}
    for name in names:
        data = load_yaml(find_config(name)).get("data")
        if isinstance(data, dict):
            section |= data.get("init_args") or {} if "class_path" in data else data
    return section


def _summary(dataset: LandmarkDataset, errors: int, doubts: int) -> Any:
    """A small table: what was checked and what came out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"data check: {dataset.name}", show_header=False, title_justify="left")
    for label, value in (
        ("landmarks", _landmarks(dataset.landmark_names)),
        ("annotators", escape(", ".join(dataset.annotator_names))),
        ("unit", dataset.unit),
        ("images", _part_sizes(dataset)),
        ("errors", f"[bold red]{errors}" if errors else "0"),
        ("warnings", f"[yellow]{doubts}" if doubts else "0"),
    ):
        table.add_row(label, value)
    return table


def _landmarks(names: Sequence[str]) -> str:
    """How many, and what they are called where they have names."""
    from rich.markup import escape

    from landmark_diffusion.data.landmark_names import have_names

    if not have_names(names):
        return str(len(names))
    return f"{len(names)}: " + escape(", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else ""))


def _part_sizes(dataset: LandmarkDataset) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is among the findings
            return ", ".join(f"{stage} {len(dataset.samples(stage))}" for stage in ("train", "val", "test"))
    except DataError:
        return "not known before the errors are mended"
