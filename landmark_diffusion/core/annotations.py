"""What several annotators say of one point: the mean over those who marked it, written once for all who need it."""

from __future__ import annotations

import numpy as np


def mean_of_annotators(annotations: np.ndarray) -> np.ndarray:
    """Average (..., A, N, 2) annotations to (..., N, 2) over those annotators who marked the point; else NaN.

    Who left x or y out has not marked the point: of half a point neither coordinate counts.
    """
    known = ~np.isnan(annotations).any(-1, keepdims=True)
    count = known.sum(-3)
    total = np.where(known, annotations, 0.0).sum(-3)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
