"""DeviceRecipe: what other X-ray devices, films, scanners and programs do to a radiograph, drawn anew for each image.

A part is drawn with a probability of its own, and 0 leaves it out. The order is that of the making of an image: the
grey table of the film or program, exposure, things in the beam, the collimator, sharpness, noise, the file's coding,
and last whether bones are bright or dark.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import warp
from landmark_diffusion.data.augmentation.intensity import LEVELS, apply_table, to_levels
from landmark_diffusion.data.augmentation.recipes import PAPER_A, Range, WarpRecipe, is_number

Generator = np.random.Generator
REFERENCE_SIDE = 384.0
"""Width in pixels at which lines, letters and blurs are stated."""


@dataclass(frozen=True)
class DeviceRecipe(WarpRecipe):
    """A WarpRecipe, and after its values what devices do; each part's number is the probability that it is drawn.

    Args:
        usual: share of the images that get paper A's recipe in place of all this, so that the own device stays known.
        stretch: range of the factor of width against height, drawn evenly in its logarithm.
        cut: the image is cut to a rectangle, which fills the frame; landmarks may be lost by it.
        cut_sides: range of the rectangle's sides as fractions of width and height.
        tables: a smooth random rising grey table (film curve, look-up table of a program).
        equalise: contrast-limited adaptive histogram equalisation, mixed in by a random share.
        exposure: blocks, bands and a slope of brightness, with soft edges.
        marks: rulers, ear rods, rings, head posts and letters, opaque or translucent.
        collimation: one to four borders, round or straight, black, white or grey, up to ``border`` of a side.
        border: largest width of a border, as a fraction of the side.
        sharpness: blur, motion blur, or sharpening with overshoot.
        resolution: made smaller by up to ``smallest``, and larger again.
        smallest: least factor of ``resolution``.
        noise: grain of a random size and strength.
        coding: JPEG of a quality of 8 to 60.
        negative: dark bones: 255 less each value.
    """

    usual: float = 0.0
    stretch: Range = (1.0, 1.0)
    cut: float = 0.0
    cut_sides: Range = (0.6, 1.0)
    tables: float = 0.0
    equalise: float = 0.0
    exposure: float = 0.0
    marks: float = 0.0
    collimation: float = 0.0
    border: float = 0.12
    sharpness: float = 0.0
    resolution: float = 0.0
    smallest: float = 0.35
    noise: float = 0.0
    coding: float = 0.0
    negative: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if name in (*PARTS, "cut", "usual") and not (is_number(value) and 0 <= value <= 1):
                raise UserError(f"recipe option {name}: found {value!r}, expected a probability from 0 to 1")
        for name, low, high in (("border", 0.0, 0.45), ("smallest", 0.05, 1.0)):
            value = getattr(self, name)
            if not (is_number(value) and low <= value <= high):
                raise UserError(f"recipe option {name}: found {value!r}, expected a number from {low:g} to {high:g}")
        for name in ("stretch", "cut_sides"):
            if getattr(self, name)[0] <= 0:
                raise UserError(f"recipe option {name}: found {getattr(self, name)!r}, expected factors above 0")

    def __call__(self, image: np.ndarray, points: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        """Augment by paper A's recipe in ``usual`` of the images, else by this; see WarpRecipe."""
        if rng.random() < self.usual:
            return PAPER_A(image, points, rng)
        return super().__call__(image, points, rng)

    def draw_affine(self, size: tuple[int, int], rng: Generator) -> warp.AffineMap:
        """Draw the affine map for an image of ``size`` (width, height): stretched about its centre, moved, cut."""
        drawn = super().draw_affine(size, rng)
        factor, cuts = np.exp(rng.uniform(*np.log(self.stretch))), rng.random() < self.cut
        sides, place = rng.uniform(*self.cut_sides, 2), rng.uniform(size=2)
        if not self.affine:
            return drawn
        if factor != 1:
            centre = (np.array(size, dtype=np.float64) - 1) / 2
            scales = np.array([factor**0.5, factor**-0.5])
            drawn = warp.AffineMap(drawn.matrix * scales, drawn.offset + drawn.matrix @ (centre * (1 - scales)))
        if cuts:
            corner = place * (1 - sides) * size - 0.5
            drawn = warp.AffineMap(drawn.matrix / sides[:, None], (drawn.offset - corner) / sides - 0.5)
        return drawn

    def change_values(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        """Draw and apply the values of WarpRecipe, then each part, of a stream of numbers of its own."""
        image = super().change_values(image, rng)
        streams = rng.spawn(len(PARTS))
        for (name, change), stream in zip(PARTS.items(), streams, strict=True):
            if stream.random() < getattr(self, name):
                image = change(image, stream, self)
        return image


def grey_table(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Pass the values through a rising curve through 4 to 7 random knots."""
    count = int(rng.integers(4, 8))
    knots = np.concatenate([[0.0], np.cumsum(rng.dirichlet(np.full(count, 1.5)))])
    low, high = rng.uniform(0, 0.25), rng.uniform(0.75, 1.0)
    curve = low + (high - low) * np.interp(LEVELS / 255, np.linspace(0, 1, count + 1), knots)
    smooth = cv2.GaussianBlur(curve[None], (0, 0), 12, borderType=cv2.BORDER_REPLICATE)[0]
    return apply_table(image, to_levels(255 * smooth))


def equalised(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Mix CLAHE of a random limit and tile into the image."""
    tiles = int(rng.integers(2, 13))
    found = cv2.createCLAHE(float(rng.uniform(1, 6)), (tiles, tiles)).apply(image)
    share = rng.uniform(0.4, 1.0)
    return to_levels(share * found + (1 - share) * image)


def exposed(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Multiply by a slope over the image and one to three blocks or bands, and lift what lies in them."""
    height, width = image.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    along = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)
    gain, lift = 1 + slope * along, np.zeros_like(along)
    for _ in range(rng.integers(0, 4)):
        block = _soft_block(x / width, y / height, rng)
        gain = gain * (1 + block * rng.uniform(-0.5, 0.8))
        lift = lift + block * rng.uniform(-60, 60)
    return to_levels(image * gain + lift)


def _soft_block(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    """A rectangle or band with edges of a random softness, (H, W) in [0, 1]; x and y are fractions of the sides."""
    soft = rng.uniform(0.005, 0.15)
    sides = []
    kind = rng.integers(3)  # a block, a band along x, a band along y
    for axis, at in enumerate((x, y)):
        if kind == axis + 1:
            continue
        low, size = rng.uniform(-0.3, 0.9), rng.uniform(0.1, 0.6)
        sides.append(np.clip(np.minimum(at - low, low + size - at) / soft + 0.5, 0, 1))
    block: np.ndarray = np.prod(sides, axis=0) if sides else np.ones_like(x)
    return block


def marked(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Draw one to four things of the room: a ruler, an ear rod, a ring, a head post, letters."""
    layer, value = np.zeros_like(image), np.zeros_like(image)
    for _ in range(rng.integers(1, 5)):
        mark = np.zeros_like(image)
        _MARKS[rng.integers(len(_MARKS))](mark, rng)
        share = rng.uniform(0.35, 1.0)
        layer = np.where(mark > 0, (mark * share).astype(np.uint8), layer)
        value = np.where(mark > 0, np.uint8(rng.choice([0, 255]) if rng.random() < 0.8 else rng.integers(256)), value)
    cover = layer.astype(np.float32) / 255
    return to_levels(image * (1 - cover) + value * cover)


def _place(image: np.ndarray, rng: Generator) -> tuple[int, int]:
    height, width = image.shape
    return int(rng.uniform(0, width)), int(rng.uniform(0, height))


def _thickness(image: np.ndarray, rng: Generator, low: float, high: float) -> int:
    drawn = float(rng.uniform(low, high)) * image.shape[1] / REFERENCE_SIDE
    return max(1, round(float(drawn)))


def _draw_line(image: np.ndarray, start: np.ndarray, end: np.ndarray, thickness: int) -> None:
    x0, y0, x1, y1 = np.rint([*start, *end]).astype(int).tolist()
    cv2.line(image, (x0, y0), (x1, y1), 255, thickness)


def _ruler(mark: np.ndarray, rng: Generator) -> None:
    height, width = mark.shape
    axis = int(rng.random() < 0.7)  # along y more often than along x
    side = rng.random()
    at = (side**2 if rng.random() < 0.5 else 1 - side**2) * (width, height)[1 - axis]
    length, step = (width, height)[axis], max(3, round(float(rng.uniform(4, 16)) * width / REFERENCE_SIDE))
    start, stop = sorted(rng.uniform(0, length, 2).astype(int))
    tick, thick = _thickness(mark, rng, 3, 10), _thickness(mark, rng, 1, 2)
    along, across = np.eye(2)[axis], np.eye(2)[1 - axis]
    for count, place in enumerate(range(start, stop, step)):
        foot = along * place + across * at
        _draw_line(mark, foot, foot + across * tick * (2 if count % 5 == 0 else 1), thick)
    if rng.random() < 0.5:
        _draw_line(mark, along * start + across * at, along * stop + across * at, thick)


def _ear_rod(mark: np.ndarray, rng: Generator) -> None:
    radius = _thickness(mark, rng, 3, 14)
    cv2.circle(mark, _place(mark, rng), radius, 255, -1)


def _ring(mark: np.ndarray, rng: Generator) -> None:
    radius, thick = _thickness(mark, rng, 5, 40), _thickness(mark, rng, 1, 5)
    cv2.circle(mark, _place(mark, rng), radius, 255, thick, cv2.LINE_AA)


def _post(mark: np.ndarray, rng: Generator) -> None:
    """A bar from an edge of the image inwards, such as a nasal support or the head holder."""
    height, width = mark.shape
    start = np.array(_place(mark, rng), dtype=np.float64)
    edge = int(rng.integers(4))
    start[edge % 2] = 0 if edge < 2 else (width, height)[edge % 2]
    angle = rng.normal(0, 0.35) + {0: 0.0, 1: np.pi / 2, 2: np.pi, 3: -np.pi / 2}[edge]
    end = start + rng.uniform(0.08, 0.4) * height * np.array([np.cos(angle), np.sin(angle)])
    _draw_line(mark, start, end, _thickness(mark, rng, 2, 16))


def _letters(mark: np.ndarray, rng: Generator) -> None:
    height, width = mark.shape
    count = int(rng.integers(1, 9))
    text = "".join(rng.choice(list(string.ascii_uppercase + string.digits + " -/:"), count))
    corner = rng.random() < 0.7
    x, y = _place(mark, rng)
    if corner:
        x = int(rng.choice([0.02, 0.75]) * width)
        y = int(rng.choice([0.06, 0.97]) * height)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    cv2.putText(
        mark, text, (x, y), font, rng.uniform(0.3, 1.6) * width / REFERENCE_SIDE, 255, _thickness(mark, rng, 1, 3),
        cv2.LINE_AA,
    )  # fmt: skip


_MARKS: tuple[Callable[[np.ndarray, Generator], None], ...] = (_ruler, _ear_rod, _ring, _post, _letters)


def collimated(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Cover what the collimator or the film's edge leaves out."""
    height, width = image.shape
    inside = np.zeros_like(image)
    edges = rng.uniform(0, recipe.border, 4) * (rng.random(4) < 0.6)
    left, top, right, bottom = (edges * (width, height, width, height)).astype(int)
    if rng.random() < 0.2:  # a round or oval field, which cuts the corners
        centre = (left + width - right) // 2, (top + height - bottom) // 2
        reach = rng.uniform(1.05, 1.4)
        cv2.ellipse(inside, centre, (int(width / 2 * reach), int(height / 2 * reach)), 0, 0, 360, 255, -1)
    else:
        tilt = rng.normal(0, 0.02, 8) * (rng.random() < 0.5) * np.tile((height, width), 4) * 0.5
        corners = np.array([left, top, width - right, top, width - right, height - bottom, left, height - bottom])
        cv2.fillPoly(inside, [np.rint(corners + tilt).astype(np.int32).reshape(4, 2)], 255)
    level = np.uint8(rng.choice([0, 255, int(rng.integers(256))], p=[0.5, 0.3, 0.2]))
    return np.where(inside > 0, image, level)


def sharpened(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Blur evenly or along a line, or sharpen with overshoot."""
    scale, kind = image.shape[1] / REFERENCE_SIDE, rng.integers(4)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.5) * scale))
    if kind == 1:
        length, angle = max(3, int(rng.uniform(2, 7) * scale) | 1), rng.uniform(0, np.pi)
        kernel = np.zeros((length, length), np.float32)
        half = (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
        _draw_line(kernel, (length - 1) / 2 - half, (length - 1) / 2 + half, 1)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 12) * scale))
    amount = rng.uniform(0.3, 2.5)
    return cv2.addWeighted(image, 1 + amount, blurred, -amount, 0)


def coarsened(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Make the image smaller, and as large as it was again."""
    height, width = image.shape
    factor = rng.uniform(recipe.smallest, 0.9)
    small = cv2.resize(image, (max(8, int(width * factor)), max(8, int(height * factor))), interpolation=cv2.INTER_AREA)
    way = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST], p=[0.5, 0.3, 0.2]))
    return cv2.resize(small, (width, height), interpolation=way)


def grained(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Add Gaussian grain, of all values alike or more where it is bright, fine or coarse."""
    height, width = image.shape
    coarse = float(rng.choice([1, 1, 1.5, 2.5]))
    seed = int(rng.integers(2**31))
    small = np.random.default_rng(seed).standard_normal((int(height / coarse) + 1, int(width / coarse) + 1), np.float32)
    grain = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if coarse > 1 else small[:height, :width]
    strength = rng.uniform(2, 22)
    if rng.random() < 0.5:
        grain = grain * np.sqrt(image.astype(np.float32) / 128 + 0.05)
    return to_levels(image + strength * grain)


def coded(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Pass through a JPEG file."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 61))])
    found = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if done else None
    return image if found is None else found


def inverted(image: np.ndarray, rng: Generator, recipe: DeviceRecipe) -> np.ndarray:
    """Exchange dark and bright."""
    return np.uint8(255) - image


PARTS: dict[str, Callable[[np.ndarray, Generator, DeviceRecipe], np.ndarray]] = {
    "tables": grey_table,
    "equalise": equalised,
    "exposure": exposed,
    "marks": marked,
    "collimation": collimated,
    "sharpness": sharpened,
    "resolution": coarsened,
    "noise": grained,
    "coding": coded,
    "negative": inverted,
}
"""Options of ``DeviceRecipe`` with the change that each draws, in the order in which they are applied."""


DEVICES = DeviceRecipe(
    usual=0.4,
    rotation=15.0,
    scale=(0.7, 1.25),
    shear=8.0,
    stretch=(0.85, 1.18),
    cut=0.2,
    shift_fraction=0.1,
    alpha=500.0,
    sigma=30.0,
    multiply=(0.6, 1.4),
    contrast=(0.6, 1.5),
    brightness=(-0.15, 0.15),
    gamma=(0.4, 2.5),
    cutout_size=(0.0, 0.3),
    reference_width=640.0,
    tables=0.3,
    equalise=0.25,
    exposure=0.3,
    marks=0.4,
    collimation=0.35,
    sharpness=0.3,
    resolution=0.2,
    noise=0.3,
    coding=0.15,
    negative=0.05,
)
