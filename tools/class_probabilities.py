"""Are the class probabilities and intervals of ``ldx analyse`` true? Against the mean of the two doctors' points.

    ldx detect ../shared/data/isbi2015/cepha400/{151..300}.jpg --model weights/ceph_small.ldx --spacing 0.1 --to json \
        --output runs/test1
    python tools/class_probabilities.py runs/test1/points.json --root ../shared/data/isbi2015 --part test
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np

from landmark_diffusion.detection.writers.points_json import read_points_json
from landmark_diffusion.studies.cephalometry.analysis import INTERVAL_LEVEL, analyse
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.measures import measure_points
from landmark_diffusion.studies.cephalometry.observers import read_doctors

BINS = (0.0, 0.6, 0.8, 0.95, 1.0 + 1e-9)


def main() -> None:
    """Print stated probability beside the share that is right, by measure and by stated probability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points")
    parser.add_argument("--root", required=True)
    parser.add_argument("--part", default="test")
    options = parser.parse_args()
    _, doctors = read_doctors(options.root, options.part)
    truth = np.mean(list(doctors.points.values()), axis=0)
    places = {int(image): place for place, image in enumerate(doctors.image_ids)}
    rows = []
    for found in read_points_json(options.points):
        points = truth[places[int(found.name)]][None]
        values = measure_points(points, doctors.names, spacing=doctors.spacing)
        for finding in analyse(found.points, found.landmark_names, found.spacing, found.covariance).findings:
            name, value = finding.measure.name, values[finding.measure.name]
            right = finding.class_number == SCHEMES[name].classify(value)[0]
            rows.append((name, finding.probability, right, finding.low <= value[0] <= finding.high))
    names, stated, right, inside = (np.array(column) for column in zip(*rows, strict=True))
    print(f"| | classes | stated, % | right, % | {100 * INTERVAL_LEVEL:g} % interval holds, % |")
    print("|---|---:|---:|---:|---:|")
    groups = {name: names == name for name in SCHEMES} | {"all": np.ones(len(names), bool)}
    groups |= {f"stated {a:g} to {min(b, 1):g}": (stated >= a) & (stated < b) for a, b in pairwise(BINS)}
    for name, chosen in groups.items():
        shares = (100 * each[chosen].mean() for each in (stated, right, inside))
        print(f"| {name} | {chosen.sum()} | " + " | ".join(f"{share:.1f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
