"""torchvision beside a CPU build of torch: without its compiled half its import fails for want of two operators.

diffusers, transformers and spandrel import torchvision where it is installed; none of them calls these operators here.
Call `declare` before importing one of them.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@functools.cache
def declare() -> Any:
    """Makes `import torchvision` work; what it registered is held for as long as the process lives.

    Does nothing where torchvision is missing or whole. Raises what `import torchvision` raises for any other reason.
    """
    try:
        import torchvision  # type: ignore[import-untyped,unused-ignore]  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in SCHEMAS.values():
            library.define(schema)
        return library
    return None
