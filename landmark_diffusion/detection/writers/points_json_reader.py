"""Read points.json back as detections, with one clear line on whatever is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.untrusted import has_control_characters, repeated
from landmark_diffusion.data.forms import BY_NAME
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.reasons import UNKNOWN

SCHEMA = "urn:landmark_diffusion:points"
FORMAT_VERSION = 1
"""Raised when an older reader would misread a file; fields that it may pass over are added without that."""

Check = Callable[[Any], bool]

ORIENTATION_NAMES = (*BY_NAME, UNKNOWN)
"""All that ``Detection.orientation`` may say where somebody looked."""

_LINE = "a text without control characters"
_TEXT = "a text without control characters other than tabs and line ends"


def read_points_json(path: str | Path) -> list[Detection]:
    """Read what ``ldx detect --to json`` wrote, exactly, but for the pictures, which the file does not hold.

    What follows from something else (mm, ellipses, areas) is worked out again. Raises DataError naming the file and
    the field where it is missing, damaged, something else or written by a newer version of this package. Texts are
    printed later, so one that would steer a terminal (ESC and the like) is refused, here in its escaped form.
    """
    path = Path(path)
    content = _object(_parse(path), path, "the file")
    if content.get("schema") != SCHEMA:
        _fail(path, "schema", content.get("schema"), f"{SCHEMA!r}: is this a points.json of `ldx detect`?")
    _check_version(content, path)
    model = _take(content, "model", _LINE, _is_line, path, "")
    images = _take(content, "images", "a list", _is_list, path, "")
    detections = [_detection(image, model, path, f"images[{index}]") for index, image in enumerate(images)]
    _check_together(detections, path)
    return detections


def _parse(path: Path) -> Any:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"found {word}, which is no JSON")

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"found the field {repeated(key for key, _ in pairs)!r:.60} twice in one object")
        return found

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse, object_pairs_hook=fields)
    except FileNotFoundError:
        raise DataError("no such file; `ldx detect IMAGES --model FILE --to json` writes points.json", path) from None
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror or error})", path) from None
    except (ValueError, RecursionError) as error:
        message = str(error).splitlines()[0]
        raise DataError(f"no valid JSON ({message}); write it again with `ldx detect`", path) from None


def _check_version(content: Mapping[str, Any], path: Path) -> None:
    found = _take(content, "format_version", "a whole number from 1", lambda v: _is_count(v) and v > 0, path, "")
    if found > FORMAT_VERSION:
        from landmark_diffusion.core.version import version

        raise DataError(
            f"written by landmark_diffusion {content.get('package_version', '(unknown)')!s:.60} in format {found}; "
            f"this is landmark_diffusion {version()}, which reads up to format {FORMAT_VERSION}: upgrade the package",
            path,
        )


def _detection(image: Any, model: str, path: Path, where: str) -> Detection:
    image = _object(image, path, where)

    def take(key: str, expected: str, check: Check) -> Any:
        return _take(image, key, expected, check, path, where)

    entries = take("landmarks", "a list", _is_list)
    landmarks = [_landmark(entry, path, f"{where}.landmarks[{index}]") for index, entry in enumerate(entries)]
    if (twice := repeated(landmark["name"] for landmark in landmarks)) is not None:
        raise DataError(f"{where}.landmarks: found two landmarks of the name {twice!r:.60}", path)
    points = _column(landmarks, "point_px", (2,))

    def take_newer(key: str, expected: str, check: Check) -> Any:
        """Files of earlier versions have none of these."""
        return take(key, f"null or {expected}", _or_null(check)) if key in image else None

    spacing = take("spacing", "null or two numbers above 0", _or_null(_is_spacing))
    return Detection(
        name=take("name", _LINE, _is_line),
        path=take("path", _TEXT, _is_text),
        size=tuple(take("size", "two whole numbers above 0", _is_size)),
        landmark_names=tuple(landmark["name"] for landmark in landmarks),
        points=np.full((len(landmarks), 2), np.nan) if points is None else points,
        covariance=_column(landmarks, "covariance_px2", (2, 2)),
        level=take("level", "null or a number in (0, 1)", _or_null(lambda v: _is_share(v) and 0 < v < 1)),
        regions=_column(landmarks, "region_px2", (2, 2)),
        expected_error=_column(landmarks, "expected_error_px", ()),
        outside=_column(landmarks, "outside_probability", ()),
        far=_column(landmarks, "far_probability", ()),
        doubtful=_flags(landmarks, "doubtful"),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        spacing_source=take("spacing_source", _LINE, _is_line),
        image_score=take("image_score", "null or a number in [0, 1]", _or_null(_is_share)),
        unlike=take("unlike", "null, true or false", _or_null(lambda v: isinstance(v, bool))),
        unlike_reason=take_newer("unlike_reason", _LINE, _is_line) or "",
        orientation=take_newer("orientation", f"one of {', '.join(ORIENTATION_NAMES)}", _is_orientation) or "",
        orientation_probability=take_newer("orientation_probability", "a number in [0, 1]", _is_share),
        notes=tuple(take("notes", f"a list, each {_TEXT}", lambda v: _is_list(v) and all(map(_is_text, v)))),
        model=model,
        settings=take("settings", "an object with fields", lambda v: isinstance(v, dict)),
    )


def _check_together(detections: list[Detection], path: Path) -> None:
    """Refuse two images of one name, and images without the landmarks of the first: one model finds the same in all."""
    if (twice := repeated(each.name for each in detections)) is not None:
        raise DataError(f"found two images of the name {twice!r:.60}, expected names of their own", path)
    for index, each in enumerate(detections):
        if each.landmark_names != detections[0].landmark_names:
            raise DataError(
                f"images[{index}].landmarks: found {len(each.landmark_names)} landmarks that are not the "
                f"{len(detections[0].landmark_names)} of images[0]; write the file again with `ldx detect`",
                path,
            )


def _landmark(entry: Any, path: Path, where: str) -> dict[str, Any]:
    entry = _object(entry, path, where)
    wanted: dict[str, tuple[str, Check]] = {
        "name": (_LINE, _is_line),
        "point_px": ("null or two numbers", _or_null(_is_pair)),
        "covariance_px2": ("null or a 2x2 matrix", _or_null(_is_matrix)),
        "region_px2": ("null or a 2x2 matrix", _or_null(_is_matrix)),
        "expected_error_px": ("null or a number from 0", _or_null(lambda v: _is_number(v) and v >= 0)),
    }
    newer: dict[str, tuple[str, Check]] = {  # files of earlier versions have none of these
        "outside_probability": ("null or a number in [0, 1]", _or_null(_is_share)),
        "far_probability": ("null or a number in [0, 1]", _or_null(_is_share)),
        "doubtful": ("null, true or false", _or_null(lambda v: isinstance(v, bool))),
    }
    wanted |= {key: check for key, check in newer.items() if key in entry}
    found = {key: _take(entry, key, expected, check, path, where) for key, (expected, check) in wanted.items()}
    return dict.fromkeys(newer) | found


def _column(landmarks: list[dict[str, Any]], key: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """(N, *shape) of one field, NaN where it is null; None where it is null everywhere."""
    values = [landmark[key] for landmark in landmarks]
    if all(value is None for value in values):
        return None
    unknown = np.full(shape, np.nan)
    return np.array([unknown if value is None else value for value in values], dtype=np.float64)


def _flags(landmarks: list[dict[str, Any]], key: str) -> np.ndarray | None:
    """(N,) bool of one field, False where it is null beside others that are not; None where it is null everywhere."""
    values = [landmark[key] for landmark in landmarks]
    return None if all(value is None for value in values) else np.array([value is True for value in values])


def _take(content: Mapping[str, Any], key: str, expected: str, check: Check, path: Path, where: str) -> Any:
    name = f"{where}.{key}" if where else key
    if key not in content:
        raise DataError(f"{name} is missing, expected {expected}; write the file again with `ldx detect`", path)
    if not check(content[key]):
        _fail(path, name, content[key], expected)
    return content[key]


def _object(value: Any, path: Path, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(path, where, value, "an object with fields")
    found: dict[str, Any] = value
    return found


def _fail(path: Path, where: str, found: Any, expected: str) -> NoReturn:
    raise DataError(f"{where}: found {found!r:.60}, expected {expected}", path)


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and not has_control_characters(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not has_control_characters(value, but="\t\n")


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e300  # 1e400 reads as infinite; no float holds 10**400


def _is_orientation(value: Any) -> bool:
    return value in ORIENTATION_NAMES


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_pair(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(map(_is_number, value))


def _is_matrix(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(map(_is_pair, value))


def _is_spacing(value: Any) -> bool:
    return _is_pair(value) and min(value) > 0


def _is_size(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(_is_count(each) and each > 0 for each in value)
