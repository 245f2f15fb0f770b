"""Labels in the forms of the tools that people mark with (docs/formats.md): read by content, written by name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.registry import Registry
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

_LOOKED_AT = 5
_TABLES = {".csv": "csv", ".tsv": "csv", ".xlsx": "xlsx", ".xlsm": "xlsx"}
_HERE = "landmark_diffusion.data.labels"

FORMATS = Registry(
    what="form of labels",
    option="--to",
    group="landmark_diffusion.label_formats",
    base=f"{_HERE}.label_format:LabelFormat",
    built_in={
        "coco": f"{_HERE}.coco:CocoFormat",
        "labelme": f"{_HERE}.labelme:LabelMeFormat",
        "cvat": f"{_HERE}.cvat:CvatFormat",
        "cvat-skeleton": f"{_HERE}.cvat:CvatSkeletonFormat",
        "label-studio": f"{_HERE}.label_studio:LabelStudioFormat",
        "isbi": f"{_HERE}.isbi:IsbiFormat",
        "via": f"{_HERE}.via:ViaFormat",
        "via-csv": f"{_HERE}.via:ViaCsvFormat",
        "slicer": f"{_HERE}.slicer:SlicerFormat",
        "yolo": f"{_HERE}.yolo:YoloFormat",
        "deeplabcut": f"{_HERE}.deeplabcut:DeepLabCutFormat",
        "xlsx": "landmark_diffusion.data.sources.folder.labels_xlsx:XlsxFormat",
        "csv": "landmark_diffusion.data.sources.folder.labels_csv:CsvFormat",
    },
)
"""Forms by name, in the order in which a source is tried for them."""

__all__ = [
    "FORMATS",
    "Flag",
    "ImageFolder",
    "LabelFormat",
    "LabelSet",
    "LabelSource",
    "LabelledImage",
    "Mark",
    "forms_in",
    "images_of",
    "label_format",
    "read_labels",
    "recognise",
    "target_format",
]


def label_format(name: str) -> LabelFormat:
    """Make a form by its name; raises UserError that names the nearest for one that is not known."""
    made: LabelFormat = FORMATS.load(name)()
    return made


def recognise(path: str | Path, option: str = "--from") -> tuple[LabelFormat, LabelSource]:
    """Tell by its content which form a file or folder has; of a folder, also the one file in it that has one.

    Raises DataError for an empty file, where none fits, or several files of a folder do; it says what is wrong with the
    one file that may be meant, else names ``option``, by which a user tells the form.
    """
    _refuse_empty(LabelSource(path))
    fitting = forms_in(path)
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(FORMATS.names())
    if not os.path.isdir(path):
        _tell_damage(LabelSource(path))
        raise DataError(f"found labels of no form that is known ({known}); name it by {option}", path)
    if not fitting:
        likely = [each for each in LabelSource(path).files if _may_hold(each)]
        if len(likely) == 1:
            return recognise(likely[0], option)
        for each in likely[:_LOOKED_AT]:
            _tell_damage(LabelSource(each))
        looked = f" (looked at {counted(len(likely), 'file')}: {likely[0].name}, ...)" if likely else ""
        raise DataError(f"found no labels of a form that is known here ({known}){looked}; name the file", path)
    names = ", ".join(f"{each.path.name} ({form.name})" for form, each in fitting[:5])
    raise DataError(f"found {len(fitting)} files with labels, {names}; name one of them", path)


def _tell_damage(source: LabelSource) -> None:
    """Raise DataError with the place where a file is broken, or not as its kind of table has to be; else nothing."""
    if source.beginning.startswith(("{", "[")):
        _ = source.json
    if (table := _TABLES.get(source.path.suffix.lower())) is not None:
        label_format(table).read(source, images_of(source.path))


def forms_in(path: str | Path) -> list[tuple[LabelFormat, LabelSource]]:
    """Tell which forms of labels there are: that of the file or folder, else those of the files in the folder."""
    source = LabelSource(path)
    formats = _usable()
    if (found := _first(formats, source)) is not None:
        return [(found, source)]
    if not source.is_folder:
        return []
    within = [LabelSource(each) for each in source.files if each.parent == source.path and _may_hold(each)]
    return [(form, each) for each in within if (form := _first(formats, each)) is not None]


def read_labels(path: str | Path, form: str | None = None, images: Path | None = None) -> tuple[LabelFormat, LabelSet]:
    """Read a file or folder with labels, in the form that its content shows, or in ``form``.

    ``images`` is the folder of its images; by default that of the labels. Raises DataError for what cannot be read.
    """
    if form is None:
        found, source = recognise(path)
        return found, found.read(source, images_of(source.path, images))
    found, source = label_format(form), LabelSource(path)
    _refuse_empty(source)
    try:
        return found, found.read(source, images_of(source.path, images))
    except DataError as error:
        other = _first(_usable(), source)
        if other is None or isinstance(found, type(other)):  # a kind of it reads the same
            raise
        raise DataError(f"{error}; by its content it is {other.name}: leave out --from {form}") from error


def _refuse_empty(source: LabelSource) -> None:
    """Raise DataError for a file without any content, blanks aside."""
    if not (source.is_folder or source.head.strip() or source.content.strip()):
        raise DataError("the file is empty, expected labels; export or copy it again", source.path)


def images_of(path: Path, folder: Path | None = None) -> ImageFolder:
    """Give the images of labels at ``path``: in ``folder``, else where the labels lie."""
    if folder is not None:
        return ImageFolder(folder)
    return ImageFolder(path if os.path.isdir(path) else path.parent, naming=False, option="--images")


def _usable() -> list[LabelFormat]:
    """All forms; one of another package that cannot be loaded is passed over, and `ldx plugins` says why."""
    found = [label_format(name) for name in FORMATS.built_in]
    for name in FORMATS.found():
        with suppress(UserError):
            found.append(label_format(name))
    return found


def _first(formats: list[LabelFormat], source: LabelSource) -> LabelFormat | None:
    return next((each for each in formats if each.recognises(source)), None)


def _may_hold(path: Path) -> bool:
    """Whether a file's name is one of tables and texts, which spares reading images."""
    return path.suffix.lower() in (".json", ".xml", ".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".yaml", ".yml")


def target_format(name: str) -> LabelFormat:
    """Make a form that is written; raises UserError for one that is only read."""
    form = label_format(name)
    if not form.writes:
        raise UserError(f"--to: {form.title} is only read; name another form")
    return form
