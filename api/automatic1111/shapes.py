"""What this dialect asks and answers with. Fields that are not here are read over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from studio.submit import MAX_PICTURES

MAX_SIDE = 16_384  # px, of what is read; what is drawn has bounds of its own


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    return text


Text = Annotated[str, AfterValidator(_whole)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class TextToImage(BaseModel):
    """A wish for pictures. What is null or left out is as the studio draws best with the checkpoint."""

    prompt: Text | None = Field(
        "", description="(words:1.2) are read without their weight; <lora:NAME:0.8> is read for Stable Diffusion."
    )
    negative_prompt: Text | None = ""
    styles: list[Text] | None = Field(None, description="Names of /prompt-styles; the first one that is there counts.")
    seed: int | None = Field(-1, ge=-1, le=2**32 - 1, description="-1: random.")
    steps: int | None = Field(None, ge=1, le=1_000_000)
    cfg_scale: float | None = Field(None, allow_inf_nan=False)
    width: Side | None = Field(None, description="px; drawn at the model's own size, handed over at exactly this one.")
    height: Side | None = None
    batch_size: Count | None = Field(1, description=f"batch_size times n_iter pictures, at most {MAX_PICTURES}.")
    n_iter: Count | None = 1
    sampler_name: Text | None = Field(None, description="One of /samplers, or Automatic.")
    sampler_index: Text | None = Field(None, description="The older name of sampler_name.")
    scheduler: Text | None = Field(None, description="Read over: noise levels are evenly spaced in time.")
    denoising_strength: Share | None = Field(None, description="With a picture to start from: how much is redone.")
    enable_hr: bool | None = False
    hr_scale: float | None = Field(2.0, ge=0, le=16, allow_inf_nan=False)
    hr_resize_x: int | None = Field(0, ge=0, le=MAX_SIDE)
    hr_resize_y: int | None = Field(0, ge=0, le=MAX_SIDE)
    hr_upscaler: Text | None = Field(None, description="A checkpoint of the upscale engine; others mean the default.")
    override_settings: dict[str, Any] | None = Field(None, description="sd_model_checkpoint is read.")
    override_settings_restore_afterwards: bool | None = Field(True, description="false: the model is kept for later.")
    script_name: Text | None = None
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = True
    save_images: bool | None = Field(False, description="Read over: the studio keeps every picture.")
    studio_params: dict[str, Any] | None = Field(
        None, description="Settings of the studio's engine by their own names, see /api/v1/engines; they come first."
    )

    def echo(self) -> dict[str, Any]:
        """The wish as it is told back, but for what may hold anything."""
        plain = self.model_dump(
            exclude={"override_settings", "alwayson_scripts", "studio_params", "include_init_images"}
        )
        return {**plain, "override_settings": {}, "alwayson_scripts": {}}

    @property
    def checkpoint(self) -> object:
        """What override_settings names as the model for this call; None: nothing."""
        return (self.override_settings or {}).get("sd_model_checkpoint")


class ImageToImage(TextToImage):
    """The same, from a picture."""

    init_images: list[Text] | None = Field(None, description="One picture: base64 of a file, or a data URI.")
    mask: Text | None = Field(None, description="What is drawn anew: white yes, black no.")
    inpainting_mask_invert: int | None = Field(0, ge=0, le=1, description="1: black is drawn anew.")
    include_init_images: bool | None = Field(False, description="Whether the answer repeats the pictures sent.")

    def echo(self) -> dict[str, Any]:
        """As above; the pictures only where they are wanted back."""
        return super().echo() | ({} if self.include_init_images else {"init_images": None, "mask": None})


class Pictures(BaseModel):
    """images: PNG in base64. info: a JSON object as text, with infotexts and the true seeds."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class Extras(BaseModel):
    """How pictures are to be made larger."""

    resize_mode: Literal[0, 1] = Field(0, description="0: upscaling_resize times; 1: to upscaling_resize_w x _h.")
    show_extras_results: bool | None = True
    upscaling_resize: float = Field(2, gt=0, le=16, allow_inf_nan=False)
    upscaling_resize_w: Side = 512
    upscaling_resize_h: Side = 512
    upscaling_crop: bool = Field(True, description="Of resize_mode 1: cut what is over; else the picture stays whole.")
    upscaler_1: Text = Field("None", description="One of /upscalers; None leaves the picture as it is.")
    upscaler_2: Text = "None"
    extras_upscaler_2_visibility: Share = 0


class SingleExtras(Extras):
    """One picture made larger."""

    image: Text = Field("", description="base64 of a file, or a data URI.")


class NamedFile(BaseModel):
    """A picture of several."""

    data: Text
    name: Text = ""


class BatchExtras(Extras):
    """Several pictures made larger."""

    imageList: list[NamedFile] = Field(min_length=1, max_length=MAX_PICTURES)


class SingleUpscaled(BaseModel):
    """image: PNG in base64; null where it was not wanted."""

    html_info: str
    image: str | None


class BatchUpscaled(BaseModel):
    """images: PNG in base64, in the order they came."""

    html_info: str
    images: list[str]


class PngInfoQuestion(BaseModel):
    """A picture whose settings are wanted."""

    image: Text


class PngInfo(BaseModel):
    """info: the text in the picture; parameters: its parts by name; items: whatever else is written there."""

    info: str
    items: dict[str, str]
    parameters: dict[str, str]


class Progress(BaseModel):
    """How far the caller's own calls are. eta_relative in s, 0 where it is not known."""

    progress: float
    eta_relative: float
    state: dict[str, Any]
    current_image: str | None = Field(None, description="PNG in base64.")
    textinfo: str | None = None


class _Listed(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class ModelShape(_Listed):
    """A checkpoint and the engine that draws with it."""

    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None = None


class SamplerShape(_Listed):
    """A sampler by the name that A1111 gives it."""

    name: str
    aliases: list[str]
    options: dict[str, str] = {}


class SchedulerShape(_Listed):
    """How noise levels are spaced."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float | None = None
    need_inner_model: bool | None = None


class UpscalerShape(_Listed):
    """What makes a picture larger."""

    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float | None


class NameShape(_Listed):
    """Something that has but a name."""

    name: str


class LoraShape(_Listed):
    """A LoRA of the host's; alias is its name."""

    name: str
    alias: str
    path: str = ""
    metadata: dict[str, str] = {}


class StyleShape(_Listed):
    """A style of the embedded models: chosen by name, no words are added."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""
