"""The settings of BigGAN + CLIP."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from generator import registry
from generator.params.base import Params, Setting, check_pictures
from generator.params.optimised import Optimised
from generator.registry.class_names import UnknownClass, class_index, imagenet_classes


class BigganClipParams(Optimised, Params):
    """BigGAN + CLIP (Brock et al. 2019, arXiv:1809.11096; steered by CLIP as in Big Sleep, Murdock and Wang 2021)."""

    checkpoint: str = Setting("mini-biggan", group="main", description="The generator's weights.")
    init: Literal["text", "class", "random"] = Setting(
        "text", group="start", description="Start from what the text suggests, from a class, or anywhere."
    )
    init_class: str = Setting(
        "", group="start", max_length=80, description="The class to start from: animal-bird, or a name of ImageNet's."
    )
    init_noise: float = Setting(
        0.3, group="start", ge=0, le=2, description="How far the seed may bend what the text suggests; 0 not at all."
    )
    init_weight: float = Setting(2.0, group="start", ge=0, le=100, description="Weight of the distance from the start.")
    candidates: int = Setting(8, group="start", ge=1, le=64, description="Starts drawn; CLIP picks the best.")
    latents: Literal["shared", "per-layer"] = Setting(
        "shared", group="optimisation", description="One z and class vector for all layers, or one for each."
    )
    truncation: float = Setting(
        1.0, group="start", ge=0.01, le=1, description="Below 1: nearer to the usual, less variety."
    )
    max_classes: int = Setting(
        2,
        group="optimisation",
        ge=0,
        le=1000,
        description="At most so many classes share a picture (a differentiable top-k); 0: any, each by a sigmoid.",
    )
    class_topk: Literal["normalised", "successive"] = Setting(
        "normalised",
        group="optimisation",
        description="normalised: the classes chosen share 1; successive: each takes its softmax among those left.",
    )
    class_temperature: float = Setting(
        1.0,
        group="optimisation",
        ge=0.01,
        le=100,
        description="Temperature of that softmax; greater: classes mix more.",
    )
    latent_weight: float = Setting(
        0.0, group="optimisation", ge=0, le=100, description="Keeps z like the Gaussian it was trained with."
    )
    class_weight: float = Setting(
        0.0, group="optimisation", ge=0, le=100, description="Weight of a single class instead of a mixture."
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_start(cls, data: Any) -> Any:
        # Without a text, what the pictures show is searched from anywhere.
        textless = isinstance(data, dict) and data.get("image_prompts") and not data.get("prompt")
        return {"init": "random", **data} if textless else data

    @model_validator(mode="after")
    def _consistent(self) -> BigganClipParams:
        if self.init == "class" and not self.init_class:
            raise ValueError("init=class needs an init_class, such as animal-bird.")
        if self.init == "text" and not self.prompt:
            raise ValueError("init=text starts from the prompt, and that is empty. Write one or use class or random.")
        if not registry.checkpoint(self.checkpoint).embedded:
            if self.init == "text":
                raise ValueError("init=text needs the embedded BigGAN; use class or random.")
            if self.init == "class":
                try:
                    class_index(self.init_class, imagenet_classes())
                except UnknownClass as error:
                    raise ValueError(f"init_class: {error}") from None
        check_pictures(self.prompt, self.image_prompts)
        return self

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share every forward and backward pass."""
        return f"biggan-clip {self.checkpoint} {'+'.join(self.clip)} {self.latents}"
