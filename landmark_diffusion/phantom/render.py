"""From outlines to a radiograph: optical path, attenuation, scatter, noise, the film's response and its marks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from landmark_diffusion.phantom.anatomy import FILM, Anatomy, build
from landmark_diffusion.phantom.outlines import SkullParameters, read_table
from landmark_diffusion.phantom.shapes import coverage, ellipse, ribbon, spline


def film_spacing(image_size: tuple[int, int]) -> float:
    """Mm per pixel at which the whole film fits into ``image_size`` (width, height); 0.5 at 387x480."""
    return max(FILM[0] / image_size[0], FILM[1] / image_size[1])


def film_to_pixels(points: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Map film mm (..., 2) to pixels, centres at integers; a wider or higher image has the film in its middle."""
    spacing = film_spacing(image_size)
    spare = (np.asarray(image_size) * spacing - FILM) / 2
    return (points + spare) / spacing - 0.5


def film_mm(pixel: np.ndarray, pixels: int, length: float, spacing: float) -> np.ndarray:
    """Map pixels of one axis of ``pixels`` pixels to mm on a film of ``length`` mm: film_to_pixels turned round."""
    return (pixel + 0.5) * spacing - (pixels * spacing - length) / 2


def render(p: SkullParameters, image_size: tuple[int, int], noise: bool = True, marks: bool = True) -> np.ndarray:
    """Make the radiograph of a skull, (H, W) uint8.

    Args:
        p: the skull; its ``entropy`` also decides exposure, noise and marks.
        image_size: (width, height) in pixels.
        noise: quantum noise, grain and dust; False gives the bare picture for measurements.
        marks: head holder, ruler, letters and collimation.
    """
    rng = np.random.default_rng([*p.entropy, 2])
    canvas = _Canvas(image_size, rng, p.entropy)
    anatomy = build(p)
    _soft_tissue(canvas, anatomy)
    _skull(canvas, anatomy)
    _jaws(canvas, anatomy)
    _spine(canvas, anatomy)
    if marks:
        _head_holder(canvas, anatomy)
    exposure = _expose(canvas, noise, _shutters(canvas) if marks else np.ones((1, 1), np.float32))
    grey = _develop(exposure, rng)
    if marks:
        grey = _mount(grey, canvas)
    levels: np.ndarray = np.clip(np.rint(grey), 0, 255)
    return levels.astype(np.uint8)


Shape = np.ndarray | Sequence[np.ndarray]


