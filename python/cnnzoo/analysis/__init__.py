"""Analyses of a network: its errors, its calibration, its robustness, gradients and activations.

from cnnzoo import analysis

found = analysis.evaluate_examples(model, validation)
found.most_confident_errors().gallery()
found.calibration().plot()
analysis.robustness(model, validation).plot()
"""

from __future__ import annotations

from cnnzoo.analysis import distortions
from cnnzoo.analysis.activations import (
    ActivationStatistics,
    NodeStatistics,
    activation_statistics,
)
from cnnzoo.analysis.calibration import Calibration, CalibrationBin, calibration_of
from cnnzoo.analysis.curves import Robustness, RobustnessCurve, RobustnessPoint
from cnnzoo.analysis.evaluating import evaluate_examples
from cnnzoo.analysis.examples import Example, Examples
from cnnzoo.analysis.gradient_flow import GradientFlow, LayerGradient, gradient_flow
from cnnzoo.analysis.pictures import Pictures
from cnnzoo.analysis.robustness import robustness

__all__ = [
    "ActivationStatistics",
    "Calibration",
    "CalibrationBin",
    "Example",
    "Examples",
    "GradientFlow",
    "LayerGradient",
    "NodeStatistics",
    "Pictures",
    "Robustness",
    "RobustnessCurve",
    "RobustnessPoint",
    "activation_statistics",
    "calibration_of",
    "distortions",
    "evaluate_examples",
    "gradient_flow",
    "robustness",
]
