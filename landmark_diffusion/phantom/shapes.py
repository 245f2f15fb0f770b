"""Curves and an exact rasteriser for the phantoms: smooth outlines, ribbons along them, the area covered in each pixel.

cv2.fillPoly also paints the pixels that an outline only touches, so its shapes are half a (sub-)pixel too large on
every side. Here the covered area is integrated exactly, so an outline lies in the image where its points say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spline(control: np.ndarray, closed: bool = False, step: float = 0.4) -> np.ndarray:
    """Draw a centripetal Catmull-Rom curve through the control points.

    Args:
        control: (K, 2) points, K >= 3, no two neighbours equal.
        closed: join the last point to the first.
        step: distance between the returned points at most, roughly, in the unit of the control points.

    Returns:
        (M, 2) float64 points that contain every control point; a closed curve does not repeat its first point.
    """
    p = np.asarray(control, dtype=np.float64)
    before, after = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    p = np.concatenate([before, p, after])
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(_lengths(p)))])
    count = np.maximum(np.ceil(_lengths(p)[1:-1] / step), 1).astype(np.int64)
    piece = np.repeat(np.arange(len(count)), count)
    share = (np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)) / count[piece]
    k = [knots[piece + i] for i in range(4)]
    curve = _catmull_rom([p[piece + i] for i in range(4)], k, k[1] + share * (k[2] - k[1]))
    return curve if closed else np.concatenate([curve, p[-2:-1]])


def _lengths(line: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.hypot(*np.diff(line, axis=0).T)
    return lengths


def _catmull_rom(p: list[np.ndarray], k: list[np.ndarray], t: np.ndarray) -> np.ndarray:
    """Barry and Goldman's pyramid of linear interpolations, between p[1] and p[2]; p[i] is (M, 2), k[i] and t (M,)."""

    def between(a: np.ndarray, b: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        point: np.ndarray = a + (b - a) * ((t - start) / (end - start))[:, None]
        return point

    a = [between(p[i], p[i + 1], k[i], k[i + 1]) for i in range(3)]
    b = [between(a[i], a[i + 1], k[i], k[i + 2]) for i in range(2)]
    return between(b[0], b[1], k[1], k[2])


def ellipse(centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0, count: int = 72) -> np.ndarray:
    """Outline of an ellipse, (count, 2); ``angle`` in degrees turns x towards y."""
    t = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    outline: np.ndarray = rotate(np.stack([radii[0] * np.cos(t), radii[1] * np.sin(t)], -1), angle) + np.asarray(centre)
    return outline


def rotate(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn points (..., 2) about the origin by ``angle`` degrees, x towards y (clockwise on the film)."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turned: np.ndarray = np.asarray(points) @ np.array([[c, s], [-s, c]])
    return turned


def normals(line: np.ndarray) -> np.ndarray:
    """Unit normals (M, 2) of an open polyline (M, 2): its direction turned from x towards y by 90 degrees."""
    d = np.gradient(line, axis=0)
    d /= np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-12)
    return np.stack([-d[:, 1], d[:, 0]], -1)


def ribbon(line: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Polygon (2M, 2) of a stroke of ``width`` (scalar or (M,)) centred on an open polyline (M, 2)."""
    half = normals(line) * np.reshape(np.broadcast_to(width, len(line)), (-1, 1)) / 2
    return np.concatenate([line + half, (line - half)[::-1]])


def extreme(line: np.ndarray, direction: tuple[float, float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the point of a polyline (M, 2) that lies farthest along ``direction``, and the curve's unit tangent there.

    A parabola through the farthest vertex and its neighbours places the point between vertices. At an end of the
    line, the end is returned.
    """
    along = line @ np.asarray(direction, dtype=np.float64)
    i = int(np.clip(np.argmax(along), 1, len(line) - 2))
    before, here, after = along[i - 1 : i + 2]
    bend = before - 2 * here + after
    shift = 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -1, 1))
    slope, curve = (line[i + 1] - line[i - 1]) / 2, line[i + 1] - 2 * line[i] + line[i - 1]
    tangent = slope + shift * curve
    return line[i] + shift * slope + 0.5 * shift**2 * curve, tangent / np.linalg.norm(tangent)