class _Canvas:
    """The optical path (mu times thickness) of each pixel, to which structures add."""

    def __init__(self, image_size: tuple[int, int], rng: np.random.Generator, entropy: tuple[int, ...]) -> None:
        self.size, self.rng, self.entropy = image_size, rng, entropy
        self.spacing = film_spacing(image_size)
        self.path = np.zeros((image_size[1], image_size[0]), np.float32)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        return film_to_pixels(points, self.size)

    def cover(self, shape: Shape, blur: float = 0.0, limit: float = 1.0) -> tuple[np.ndarray, tuple[slice, slice]]:
        """Coverage of a polygon, or of several, in film mm, blurred by ``blur`` mm."""
        sigma = blur / self.spacing
        polygons = self.pixels(shape) if isinstance(shape, np.ndarray) else [self.pixels(one) for one in shape]
        share, part = coverage(polygons, self.size, margin=int(np.ceil(3 * sigma)), limit=limit)
        return blurred(share, sigma), part

    def fill(self, shape: Shape, path: float, blur: float = 0.0, texture: np.ndarray | None = None) -> None:
        """Add structures of even thickness that add up where they overlap; a negative path is a hollow."""
        share, part = self.cover(shape, blur, 1.0 if isinstance(shape, np.ndarray) else 9.0)
        self.path[part] += path * share if texture is None else path * share * texture[part]

    def stroke(self, line: np.ndarray, path: float, width: float, blur: float = 0.0) -> None:
        """Add a plate seen edge-on, ``width`` mm wide."""
        self.fill(ribbon(line, width), path, blur)

    def rim(self, outlines: Shape, path: float, width: float, blur: float = 0.0) -> None:
        """Add closed thin walls along outlines that do not overlap."""
        each = [outlines] if isinstance(outlines, np.ndarray) else outlines
        share, part = self.cover([ribbon(np.concatenate([o, o[:2]]), width) for o in each], blur)
        self.path[part] += path * share

    def wall(self, line: np.ndarray, body: np.ndarray, path: float, width: float) -> None:
        """Add the outer ``width`` mm of a body along its outline ``line``: nothing of it lies outside the body."""
        inside, part = self.cover(body)
        near, same = self.cover(ribbon(line, 2 * width))
        rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(part, same, strict=True))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        both = inside[_within(rows, part[0]), _within(columns, part[1])]
        both = both * near[_within(rows, same[0]), _within(columns, same[1])]
        self.path[rows, columns] += path * both

    def edges(self, lines: Sequence[np.ndarray], path: float, width: float) -> None:
        """Add bony edges: crisp lines with the bone's thickness fading away on both sides."""
        self.fill([ribbon(line, width) for line in lines], 0.65 * path, 0.15)
        self.fill([ribbon(line[::2], 3.2 * width) for line in lines], 0.35 * path, 0.9)

    def domed(self, polygon: np.ndarray, radius: float, rim: float = 0.0, middle: float = 1.0) -> np.ndarray:
        """Thickness of a body rounded like a ball of ``radius`` mm: ``rim`` at its outline, plus ``middle`` inside."""
        share, part = coverage(self.pixels(polygon), self.size)
        inside = np.zeros(self.path.shape, np.float32)
        inside[part] = share
        depth = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) * self.spacing
        depth = np.minimum(blurred(depth, 0.5 / self.spacing), radius)
        thickness: np.ndarray = inside * (rim + middle / radius * np.sqrt(depth * (2 * radius - depth)))
        return thickness

    def clouds(self, grain: float, strength: float) -> np.ndarray:
        """Smooth random field (H, W) about 1 with grains of ``grain`` mm."""
        cells = [max(2, int(np.ceil(n * self.spacing / grain)) + 1) for n in self.size]
        field = self.rng.standard_normal((cells[1], cells[0])).astype(np.float32)
        return 1.0 + strength * cv2.resize(field, self.size, interpolation=cv2.INTER_CUBIC)


