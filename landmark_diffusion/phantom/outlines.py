"""The outlines of one skull in the head frame: mm, origin near the sella, x forwards, y down, Frankfort plane level.

Every outline was placed by hand after textbook proportions (S-N 71 mm, N-Me 120 mm); none is traced. Those that depend
on nothing else are in ``outlines.json``: points, and how the pencil draws them.
"""

# ruff: noqa: RUF005 - "point + (dx, dy)" moves an array here, it does not join lists
# tables of points are read by rows
# fmt: off

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from landmark_diffusion.phantom.shapes import ellipse, extreme, rotate, spline

Line = np.ndarray
"""(M, 2) points of an outline in mm."""

Points = np.ndarray | Sequence[np.ndarray | tuple[float, float]]
"""Points (M, 2) in mm, or one by one."""


def _varied(mean: float, deviation: float, unit: str) -> float:
    return field(default=mean, metadata={"deviation": deviation, "unit": unit})


@dataclass(frozen=True)
class SkullParameters:
    """What differs from skull to skull; the defaults are the mean skull, ``draw`` varies them within 2 deviations."""

    scale: float = _varied(1.0, 0.028, "ratio")
    rotation: float = _varied(0.0, 3.5, "degrees, nose down positive")
    sella_x: float = _varied(84.0, 1.8, "mm on the film")
    sella_y: float = _varied(99.0, 2.2, "mm on the film")
    vault_height: float = _varied(0.97, 0.03, "ratio")
    vault_length: float = _varied(1.0, 0.03, "ratio")
    maxilla_forward: float = _varied(0.0, 1.8, "mm")
    spine_height: float = _varied(47.0, 1.5, "mm below sella")
    ramus_height: float = _varied(56.0, 3.0, "mm")
    body_length: float = _varied(77.0, 2.5, "mm")
    mandibular_angle: float = _varied(26.5, 3.0, "degrees to Frankfort")
    chin: float = _varied(0.0, 1.0, "mm")
    incisor_angle: float = _varied(111.0, 5.0, "degrees to Frankfort")
    overjet: float = _varied(2.8, 0.9, "mm")
    overbite: float = _varied(2.3, 0.9, "mm")
    occlusal_tilt: float = _varied(6.0, 2.0, "degrees")
    nose: float = _varied(0.0, 2.5, "mm")
    lips: float = _varied(0.0, 1.5, "mm")
    chin_tissue: float = _varied(12.0, 1.3, "mm")
    neck_tilt: float = _varied(6.0, 4.0, "degrees, head forward positive")
    entropy: tuple[int, ...] = (0,)

    @classmethod
    def draw(cls, entropy: tuple[int, ...]) -> SkullParameters:
        """Draw a skull; equal ``entropy`` (non-negative integers) gives the equal skull on any machine and process."""
        rng = np.random.default_rng([*entropy, 0])
        varied = [f for f in fields(cls) if "deviation" in f.metadata]
        draws = np.clip(rng.standard_normal(len(varied)), -2.0, 2.0)
        values = {f.name: f.default + f.metadata["deviation"] * float(z) for f, z in zip(varied, draws, strict=True)}
        return cls(**values, entropy=tuple(entropy))


class Pencil:
    """Draws smooth lines through hand-placed points, each point a little elsewhere in each skull."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, points: Points, closed: bool = False, shake: float = 0.5, step: float = 0.8) -> Line:
        control = np.asarray(points, dtype=np.float64)
        control = control + shake * np.clip(self.rng.standard_normal(control.shape), -2, 2)
        return spline(control, closed, step)

    def named(self, *names: str, **places: np.ndarray | tuple[float, float]) -> dict[str, Line]:
        """Draw outlines of ``outlines.json``, in this order; a point may be counted from one of ``places``."""
        drawn = {}
        for name in names:
            known = read_table("outlines.json")[name]
            points = [np.add((x, y), places[place[0]] if place else 0.0) for x, y, *place in known["points"]]
            drawn[name] = self(**known | {"points": points})
        return drawn

    def changed(self, name: str, points: np.ndarray) -> Line:
        """Draw an outline of ``outlines.json`` with its points moved to these."""
        return self(**read_table("outlines.json")[name] | {"points": points})


@cache
def read_table(name: str) -> dict[str, Any]:
    """Read a table that lies beside this file; ``outlines.json`` holds the pencil's arguments by outline."""
    found: dict[str, Any] = json.loads(files(__package__).joinpath(name).read_text("utf-8"))
    return found


