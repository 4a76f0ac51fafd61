"""The function of torchvision for each operation that a transform draws, on Pillow pictures."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv


def apply(image: Image.Image, operation: dict[str, Any]) -> Image.Image:  # noqa: PLR0912
    """Do one operation, given by its name and its options."""
    options = {name: value for name, value in operation.items() if name != "operation"}
    fill = fill_of(image, options.pop("fill", None))
    match operation["operation"]:
        case "resize":
            size = [options["height"], options["width"]]
            result = tv.resize(image, size, InterpolationMode(options["interpolation"]))
        case "crop":
            result = tv.crop(image, **options)
        case "pad":
            margins = [options["margins"][side] for side in ("left", "top", "right", "bottom")]
            colour = tuple(fill) if image.mode == "RGB" else fill[0]
            result = tv.pad(image, margins, fill=colour, padding_mode=options["mode"])
        case "flip_horizontal":
            result = tv.hflip(image)
        case "flip_vertical":
            result = tv.vflip(image)
        case "grayscale":
            result = tv.to_grayscale(image, options["channels"])
        case "posterize":
            result = tv.posterize(image, options["bits"])
        case "solarize":
            result = tv.solarize(image, options["threshold"])
        case "auto_contrast":
            result = tv.autocontrast(image)
        case "equalize":
            result = tv.equalize(image)
        case "invert":
            result = tv.invert(image)
        case "rotate":
            result = tv.rotate(image, options["degrees"], fill=fill)
        case "translate":
            result = _affine(image, fill, translate=[options["x"], options["y"]])
        case "shear_x":
            shear = [math.degrees(math.atan(options["factor"])), 0.0]
            result = _affine(image, fill, shear=shear, center=[0, 0])
        case "shear_y":
            shear = [0.0, math.degrees(math.atan(options["factor"]))]
            result = _affine(image, fill, shear=shear, center=[0, 0])
        case name:
            result = getattr(tv, name)(image, options["factor"])
    assert isinstance(result, Image.Image)
    return result


def fill_of(image: Image.Image, fill: list[int] | None) -> list[int]:
    """The fill of a colour picture, and what Pillow makes of it for a grey one."""
    colour = tuple(fill or (0, 0, 0))
    pixel = Image.new("RGB", (1, 1), colour).convert(image.mode).getpixel((0, 0))
    return list(pixel) if isinstance(pixel, tuple) else [int(pixel or 0)]


def _affine(image: Image.Image, fill: list[int], **given: Any) -> Any:
    """As `torchvision.transforms.autoaugment` calls it."""
    options = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "fill": fill}
    return tv.affine(image, **{**options, **given})
