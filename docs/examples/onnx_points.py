"""Landmarks with onnxruntime, numpy and Pillow (to read the file): python onnx_points.py ceph.onnx xray.png"""

import json
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image

if len(sys.argv) != 3 or not all(map(os.path.isfile, sys.argv[1:])):
    sys.exit("usage: python onnx_points.py ceph.onnx xray.png (two files that are there)")
session = onnxruntime.InferenceSession(sys.argv[1])
facts = session.get_modelmeta().custom_metadata_map
image = np.asarray(Image.open(sys.argv[2]).convert("L"))  # files of 8 bits; for deeper ones see facts["intensity"]
outputs = [each.name for each in session.get_outputs()]
found = dict(zip(outputs, session.run(None, {"image": image}), strict=True))
calibration = json.loads(facts["calibration"])
if calibration and calibration["unlike"] and found["image_score"] <= calibration["unlike"]:
    print("this image is unlike those the model knows: do not use its points")
for number, name in enumerate(json.loads(facts["landmark_names"])):
    x, y = found["points"][number]
    sizes = np.sqrt(np.linalg.eigvalsh(found["covariance"][number])[::-1])  # of the spread's axes, the longer first
    reach = calibration["quantiles"][number][calibration["levels"].index(calibration["level"])] if calibration else 1
    print(f"{name}\t{x:.3f}\t{y:.3f}\t{reach * sizes[0]:.3f}\t{reach * sizes[1]:.3f}")