def coverage(
    polygons: np.ndarray | Sequence[np.ndarray], size: tuple[int, int], margin: int = 0, limit: float = 1.0
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Integrate the share of each pixel that polygons cover, exactly.

    Args:
        polygons: (K, 2) vertices in pixels, pixel centres at integers, either sense of rotation; or several such, which
            add where they overlap (one call for many small ones is much quicker than many).
        size: (width, height) of the image.
        margin: pixels to add around the polygons' box (room for a blur).
        limit: highest coverage of a pixel; more than 1 only where several polygons, or a looping one, overlap.

    Returns:
        float32 coverage in [0, limit] of the part of the image around the polygons, and the (rows, columns) slices of
        that part; the part is empty where the polygons miss the image.
    """
    shapes = [_turned(polygons)] if isinstance(polygons, np.ndarray) else [_turned(shape) for shape in polygons]
    start = np.concatenate([shape[:-1] for shape in shapes])
    end = np.concatenate([shape[1:] for shape in shapes])
    low = np.floor(start.min(0) + 0.5).astype(int) - margin
    high = np.ceil(start.max(0) + 0.5).astype(int) + margin
    (left, top), (right, bottom) = np.clip(low, 0, size).tolist(), np.clip(high, 0, size).tolist()
    width, height = right - left, bottom - top
    part = (slice(top, bottom), slice(left, right))
    if width <= 0 or height <= 0:
        return np.zeros((max(height, 0), max(width, 0)), np.float32), part
    origin = np.array([left - 0.5, top - 0.5])
    x, y, dy = _pieces(start - origin, end - origin)
    keep = (y >= 0) & (y < height)
    x, row, dy = np.clip(x[keep], 0, width), y[keep].astype(np.int64), dy[keep]
    column = x.astype(np.int64)
    share = dy * (x - column)
    # Each piece changes the covered share of its own pixel and of every pixel to its right: a running sum along x.
    place = row * (width + 2) + column
    total = np.bincount(place, dy - share, minlength=height * (width + 2))
    total += np.bincount(place + 1, share, minlength=height * (width + 2))
    area = np.cumsum(total.reshape(height, width + 2)[:, :width], axis=1)
    return np.clip(area, 0.0, limit, dtype=np.float32, casting="same_kind"), part


def _turned(polygon: np.ndarray) -> np.ndarray:
    """The polygon, its first vertex repeated, in the sense of rotation whose covered area counts as positive."""
    closed = np.concatenate([polygon, polygon[:1]])
    x, y = closed.T
    return closed[::-1] if x[:-1] @ y[1:] > x[1:] @ y[:-1] else closed


def _pieces(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut edges at every pixel border; middles' x and y and the heights dy of pieces that lie in one pixel each."""
    edge = end - start
    count = np.maximum(np.ceil(np.abs(edge).max(1)), 1).astype(np.int64)
    if (count > 1).any():
        owner = np.repeat(np.arange(len(edge)), count)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        edge = edge[owner] / count[owner, None]
        start = start[owner] + edge * number[:, None]
    # No part is longer than a pixel, so it crosses at most one border in x and one in y.
    below, above = np.floor(start), np.floor(start + edge)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(below != above, (np.maximum(below, above) - start) / edge, 1.0)
    np.clip(t, 0.0, 1.0, out=t)
    cuts = np.stack([np.zeros(len(t)), t.min(1), t.max(1), np.ones(len(t))])
    middle, share = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts, axis=0)
    x, y = start[:, 0] + edge[:, 0] * middle, start[:, 1] + edge[:, 1] * middle
    return x.ravel(), np.floor(y).ravel(), (edge[:, 1] * share).ravel()
