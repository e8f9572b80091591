"""A denoiser and a CLIP small enough to take a step in milliseconds, at random weights."""

import torch

from generator.clip import ClipModel, openai_clip

SMALL = {
    "unshuffle": 2,
    "channels": [16, 16],
    "layers": 1,
    "attention": [1],
    "head_width": 8,
    "norm_groups": 4,
    "prediction": "v",
    "schedule": "cosine",
    "timesteps": 100,
    "styles": ["noto", "twemoji"],
}


class SmallClip(ClipModel):
    """A CLIP of one layer that runs out of memory when it is given more than `most`."""

    def __init__(self):
        super().__init__(openai_clip("model").CLIP(16, 16, 1, 64, 4, 77, 49408, 64, 1, 1), "small")
        self.most = 10_000

    def encode_image(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().encode_image(images)