def _within(inner: slice, outer: slice) -> slice:
    return slice(inner.start - outer.start, inner.stop - outer.start)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a float32 image by ``sigma`` pixels; the image itself for a vanishing sigma or an empty one."""
    if sigma < 0.05 or image.size == 0:
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _add_layer(c: _Canvas, a: Anatomy, layer: str, **textures: np.ndarray) -> None:
    """Add the structures of a layer of ``layers.json``, in their order.

    Each is an operation of the canvas, the outline or outlines it is done to, and its numbers; a texture is one of
    ``textures`` by its name, or the two numbers of ``clouds``.
    """
    for operation, names, *numbers, last in read_table("layers.json")[layer]:
        shape = a.lines[names] if isinstance(names, str) else [a.lines[name] for name in names]
        texture = c.clouds(*last) if isinstance(last, list) else textures.get(last, last)
        getattr(c, operation)(shape, *numbers, texture)


def _soft_tissue(c: _Canvas, a: Anatomy) -> None:
    skin = a.lines["skin"]
    c.path += c.domed(skin, 55.0, 0.30, 0.85) * c.clouds(30.0, 0.03)
    _add_layer(c, a, "soft tissue")


def _skull(c: _Canvas, a: Anatomy) -> None:
    lines = a.lines
    outer, inner = lines["outer table"], lines["inner table"]
    fine, coarse = c.clouds(2.2, 0.08), c.clouds(16.0, 0.05)
    floor = [lines["foramen"], lines["clivus back"][::-1], lines["sella fossa"][::-1], lines["planum"]]
    vault = np.concatenate([outer, *floor])
    deep = np.concatenate([outer, (outer[-1:] + outer[:1]) / 2 + (0, 45)])
    share, part = c.cover(vault, 0.8)
    c.path[part] += share * (1.12 - 0.38 * c.domed(deep, 60.0)[part]) * coarse[part]
    c.fill(np.concatenate([outer, inner[::-1]]), 0.34, 0.5, fine)
    c.wall(outer, deep, 0.42, 1.5)
    c.stroke(inner, 0.34, 1.6, 0.45)
    c.fill(lines["frontal sinus"], -0.85, 0.5)
    c.rim(lines["frontal sinus"], 0.2, 0.7, 0.2)
    c.fill([ribbon(lines[name], 1.3) for name in ("suture", "artery")], -0.10, 0.65)
    c.fill(lines["nasal bone"], 0.55, 0.25)
    _cranial_base(c, a, fine)
    _add_layer(c, a, "orbit and sinuses")


def _cranial_base(c: _Canvas, a: Anatomy, fine: np.ndarray) -> None:
    _add_layer(c, a, "cranial base", fine=fine)
    canal, middle = a.lines["ear canal"], a.lines["ear canal"].mean(0)
    c.fill(middle + 0.88 * (canal - middle), -1.0)  # inside the rim, so that the rim's crest is the outline
    c.rim(canal, 0.55, 0.9, 0.1)


def _jaws(c: _Canvas, a: Anatomy) -> None:
    lines = a.lines
    bone = c.clouds(1.4, 0.06) * c.clouds(8.0, 0.07)
    c.fill(lines["maxilla"], 0.50, 0.0, bone)
    c.wall(lines["maxilla front"], lines["maxilla"], 0.22, 0.8)
    c.fill(lines["palate"], 0.50, 0.1)
    far = lines["mandible"] * 0.985 + 0.015 * lines["ear canal"].mean(0) + (1.2, -0.8)
    c.fill(far[::2], 0.22, 0.8, bone)
    c.fill(lines["mandible"], 0.40, 0.0, bone)
    closed = np.concatenate([lines["mandible"], lines["mandible"][:2]])
    c.wall(closed, lines["mandible"], 0.32, 1.1)
    c.wall(closed[::3], lines["mandible"], 0.16, 2.6)
    c.fill(lines["symphysis core"], -0.10, 1.0)
    c.stroke(lines["symphysis back"], 0.40, 2.2, 0.6)
    c.stroke(lines["mandibular canal"], -0.14, 2.2, 0.5)
    crowns, roots = ([tooth[i] for tooth in a.teeth[:-1]] for i in (0, 1))
    c.fill(roots, 0.24, 0.3)
    c.fill(crowns, 0.36, 0.2)
    filled = [0.55 * crown + 0.45 * crown.mean(0) for crown in a.molars if c.rng.random() < 0.25]
    if filled:
        c.fill(filled, 1.6, 0.15)
    crown, root = a.teeth[-1]
    c.fill(root, 0.34, 0.25)
    c.fill(crown, 0.60)


def _spine(c: _Canvas, a: Anatomy) -> None:
    _add_layer(c, a, "spine", bone=c.clouds(1.8, 0.12))
    if c.rng.random() < 0.7:
        c.fill(spline(a.lines["shoulder"], closed=True, step=4.0), 1.6, 1.5)


def _head_holder(c: _Canvas, a: Anatomy) -> None:
    """Ear rods (two rings, not quite aligned), the nasal rest and its ruler."""
    centre = a.lines["ear canal"].mean(0)
    for radius, path in ((7.2, 0.55), (8.4, 0.4)):
        off = c.rng.normal(0, 0.9, 2)
        c.rim(ellipse(tuple(centre + off), (radius, radius)), path, 0.9, 0.1)
    nasion = a.landmarks[1]
    x = nasion[0] + 22 + c.rng.normal(0, 1.5)
    top = np.array([x, -30.0])
    c.fill(np.array([top, (x + 3, -30), (x + 3, nasion[1] - 14), (x, nasion[1] - 14)]), 0.45, 0.1)
    ticks = [(nasion[1] - 20 - 5.0 * i, 6.0 if i % 2 else 8.5) for i in range(13)]
    c.fill([np.array([(x + 2.5, y), (x + w, y), (x + w, y + 0.9), (x + 2.5, y + 0.9)]) for y, w in ticks], 0.9)
    c.fill(np.array([(x - 9, nasion[1] - 9), (x + 4, nasion[1] - 9), (x + 4, nasion[1] - 14), (x - 4, nasion[1] - 14),
                     (x - 4, nasion[1] - 12), (x - 9, nasion[1] - 12)]), 0.3, 0.15)  # fmt: skip


def _expose(c: _Canvas, noise: bool, passed: np.ndarray) -> np.ndarray:
    """Exposure behind the head: a tilted, uneven beam, exp(-path), scatter, the focal spot and quantum noise."""
    width, height = c.size
    tilt = c.rng.normal(0, 0.07, 2).tolist()
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
    beam = np.exp(tilt[0] * x + tilt[1] * y - 0.10 * (x**2 + y**2)) * c.clouds(70.0, 0.03)
    primary = passed * beam * np.exp(-np.maximum(c.path, 0))
    small = cv2.resize(primary, (64, 80), interpolation=cv2.INTER_AREA)
    scatter = cv2.resize(blurred(small, 5.0), c.size, interpolation=cv2.INTER_LINEAR)
    exposure = blurred(0.96 * primary + 0.035 * scatter, 0.22 / c.spacing)
    if noise:
        quanta = c.rng.standard_normal(exposure.shape, dtype=np.float32)
        quanta = blurred(quanta, 0.28 / c.spacing) * np.float32(0.022)
        exposure = exposure + quanta * np.sqrt(exposure)
    positive: np.ndarray = np.maximum(exposure, 1e-4)
    return positive


def _develop(exposure: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The film's characteristic curve: density is logistic in log exposure; grey is what density leaves, 0 to 255."""
    contrast, middle = 1.6 + 0.1 * rng.standard_normal(), 1.6 + 0.08 * rng.standard_normal()
    grey: np.ndarray = 250.0 / (1.0 + np.exp(contrast * (np.log(exposure) + middle))) + 4.0
    return grey


