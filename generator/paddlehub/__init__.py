"""PaddleHub's text-to-image modules by their own call, without PaddlePaddle: `Module(name=...).generate_image(...)`.

Importing this package does not import torch; drawing does.
"""

from generator.paddlehub.module import Module
from generator.paddlehub.modules import MODULES

__all__ = ["MODULES", "Module"]
