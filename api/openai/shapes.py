"""What clients of the OpenAI images API send and read (openai 3.57: types/image_*_params.py, images_response.py)."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.sizes import FORMATS, check_size
from generator.params import BadParams
from studio.submit import MAX_PICTURES

# Names that clients are fixed to, and that mean what a new page shows first.
ALIASES = (
    "dall-e-2",
    "dall-e-3",
    "gpt-image-1",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-2",
    "chatgpt-image-latest",
)
OTHER_NAMES = {"num_inference_steps": "steps", "guidance_scale": "cfg_scale"}  # of servers that speak this dialect
FEWER_STEPS, MORE_STEPS = ("low",), ("high", "hd", "xhigh", "max")
_SIZE = re.compile(r"(\d{1,5})[xX×](\d{1,5})")


class ImageRequest(BaseModel):
    """A generation, or the fields of an edit or a variation. Every other field is a setting of the engine."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"prompt": "a red heart", "size": "512x512"}]}
    )

    prompt: str = ""
    model: str | None = Field(None, max_length=255, description="One of /v1/models; none: what a new page shows first.")
    n: int | None = Field(None, ge=1, le=MAX_PICTURES, description="How many pictures.")
    size: str | None = Field(
        None,
        max_length=16,
        description="WIDTHxHEIGHT in px of what is handed over; auto: as large as the model makes it.",
    )
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"] | None = Field(
        None, description="low: half of the model's own steps; high and above: twice as many. `steps` says it exactly."
    )
    response_format: Literal["url", "b64_json"] | None = Field(None, description="None: both.")
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = Field(
        None, description="gif: the film of how the picture formed. svg is not drawn here."
    )
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of JPEG and WebP.")
    background: Literal["transparent", "opaque", "auto"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=3, description="With stream: pictures shown while it forms.")
    input_fidelity: Literal["low", "high"] | None = Field(None, description="Of edits: high keeps more of the picture.")
    style: str | None = Field(None, max_length=200, description="A style of the model; vivid and natural: none.")
    # Of OpenAI's own service; there is nothing like them here.
    moderation: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    complexity: str | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg: Any = None

    @property
    def wanted_size(self) -> tuple[int, int] | None:
        """(width, height) in px to hand over; None: as large as it is made. Raises BadParams."""
        if self.size in (None, "", "auto"):
            return None
        match = _SIZE.fullmatch(str(self.size).strip())
        if not match:
            raise BadParams(f"size = {self.size!r}: auto or WIDTHxHEIGHT is allowed, for example 512x512.")
        check_size(int(match[1]), int(match[2]))
        return int(match[1]), int(match[2])

    @property
    def format(self) -> str:
        """png, jpeg, webp or gif. Raises BadParams."""
        form = self.output_format or "png"
        if form not in (*FORMATS, "gif"):
            raise BadParams(f"output_format = {form!r}: {', '.join(FORMATS)} or gif is allowed.")
        return form

    @property
    def settings(self) -> dict[str, Any]:
        """What is meant for the engine."""
        found = {OTHER_NAMES.get(name, name): value for name, value in (self.model_extra or {}).items()}
        if self.style and self.style not in ("vivid", "natural"):
            found["style"] = self.style
        return found


class ImageShape(BaseModel):
    """A picture. job_id, seed: of the studio, for its own API."""

    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None
    job_id: str
    seed: int


class ImagesShape(BaseModel):
    created: int
    data: list[ImageShape]
    background: str = "opaque"
    output_format: str
    size: str
    quality: str


class ModelShape(BaseModel):
    """A model. title, embedded: of the studio."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "studio"
    title: str
    embedded: bool


class ModelsShape(BaseModel):
    object: str = "list"
    data: list[ModelShape]
