"""What was found, in words for a terminal, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.grid import Grid, rounded
from landmark_diffusion.core.json_files import write_json
from landmark_diffusion.core.texts import counted
from landmark_diffusion.studies.label_faults.judging import Judgement, LabelFault
from landmark_diffusion.studies.label_faults.material import LabelMaterial
from landmark_diffusion.studies.label_faults.offsets import ConstantOffset

CSV_NAME, JSON_NAME, SHEET_NAME = "label_faults.csv", "label_faults.json", "label_faults.png"
_SHOWN = 30


def reason(fault: LabelFault, material: LabelMaterial) -> str:
    """Say in words what is wrong."""
    names = ", ".join(material.landmarks[place] for place in fault.landmarks)
    far = f"{rounded(fault.distance, 1)} {material.unit}"
    other = "" if fault.other is None else material.ids[fault.other]
    words = {
        "image turned": f"the image lies {fault.orientation}, its labels do not: they fit once it is brought back",
        "labels turned": f"the labels lie {fault.orientation}, the image does not: brought back, they fit",
        "both turned": f"image and labels both lie {fault.orientation}: they fit each other",
        "other image": f"labels of another image: they fit {other}, not this one",
        "moved": f"all labels are moved by {far}: moved back, they fit",
        "unlike any": "the labels fit neither what the model finds here, nor another image",
        "exchanged": f"exchanged with each other: {names}",
        "slipped": f"{names}: lies {far} from where the model, the other labels and annotators have it",
        "not judged": "cannot be judged: the model does not know such an image; its labels may be right",
    }
    return words[fault.kind]


def faults_grid(judgement: Judgement, material: LabelMaterial, notes: Sequence[str] = ()) -> Grid:
    """Lay out the doubts, the worst first, then what cannot be judged."""
    several = len(material.annotators) > 1
    unit = material.unit
    rows = [
        (
            str(rank + 1), material.ids[each.image], *([_who(each, material)] if several else []),
            reason(each, material), rounded(each.distance, 1), _percent(each.probability),
        )
        for rank, each in enumerate(judgement.faults[:_SHOWN])
    ]  # fmt: skip
    headings = ("#", "image", *(["labels by"] if several else []), "what is wrong", f"off, {unit}", "sure, %")
    images = {each.image for each in judgement.faults}
    gross = {each.image for each in judgement.faults if each.kind != "slipped"}
    more = len(judgement.faults) - _SHOWN
    unknown = sorted({material.ids[each.image] for each in judgement.not_judged})
    turned = [f"{material.ids[each.image]} ({each.orientation})" for each in judgement.turned]
    notes = (
        *([f"{counted(more, 'doubt')} more in the files"] if more > 0 else []),
        *([f"cannot be judged, since the model does not know such images: {_list(unknown)}"] if unknown else []),
        *([f"lie turned together with their labels, which fit them: {_list(turned)}"] if turned else []),
        *notes,
    )
    whole = f", in {len(gross)} of them about all labels or an exchange" if images else ""
    above = (f"{counted(len(material), 'image')} judged; doubts about {counted(len(images), 'image')}{whole}",)
    return Grid(
        "labels against the model", above, headings, headings, (tuple(rows),), notes, tuple(range(len(headings) - 2))
    )


def offsets_grid(offsets: Sequence[ConstantOffset], material: LabelMaterial) -> Grid | None:
    """Lay out the constants that are worth a word, the largest first; None where there are none."""
    told = sorted((each for each in offsets if each.is_told), key=lambda each: -each.length)
    if not told:
        return None
    rows = [
        (
            material.landmarks[each.landmark], material.annotators[each.annotator], each.against,
            *(f"{o:+.2f} [{a:+.2f}, {b:+.2f}]" for o, a, b in zip(each.offset, each.low, each.high, strict=True)),
            rounded(each.usual),
        )
        for each in told[:_SHOWN]
    ]  # fmt: skip
    headings = ("landmark", "labels by", "against", f"x, {material.unit}", "y", "else")
    title = "constants: a property of the data set, no fault of an image"
    above = ("median offset with an interval (95 % for all together), and the usual distance without it",)
    return Grid(title, above, headings, headings, (tuple(rows),), (), (0, 1, 2))


def write_tables(
    folder: Path,
    judgement: Judgement,
    material: LabelMaterial,
    offsets: Sequence[ConstantOffset],
    facts: dict[str, Any],
) -> list[Path]:
    """Write CSV and JSON into a folder that exists; returns the paths. Raises UserError where that fails."""
    rows = [_values(rank, each, material) for rank, each in enumerate(_all(judgement), 1)]
    heading = ("rank", "image", "labels_by", "kind", "landmarks", "distance", "unit", "score", "probability",
               "orientation", "other_image", "reason", "source")  # fmt: skip
    cells = [[_cell(row[name]) for name in heading] for row in rows]
    document = {
        **facts,
        "unit": material.unit,
        "images": len(material),
        "landmarks": list(material.landmarks),
        "annotators": list(material.annotators),
        "faults": rows,
        "constants": [
            {
                "landmark": material.landmarks[each.landmark], "labels_by": material.annotators[each.annotator],
                "against": each.against, "offset": each.offset.tolist(), "low": _finite(each.low),
                "high": _finite(each.high), "images": each.images, "usual_distance": each.usual, "told": each.is_told,
            }
            for each in offsets
        ],
    }  # fmt: skip
    paths = [folder / CSV_NAME, folder / JSON_NAME]
    write_csv(paths[0], [heading, *cells])
    write_json(paths[1], document, indent=1)
    return paths


def _all(judgement: Judgement) -> tuple[LabelFault, ...]:
    return (*judgement.faults, *judgement.not_judged, *judgement.turned)


def _values(rank: int, fault: LabelFault, material: LabelMaterial) -> dict[str, Any]:
    known = bool(np.isfinite(fault.score))
    return {
        "rank": rank,
        "image": material.ids[fault.image],
        "labels_by": [material.annotators[place] for place in fault.annotators],
        "kind": fault.kind,
        "landmarks": [material.landmarks[place] for place in fault.landmarks],
        "distance": round(fault.distance, 4),
        "unit": material.unit,
        "score": round(fault.score, 3) if known else None,
        "probability": round(fault.probability, 6) if known else None,
        "orientation": fault.orientation,
        "other_image": "" if fault.other is None else material.ids[fault.other],
        "reason": reason(fault, material),
        "source": material.sources[fault.image],
    }


def _cell(value: Any) -> Any:
    return "; ".join(value) if isinstance(value, list) else value


def _who(fault: LabelFault, material: LabelMaterial) -> str:
    return ", ".join(material.annotators[place] for place in fault.annotators)


def _percent(probability: float) -> str:
    return f"{min(100 * probability, 99.9):.1f}"


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(each) if np.isfinite(each) else None for each in values]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