def _shutters(c: _Canvas) -> np.ndarray:
    """Collimator leaves and lead letters: the share of the beam that they let pass, (H, W)."""
    leaf = (np.array([1.0, 0.5, 1.0, 1.0]) + [3.0, 0.0, 3.0, 3.0] * c.rng.random(4)).tolist()
    x, y = (film_mm(np.arange(n, dtype=np.float32), n, length, c.spacing)
            for n, length in zip(c.size, FILM, strict=True))  # fmt: skip
    penumbra = 1.5
    across = np.clip(np.minimum(x - leaf[0], FILM[0] - leaf[2] - x) / penumbra + 0.5, 0, 1)
    down = np.clip(np.minimum(y - leaf[1], FILM[1] - leaf[3] - y) / penumbra + 0.5, 0, 1)
    passed = 0.02 + 0.98 * down[:, None] * across[None]
    share: np.ndarray = passed * (1 - 0.97 * _letters(c))
    return share


def _letters(c: _Canvas) -> np.ndarray:
    """Lead letters as (H, W) coverage in [0, 1]: the side and the phantom's number."""
    drawn = np.zeros(c.path.shape, np.uint8)
    number = "PHANTOM " + "-".join(str(e) for e in c.entropy)
    for text, place, height in (("L", (FILM[0] - 18, 196.0 + 8 * c.rng.random()), 9.0), (number, (8.0, 9.0), 3.2)):
        x, y = np.rint(c.pixels(np.array(place))).astype(int)
        scale = height / c.spacing / 22.0
        thickness = max(1, round(2.2 * scale))
        cv2.putText(drawn, text, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
    return drawn.astype(np.float32) / 255


def _mount(grey: np.ndarray, c: _Canvas) -> np.ndarray:
    """The scanner's black surround: rounded film corners, one of them cut off."""
    w, h = FILM
    cut = 6.0 + 4.0 * c.rng.random()
    outline = np.array([(0.6, 4), (4, 0.6), (w - 0.6 - cut, 0.6), (w - 0.6, 0.6 + cut), (w - 0.6, h - 4),
                        (w - 4, h - 0.6), (4, h - 0.6), (0.6, h - 4)])  # fmt: skip
    film, part = c.cover(outline, 0.2)
    mounted = np.full_like(grey, 3.0)
    mounted[part] += film * (grey[part] - 3.0)
    return mounted
