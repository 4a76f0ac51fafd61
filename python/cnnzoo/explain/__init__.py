"""Explanations of what a network sees: which part of a photograph speaks for a class, and why.

    import cnnzoo as cz

    model = cz.create_model("tf_efficientnet_lite0", weights="default")
    cz.explain.grad_cam(model, "photo.jpg").save("seen.png")

Gradients come from `Model.gradients`, and values from `Model.features`, by the names of nodes.
A photograph may be a tensor too, uint8 (H, W, 3). Results are pictures, and hold NumPy arrays.
"""

from cnnzoo.analysis import gradient_flow, robustness
from cnnzoo.explain.attention_maps import AttentionMaps, attention
from cnnzoo.explain.by_pixel import integrated_gradients, saliency
from cnnzoo.explain.cam import grad_cam, grad_cam_plus_plus
from cnnzoo.explain.channels import FeatureMaps, Filters, feature_maps, filters
from cnnzoo.explain.heatmap import Heatmap
from cnnzoo.explain.occluding import occlusion
from cnnzoo.explain.receptive import ReceptiveField, receptive_field

__all__ = [
    "AttentionMaps",
    "FeatureMaps",
    "Filters",
    "Heatmap",
    "ReceptiveField",
    "attention",
    "feature_maps",
    "filters",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_flow",
    "integrated_gradients",
    "occlusion",
    "receptive_field",
    "robustness",
    "saliency",
]
