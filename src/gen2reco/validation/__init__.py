"""How good is an emulator: metrics with errors and nulls, plots, one self-contained report."""

from gen2reco.validation.assess import assess
from gen2reco.validation.binned import histogram, oversampling_gain
from gen2reco.validation.coverage import ranks
from gen2reco.validation.inputs import Closure, Counted, Coverage, Outcome, Rate, Tally
from gen2reco.validation.matching import Objects, describe_matching
from gen2reco.validation.memorisation import memorisation
from gen2reco.validation.object_records import Matching
from gen2reco.validation.records import Metric
from gen2reco.validation.report import Report, read_report, render, write_report
from gen2reco.validation.results import Assessment, Quantity
from gen2reco.validation.samples import Sample
from gen2reco.validation.set_records import SetComparison
from gen2reco.validation.sets import Jets, compare_sets
from gen2reco.validation.settings import Settings, Targets

__all__ = [
    "Assessment",
    "Closure",
    "Counted",
    "Coverage",
    "Jets",
    "Matching",
    "Metric",
    "Objects",
    "Outcome",
    "Quantity",
    "Rate",
    "Report",
    "Sample",
    "SetComparison",
    "Settings",
    "Tally",
    "Targets",
    "assess",
    "compare_sets",
    "describe_matching",
    "histogram",
    "memorisation",
    "oversampling_gain",
    "ranks",
    "read_report",
    "render",
    "write_report",
]
