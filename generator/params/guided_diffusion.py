"""The settings of CLIP-guided diffusion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from generator import registry
from generator.params.base import NOTHING_YET, Params, Setting, check_mask, check_pictures, clean_prompt
from generator.params.cutouts import Cutouts
from generator.params.drafted import Drafted
from generator.params.scheduled_cuts import ScheduledCuts
from generator.prompts import Prompt, PromptError, Stage, append_words, parse_prompts, parse_stages


class GuidedDiffusionParams(Drafted, ScheduledCuts, Cutouts, Params):
    """CLIP-guided diffusion (Crowson 2021; Dhariwal and Nichol 2021, arXiv:2105.05233, algorithm 2).

    The names are those of the notebooks and of Disco Diffusion. `0: a castle | 100: a ruin` draws another prompt from
    step 100 on. With checkpoints that know no styles, `style` is any words, added to the prompt.
    """

    style_is_text: ClassVar[bool] = True

    style: str | None = Setting(
        None,
        group="main",
        max_length=200,
        description="A style the mini models know; with real checkpoints any words, added to the prompt.",
    )
    artist: str = Setting(
        "", group="guidance", max_length=200, description="With real checkpoints: an artist, added to the prompt."
    )
    checkpoint: str = Setting("mini-diffusion", group="main", description="The generator's weights.")
    steps: int = Setting(40, group="main", ge=1, le=1000, description="Noise levels from noise to picture.")
    sampler: Literal["ddim", "dpm-solver-2m"] = Setting(
        "ddim", group="sampling", description="How a step moves: DDIM, or DPM-Solver++(2M), which needs fewer steps."
    )
    eta: float = Setting(
        0.0, group="sampling", ge=0, le=1, description="Noise drawn anew in each DDIM step: 0 none, 1 as much as DDPM."
    )
    init: Literal["prior", "noise", "image", "perlin"] = Setting(
        "noise",
        group="start",
        description="Start from noise, a picture, clouds of Perlin noise, or, with the mini checkpoint, a draft that "
        "the prior draws from the text.",
    )
    candidates: int = Setting(
        4, group="start", ge=1, le=16, description="Drafts drawn by the prior; CLIP picks the best to go on with."
    )
    init_image: str | None = Setting(None, group="start", description="The picture to start from.")
    mask_image: str | None = Setting(
        None,
        group="start",
        description="What of init_image is drawn anew: white yes, from what init says, black no, greys mixed.",
    )
    perlin_mode: Literal["mixed", "color", "gray"] = Setting(
        "mixed", group="start", description="Colours of the Perlin noise."
    )
    skip_steps: int = Setting(
        20, group="start", ge=0, le=999, description="Of a start picture: noisy steps left out, so that it is kept."
    )
    init_scale: float = Setting(
        0.0, group="start", ge=0, le=1e6, description="Of a start picture: weight of the distance from it."
    )
    init_loss: Literal["lpips", "mse"] = Setting(
        "mse",
        group="start",
        description="What init_scale weighs: lpips, what looks different (needs lpips-vgg), or mse, colours.",
    )
    image_prompts: str = Setting(
        "", group="guidance", max_length=2000, description="Pictures to resemble: reference:weight, several with |."
    )
    clip_guidance_scale: float = Setting(
        1000.0, group="guidance", ge=0, le=1e6, description="Scale of CLIP's gradient; 0 leaves the picture to chance."
    )
    loss: Literal["spherical", "cosine"] = Setting(
        "spherical", group="guidance", description="Distance between picture and prompt embeddings."
    )
    grad_through: Literal["unet", "x0", "x_in"] = Setting(
        "unet",
        group="guidance",
        description="unet: changes the network can draw; x0: changes of the denoised picture, in a third of the "
        "time; x_in: as unet, with CLIP seeing denoised and noisy picture mixed, as Disco Diffusion does.",
    )
    clamp_grad: bool = Setting(True, group="guidance", description="Limit the gradient to clamp_max.")
    clamp_max: float = Setting(
        0.15, group="guidance", gt=0, le=100, description="Greatest root mean square of the gradient."
    )
    tv_scale: float = Setting(0.0, group="guidance", ge=0, le=1e6, description="Weight of smoothness.")
    range_scale: float = Setting(150.0, group="guidance", ge=0, le=1e6, description="Weight of colours out of range.")
    sat_scale: float = Setting(0.0, group="guidance", ge=0, le=1e6, description="Weight of extreme colours.")
    cutn_batches: int = Setting(
        1, group="cutouts", ge=1, le=64, description="Times per step that cutn cutouts are drawn, one after the other."
    )
    clip_denoised: bool = Setting(
        True, group="sampling", description="Keep denoised pictures in the range of colours; Disco Diffusion does not."
    )
    use_horizontal_symmetry: bool = Setting(
        False, group="symmetry", description="Mirror the left half onto the right, once during the run."
    )
    use_vertical_symmetry: bool = Setting(
        False, group="symmetry", description="Mirror the upper half onto the lower, once during the run."
    )
    transformation_percent: float = Setting(
        0.09, group="symmetry", ge=0, lt=1, description="When to mirror: the share of the steps made before, 0 to 1."
    )
    checkpoint_activations: bool = Setting(
        False,
        group="sampling",
        description="Real checkpoints: compute the network twice to need a third of the memory.",
    )
    sprite_sheet: bool = Setting(
        False, group="output", description="Also keep the pictures on the way as one sheet of small pictures."
    )
    save_every: int = Setting(1, group="output", ge=1, le=1000, unit="steps", description="Steps between frames.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_start(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        merged = dict(data)
        if data.get("init_image") and not data.get("mask_image") and "init" not in data:
            merged["init"] = "image"  # with a mask it stays where nothing is drawn anew
        if data.get("sampler", "ddim") != "ddim" and "eta" not in data:
            merged["eta"] = 0.0
        name = data.get("checkpoint", cls.model_fields["checkpoint"].default)
        known = isinstance(name, str) and registry.offers("guided-diffusion", name)
        preset = registry.checkpoint(str(name)).defaults if known else {}
        if "init" not in merged and preset.get("init") == "prior" and not data.get("prompt"):
            merged["init"] = "noise"  # nothing to draw a draft from
        # Clouds are to leave a trace, not to stay: a few steps, as Disco Diffusion skips. A draft is to be redrawn, of
        # a picture half is to stay.
        init = merged.get("init", preset.get("init"))
        share = {"perlin": 0.04, "prior": 0.35, "image": 0.5}.get(str(init))
        if share and "skip_steps" not in data:
            steps = data.get("steps", preset.get("steps"))
            merged["skip_steps"] = int(share * steps) if isinstance(steps, int) else 0
        if init in NOTHING_YET:
            merged.setdefault("style_weight", 0.0)
        return merged

    @field_validator("artist")
    @classmethod
    def _clean_artist(cls, artist: str) -> str:
        return clean_prompt(artist)

    @model_validator(mode="after")
    def _consistent(self) -> GuidedDiffusionParams:
        if self.init == "image" and not self.init_image:
            raise ValueError("init=image needs an init_image.")
        check_mask(self.mask_image, self.init_image)
        if self.init == "prior" and not registry.checkpoint(self.checkpoint).embedded:
            raise ValueError("init=prior needs the checkpoint mini-diffusion; use noise, image or perlin here.")
        if self.init == "prior" and not self.prompt:
            raise ValueError("init=prior draws from text, and the prompt is empty. Write one or use noise or image.")
        if self.skipped >= self.steps:
            raise ValueError(
                f"skip_steps = {self.skip_steps} leaves none of {self.steps} steps; at most {self.steps - 1} allowed."
            )
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta = {self.eta:g} needs sampler=ddim; {self.sampler} draws no noise, so set eta to 0.")
        check_pictures(self.prompt, self.image_prompts)
        styled = registry.checkpoint(self.checkpoint).styled
        if self.artist and styled:
            raise ValueError("artist applies to real checkpoints only; the mini models know styles, not artists.")
        if not self.prompt and (self.artist or (self.style and not styled)):
            raise ValueError("style and artist are added to the prompt, and it is empty. Write one.")
        for stage in self.stages[1:]:
            if stage.step >= self.steps:
                raise ValueError(
                    f"The prompt has a stage at step {stage.step}, which {self.steps} steps never reach; at most "
                    f"{self.steps - 1} allowed."
                )
        self.check_cuts()
        return self

    def _check_prompt(self) -> None:
        for stage in parse_stages(self.prompt):
            try:
                parse_prompts(stage.prompts)
            except PromptError as error:
                at = f"from step {stage.step} on " if stage.step else ""
                raise PromptError(f"{at}{error}") from None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is drawn from which step on, style and artist added as PaddleHub's disco_diffusion_clip_rn50 does."""
        if not self.prompt:
            return (Stage(0, ""),)
        style = None if self.known_style else self.style
        artist = f"{self.artist},trending on artstation" if self.artist else ""
        words = ",".join(part.strip() for part in (style, artist) if part)
        stages = parse_stages(self.prompt)
        return tuple(Stage(s.step, append_words(s.prompts, words)) for s in stages) if words else stages

    @property
    def texts_read(self) -> Iterator[tuple[str, Prompt]]:
        """Those of every stage."""
        if not self.prompt:
            return
        added = "prompt" if self.stages == parse_stages(self.prompt) else "prompt with the words of style and artist"
        for stage in self.stages:
            what = f"{added} from step {stage.step} on" if stage.step else added
            yield from ((what, prompt) for prompt in parse_prompts(stage.prompts))

    @property
    def skipped(self) -> int:
        """Steps left out at the noisy end: there are some where a picture is started from."""
        return 0 if self.init == "noise" else self.skip_steps

    @property
    def known_style(self) -> str | None:
        """The style the network is conditioned on; None where it knows none, and `style` is words of the prompt."""
        return self.style if registry.checkpoint(self.checkpoint).styled else None

    @property
    def mirrored_at(self) -> int | None:
        """The step, skipped ones counted, before which the picture is mirrored; None for never."""
        if not (self.use_horizontal_symmetry or self.use_vertical_symmetry):
            return None
        return max(int(self.steps * self.transformation_percent), self.skipped)

    @property
    def through_unet(self) -> bool:
        """Whether gradients are carried through the network: only where CLIP has something to say."""
        return self.grad_through != "x0" and self.clip_guidance_scale > 0

    @property
    def mixes_noise(self) -> bool:
        """Whether CLIP sees the denoised picture mixed with the noisy one."""
        return self.grad_through == "x_in" and self.clip_guidance_scale > 0

    @property
    def total_steps(self) -> int:
        """Steps that are made: those skipped are not among them."""
        return self.steps - self.skipped

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share every forward and backward pass."""
        width, height = self.actual_size
        return f"guided-diffusion {self.checkpoint} {'+'.join(self.clip)} {width}x{height}"

    @property
    def cutouts_per_step(self) -> int:
        return self.max_cuts if self.cuts_scheduled else self.cutn

    @property
    def loss_networks(self) -> tuple[str, ...]:
        held_to_start = self.init in ("image", "perlin") and self.init_scale > 0
        return ("lpips-vgg",) if held_to_start and self.init_loss == "lpips" else ()

    @property
    def memory_advice(self) -> str:
        knob = "cut_overview and cut_innercut" if self.cuts_scheduled else "cutn"
        return f"lower width and height or {knob}"

    @property
    def activation_share(self) -> float:
        real = not registry.checkpoint(self.checkpoint).styled
        return 0.35 if self.checkpoint_activations and real else 1.0