def _points(name: str) -> np.ndarray:
    return np.asarray(read_table("outlines.json")[name]["points"], dtype=np.float64)


def draw_outlines(p: SkullParameters) -> tuple[dict[str, Line], list[tuple[Line, Line]]]:
    """Draw one skull in the head frame: its outlines by name, and (crown, root) of each tooth.

    The near upper incisor is the last tooth.
    """
    pencil = Pencil(np.random.default_rng([*p.entropy, 1]))
    lines: dict[str, Line] = {}
    _vault(lines, pencil, p)
    _cranial_base(lines, pencil)
    tip = _jaws(lines, pencil, p)
    teeth = _teeth(lines, pencil, p, tip)
    _face(lines, pencil, p, tip)
    _neck(lines, pencil, p)
    return lines, teeth


def _sized(name: str, p: SkullParameters) -> np.ndarray:
    """Stretch the back and the top of an outline of the head to the skull's own vault."""
    x, y = _points(name).T
    return np.stack(
        [np.where(x < 0, x * p.vault_length, x), np.where(y < -10, -10 + (y + 10) * p.vault_height, y)], 1
    )


def _vault(lines: dict[str, Line], pencil: Pencil, p: SkullParameters) -> None:
    shake = pencil.rng.standard_normal() * 0.6  # both tables move together, else the bone's thickness would wander
    for name in ("outer table", "inner table"):
        lines[name] = pencil.changed(name, _sized(name, p) + (0, shake))
    profile = pencil.named("nasal profile")["nasal profile"]
    profile = profile + (lines["outer table"][0] - extreme(profile[: len(profile) * 2 // 3], (-1.0, 0.0))[0])
    lines["nasal profile"] = profile
    bridge_from = nearest(profile, lines["outer table"][0])
    lines["nasal bone"] = np.concatenate([profile[bridge_from:], [(82.6, 18), (75, 8.5), (68, 2), (64, -5)]])
    lines |= pencil.named("frontal sinus", "suture", "artery")


def _cranial_base(lines: dict[str, Line], pencil: Pencil) -> None:
    lines |= pencil.named("sella fossa")
    ends = {"front": lines["sella fossa"][0], "back": lines["sella fossa"][-1]}
    lines |= pencil.named(
        "dorsum", "planum", "orbital roof", "orbital roof far", "clivus back", "sphenoid sinus", "greater wing",
        "pterygoid", "foramen", "fossa floor", "petrous", "mastoid", "occipital base", "ethmoid", **ends,
    )
    lines["clivus"] = np.concatenate([lines["clivus back"], [(-20, 44), (-12, 31), (-3, 19), (-1, 9), (-4.6, 4)]])
    radii = (3.4 + 0.3 * pencil.rng.random(), 4.2 + 0.5 * pencil.rng.random())
    lines["ear canal"] = ellipse((-24, 26.0), radii, 8, 120)


def _jaws(lines: dict[str, Line], pencil: Pencil, p: SkullParameters) -> np.ndarray:
    """Draw maxilla and mandible; return the tip of the upper incisor, (2,) head mm."""
    condyle = np.array([-11.5, 21.0])
    corner = condyle + p.ramus_height * np.array([0.05, 1.0])
    forward = rotate(np.array([1.0, 0.0]), p.mandibular_angle)
    chin = corner + (p.body_length - 4.5) * forward + (4.0, 0.5)
    tip = np.array([75.0 + p.maxilla_forward, 76.0 + 0.75 * (chin[1] - 111.0)])
    spine = np.array([74.5 + p.maxilla_forward, p.spine_height])
    up = rotate(np.array([0.0, -1.0]), 90.0 - p.incisor_angle)
    _maxilla(lines, pencil, spine, tip, up)
    _mandible(lines, pencil, p, condyle, corner, forward, chin, tip)
    lines["incisor axis"] = np.stack([tip, tip + 23.0 * up])
    return tip


def _maxilla(lines: dict[str, Line], pencil: Pencil, spine: np.ndarray, tip: np.ndarray, up: np.ndarray) -> None:
    labial = np.array([-up[1], up[0]])
    neck = tip + 10.5 * up + 3.4 * labial
    hollow = 0.5 * spine + 0.5 * neck + (-4.6, 0.3)
    front = pencil([spine, spine + (-3.0, 2.6), hollow, 0.35 * hollow + 0.65 * neck + (-0.6, 0),
                    neck], shake=0.15, step=0.4)
    lines["maxilla front"] = front
    spine = front[0]
    crest: Points = [neck + (-5, 0.3), (60, tip[1] - 10), (45, tip[1] - 11.5), (32, tip[1] - 12), (26, tip[1] - 17)]
    roof = [(24, spine[1] + 1), (36, spine[1] + 0.5), (50, spine[1] - 0.3), (62, spine[1] - 1.5), (69, spine[1] - 1.2)]
    lines["maxilla"] = np.concatenate([front, pencil(crest, shake=0.4), pencil(roof, shake=0.2)])
    under: Points = [spine + (-4.5, 2.6), (60, spine[1] + 3.4), (45, spine[1] + 3.3), (30, spine[1] + 2.6),
                     (18, spine[1] + 1.5)]
    y = spine[1]
    lines["palate"] = np.concatenate([[spine], pencil(under, shake=0.2), [(18, y + 0.3)], pencil(roof, shake=0.2)])
    lines |= pencil.named("maxillary sinus", "nasal cavity", "turbinate", palate=(0, y))


def _mandible(lines: dict[str, Line], pencil: Pencil, p: SkullParameters, condyle: np.ndarray, corner: np.ndarray,
              forward: np.ndarray, chin: np.ndarray, tip: np.ndarray) -> None:
    lower_tip = tip + (-p.overjet - 0.8, -p.overbite)
    apex_way = chin + (2.5, -17.0) - lower_tip
    down = apex_way / np.linalg.norm(apex_way)
    ahead = np.array([down[1], -down[0]])
    lines["lower incisor axis"] = np.stack([lower_tip, lower_tip + 21.0 * down])
    neck = lower_tip + 9.5 * down
    knob = chin + (7.2 + p.chin, -8.5)
    hollow = 0.52 * (neck + 3 * ahead) + 0.48 * knob + (-3.0, 0)
    hollow[0] = min(hollow[0], knob[0] - 2.4)  # a chin without a knob would leave pogonion without a place
    up = np.array([forward[1], -forward[0]])
    y = tip[1]
    outline = [
        neck + 3.0 * ahead, 0.5 * (neck + 3 * ahead + hollow) + (-0.6, 0), hollow, knob, chin + (4.8, -2.6), chin,
        chin + (-6.5, -2.4), chin - 20 * forward + 0.2 * up, chin - 36 * forward + 1.6 * up,
        corner + 17 * forward + 1.9 * up, corner + 7.5 * forward + 0.7 * up, corner + (1.2, -3.2),
        corner + (-0.6, -10), corner + (0.6, -24), condyle + (-1.2, 16), condyle + (-4.4, 6.5), condyle + (-3.6, 1.2),
        condyle + (0.6, -0.6), condyle + (4.6, 2.2), condyle + (5.2, 8), condyle + (10, 15.5), condyle + (19, 14.5),
        condyle + (28, 5.5), condyle + (31, 10), condyle + (31.5, 24), (23.5, y - 14), (30, y - 1), (35, y + 6.5),
        (50, y + 8), (62, y + 8), neck - 3.2 * ahead + (0, 0.6),
    ]
    lines["mandible"] = pencil(outline, closed=True, shake=0.3, step=0.4)
    lines["chin front"] = lines["mandible"][: nearest(lines["mandible"], chin - 20 * forward + 0.2 * up)]
    lines["chin knob"] = lines["chin front"][nearest(lines["chin front"], hollow) :]
    ends = [nearest(lines["mandible"], place) for place in (corner + 17 * forward + 1.9 * up, corner + (0.6, -24))]
    lines["jaw angle"] = lines["mandible"][ends[0] : ends[1]]
    canal = [corner + along * forward + high * up for along, high in ((16, 17), (30, 11), (48, 11))]
    lines["mandibular canal"] = pencil([condyle + (17, 34), *canal], shake=0.8)
    places = {"neck": neck, "hollow": hollow, "knob": knob, "chin": chin}
    lines |= pencil.named("symphysis core", "symphysis back", **places)


def nearest(line: Line, point: np.ndarray) -> int:
    return int(np.argmin(((line - point) ** 2).sum(1)))


def _teeth(lines: dict[str, Line], pencil: Pencil, p: SkullParameters, tip: np.ndarray) -> list[tuple[Line, Line]]:
    """Draw crowns and roots of both jaws and sides; the near upper incisor comes last and ends exactly at ``tip``."""
    teeth: list[tuple[Line, Line]] = []
    back = rotate(np.array([-1.0, 0.0]), p.occlusal_tilt)
    #        distance behind the incisor, width, crown, root, leaning of the root
    kinds = [(47.0, 9.5, 6.2, 11.0, 14), (37.0, 10.5, 6.5, 12.0, 8), (27.5, 6.8, 7.2, 13.0, 4),
             (20.5, 6.8, 7.6, 13.5, 2), (13.5, 7.2, 9.0, 16.0, -4)]
    for side in (1, 0):
        shift = side * (pencil.rng.normal(0, 1.2, 2) + (-1.2, -0.6))
        for distance, width, crown, root, lean in kinds:
            place = tip + back * distance + shift + (0, -1.4 if distance > 15 else -0.4)
            for upper in (True, False):
                wobble = pencil.rng.normal(0, [0.5, 0.4, 3.0])
                turn = p.occlusal_tilt + (-lean if upper else lean) + wobble[2]
                way = rotate(np.array([0.0, -1.0 if upper else 1.0]), turn)
                step = (0.0, 0.0) if upper else (-2.5, 0.5)
                teeth.append(_cheek_tooth(pencil, place + step + wobble[:2], way, width, crown, root))
    lower_tip, lower_apex = lines["lower incisor axis"]
    upper_apex = lines["incisor axis"][1]
    for offset in ((-1.6, -0.4), (0.0, 0.0)):
        teeth.append(_incisor(lower_tip + offset, lower_apex + offset, 0.82, -1.0))
        teeth.append(_incisor(tip + offset, upper_apex + offset, 1.0, 1.0))
    return teeth


def _cheek_tooth(
    pencil: Pencil, place: np.ndarray, way: np.ndarray, width: float, crown: float, root: float
) -> tuple[Line, Line]:
    """One molar, premolar or canine: ``place`` is the middle of its chewing surface, ``way`` points to its roots."""
    across = np.array([-way[1], way[0]])
    w, twin = width / 2, width > 8

    def at(points: Points) -> np.ndarray:
        a = np.asarray(points, dtype=np.float64)
        placed: np.ndarray = place + a[:, :1] * way + a[:, 1:] * across
        return placed

    cusp = [(0, -0.6 * w), (1.0, 0.0), (0, 0.6 * w)] if width > 7.5 else [(-0.3, 0.0)]
    cap = pencil(at([(crown, -0.78 * w), (0.45 * crown, -w), *cusp, (0.45 * crown, w), (crown, 0.78 * w)]), shake=0.12)
    if twin:
        legs = [(crown - 1, -0.8 * w), (crown + 0.5 * root, -0.75 * w), (crown + root, -0.55 * w),
                (crown + 0.6 * root, -0.25 * w), (crown + 0.3 * root, 0), (crown + 0.6 * root, 0.3 * w),
                (crown + root, 0.7 * w), (crown + 0.5 * root, 0.75 * w), (crown - 1, 0.8 * w)]
    else:
        legs = [(crown - 1, -0.75 * w), (crown + 0.5 * root, -0.5 * w), (crown + root, 0.1 * w),
                (crown + 0.5 * root, 0.5 * w), (crown - 1, 0.75 * w)]
    return cap, pencil(at(legs), closed=True, shake=0.15)


def _incisor(tip: np.ndarray, apex: np.ndarray, size: float, front: float) -> tuple[Line, Line]:
    """An incisor in profile, ``front`` the sign of its labial side; its crown begins at ``tip``, a true corner."""
    length = float(np.linalg.norm(apex - tip))
    way = (apex - tip) / length
    labial = front * np.array([-way[1], way[0]])

    def at(points: Points) -> np.ndarray:
        a = np.asarray(points, dtype=np.float64)
        placed: np.ndarray = tip + a[:, :1] * way + size * a[:, 1:] * labial
        return placed

    faces = [(3.2 * size, 1.25), (7 * size, 2.8), (10.3 * size, 3.3)]
    insides = [(9.6 * size, -3.4), (7.0 * size, -2.8), (4.5 * size, -1.8), (2.4 * size, -1.3), (0.4 * size, -0.9)]
    crown = np.concatenate([at([(0, 0)]), spline(at(faces), step=0.8), spline(at(insides), step=0.8)])
    sides = [(9 * size, 3.2), (0.72 * length, 2.4), (length, 0), (0.72 * length, -2.3), (9 * size, -3.2)]
    return crown, spline(at(sides), True, 0.8)


def _face(lines: dict[str, Line], pencil: Pencil, p: SkullParameters, tip: np.ndarray) -> None:
    lines |= pencil.named("orbital rim", "orbit", "lateral orbit", "key ridge", "cheekbone", "zygomatic arch")
    m, nose, lips = p.maxilla_forward, p.nose, p.lips
    knob = extreme(lines["chin knob"], (1.0, 0.0))[0]
    menton = extreme(lines["chin front"], (0.0, 1.0))[0]
    fold = 0.5 * (tip + (-p.overjet, 8.0) + knob) + (6.8 + 0.4 * lips, 0)
    fold[0] = min(fold[0], knob[0] + p.chin_tissue - 3.0)
    base = p.spine_height
    lip = lips - 0.5 * p.overjet
    front: Points = [
        tip + (10.0 + lip, 10.0), tip + (12.8 + lip, 6.4), tip + (12.0 + lip, 2.6), tip + (8.2 + lip, 0.4),
        tip + (11.2 + lips, -1.2), tip + (14.0 + lips, -4.4), tip + (12.8 + lips, -9.0), (86 + m, base + 9.0),
        (91.5 + m + 0.6 * nose, base + 6), (99 + m + nose, base - 1), (101.8 + m + nose, base - 8),
        (97 + m + 0.8 * nose, base - 20), (86.5 + 0.3 * nose, 8), (78.0, -6), (80.2, -15),
    ]
    lower_face: Points = [
        (20, 230), (14, 190), (12, 160), (19, menton[1] + 17), (36, menton[1] + 13), menton + (-9, 9.6),
        menton + (4, 8.8), knob + (p.chin_tissue - 3.0, 7.8), knob + (p.chin_tissue, -0.5), fold + (-0.2, -3.0),
    ]
    lines["skin"] = np.concatenate([pencil([*lower_face, *front, *_sized("scalp", p)], shake=0.25, step=0.6),
                                    [(-160, 230)]])
    ends = [nearest(lines["skin"], place) for place in (menton + (4, 8.8), fold + (-0.2, -3.0))]
    lines["soft chin"] = lines["skin"][ends[0] : ends[1]]
    lines["nostril"] = pencil([(88 + m, base + 1), (93 + m + nose, base + 2), (96 + m + nose, base - 3),
                               (90 + m, base - 6)], True)
    lines["shoulder"] = _points("shoulder")
    lines |= pencil.named("tongue", "mouth", tip=tip, base=(0, base))


def _neck(lines: dict[str, Line], pencil: Pencil, p: SkullParameters) -> None:
    names = ("pharynx", "soft palate", "epiglottis", "hyoid", "hyoid horn")
    lines |= pencil.named(*names, base=(0, p.spine_height))
    pivot = np.array([-18.0, 48.0])
    turn = -p.neck_tilt + 6.0

    def tilted(line: Line) -> Line:
        turned: np.ndarray = rotate(line - pivot, turn) + pivot
        return turned

    lines |= {name: tilted(line) for name, line in pencil.named("atlas arch", "atlas back", "dens").items()}
    for level in range(5):
        x, y, lean = -20.5 - 1.6 * level - 0.35 * level**2, 91.0 + 17.0 * level, 4.0 + 1.5 * level
        size = 1.0 + 0.03 * level
        for part in ("body", "process"):
            drawn = pencil.changed(f"vertebra {part}", _points(f"vertebra {part}") * size)
            lines[f"vertebra {level} {part}"] = tilted(rotate(drawn, lean) + (x, y))
