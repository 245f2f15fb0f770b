"""The same radiographs as other devices would have made them: shift_image(grey, points, family, seed, image_id).

Written apart from ``data.augmentation``, by other formulas and with other strengths: the changes are those that a
training has not seen.
"""

from landmark_diffusion.data.shifts.families import FAMILIES, SUITE_VERSION, ShiftFamily, check_family, shift_image
from landmark_diffusion.data.shifts.shifted import ShiftedImage

__all__ = ["FAMILIES", "SUITE_VERSION", "ShiftFamily", "ShiftedImage", "check_family", "shift_image"]
