"""Compound scaling: depth, width and resolution of EfficientNets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnzoo._arguments import number, whole
from cnnzoo.errors import ArgumentError

# Image size of EfficientNet-B0: pixels of a side.
BASE_SIZE = 224

# The published numbers of B0 to B7: width, depth, image size.
PUBLISHED = {
    "efficientnet_b0": (1.0, 1.0, 224),
    "efficientnet_b1": (1.0, 1.1, 240),
    "efficientnet_b2": (1.1, 1.2, 260),
    "efficientnet_b3": (1.2, 1.4, 300),
    "efficientnet_b4": (1.4, 1.8, 380),
    "efficientnet_b5": (1.6, 2.2, 456),
    "efficientnet_b6": (1.8, 2.6, 528),
    "efficientnet_b7": (2.0, 3.1, 600),
}


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Depth, width and resolution of a network as multiples of its base network's.

    Attributes:
        depth: Multiplier of the blocks in a stage, which are rounded up.
        width: Multiplier of the channels, which are rounded to multiples of 8.
        resolution: Multiplier of the image size.
        image_size: Pixels of a side of the image.
    """

    depth: float
    width: float
    resolution: float
    image_size: int

    @property
    def cost(self) -> float:
        """Multiplier of the multiply-adds, before rounding: depth · width² · resolution²."""
        return self.depth * self.width**2 * self.resolution**2

    @property
    def options(self) -> dict[str, Any]:
        """The options of `create_model` for the scaled network: `**scaling.options`."""
        return {
            "width": self.width,
            "depth": self.depth,
            "image_size": self.image_size,
        }


def compound_scaling(
    phi: float,
    *,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    base_size: int = BASE_SIZE,
) -> Scaling:
    """Scale depth, width and resolution together: alpha^phi, beta^phi and gamma^phi.

    Equation 3 of arXiv:1905.11946, with the constants that its section 4 found for EfficientNet.
    With these, a step of phi multiplies the cost by 1.92.

        >>> scaling = cz.compound_scaling(1)
        >>> scaling.depth, scaling.width, scaling.image_size
        (1.2, 1.1, 258)
        >>> model = cz.create_model("efficientnet_b0", **scaling.options)

    B0 to B7 do not follow from the equation, and the paper names no phi of theirs. Only phi = 0
    gives exactly a published network, B0; phi = 1 gives depth and width of B2, and 258 pixels
    where it has 260. The others come near: by the best phi, the largest of the three differences is

        ====  =====  ==========
        ..    phi    difference
        ====  =====  ==========
        B1    0.34   3.3 %
        B2    1.03   0.5 %
        B3    1.95   1.9 %
        B4    3.46   4.4 %
        B5    4.64   6.0 %
        B6    5.61   7.0 %
        B7    6.56   6.6 %
        ====  =====  ==========

    `published_scaling` has the published numbers, from which those networks follow exactly.

    Args:
        phi: The compound coefficient: 0 for the base network; may be a fraction, or negative.
        alpha: The factor of depth for a step of phi.
        beta: The factor of width for a step of phi.
        gamma: The factor of resolution for a step of phi.
        base_size: The base network's image size: pixels of a side.

    Raises:
        ArgumentError: phi is not finite, or the result is no network; alpha, beta or gamma is
            below 1, or base_size below 1.
    """
    phi = number("`phi`", phi)
    alpha, beta, gamma = (
        number(f"`{name}`", value, least=1)
        for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma))
    )
    base_size = whole("`base_size`", base_size, least=1)
    try:
        depth, width, resolution = (base**phi for base in (alpha, beta, gamma))
        image_size = round(base_size * resolution)
    except (OverflowError, ValueError):
        image_size = 0
    if image_size < 1:
        raise ArgumentError(
            f"`phi`: expected a number that leaves an image, such as 0 to 7, got {phi:g} with "
            f"`gamma` {gamma:g}"
        )
    return Scaling(depth=depth, width=width, resolution=resolution, image_size=image_size)


def published_scaling(name: str) -> Scaling:
    """Look up the published scaling of a network from EfficientNet-B0 to B7.

    Torchvision and timm define some of them for another image size, at which they trained them.

        >>> cz.published_scaling("efficientnet_b4")
        Scaling(depth=1.8, width=1.4, resolution=1.6964285714285714, image_size=380)

    Args:
        name: From `"efficientnet_b0"` to `"efficientnet_b7"`.

    Raises:
        ArgumentError: There is no such network.
    """
    if name not in PUBLISHED:
        raise ArgumentError(f"`name`: expected one of {', '.join(PUBLISHED)}, got '{name}'")
    width, depth, size = PUBLISHED[name]
    return Scaling(depth=depth, width=width, resolution=size / BASE_SIZE, image_size=size)
