"""Tables and figures of a test run, made from an evaluation; importing it does not import matplotlib."""

from landmark_diffusion.evaluation.annotator_view import AnnotatorView, annotator_view, write_annotators_csv
from landmark_diffusion.evaluation.landmark_table import LandmarkTable
from landmark_diffusion.evaluation.metrics_file import interval_lines, metrics_dict, write_metrics
from landmark_diffusion.evaluation.report import CaseDetails, Choice, choose_images, write_report
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.evaluation.tables import Row, Table, other_table, results_table

__all__ = [
    "AnnotatorView",
    "CaseDetails",
    "Choice",
    "LandmarkTable",
    "Results",
    "Row",
    "Table",
    "annotator_view",
    "choose_images",
    "interval_lines",
    "metrics_dict",
    "other_table",
    "results_table",
    "write_annotators_csv",
    "write_metrics",
    "write_report",
]
