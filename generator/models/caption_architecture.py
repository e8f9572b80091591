"""What a text-to-image model of one's own is built from, as its file says it. Importing this module does not import
torch: whoever takes a file looks at it first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_MERGES = 49_408 - 514
Width = Annotated[int, Field(ge=8, le=2048, multiple_of=8)]


class Architecture(BaseModel):
    """What a model is built from, as its file says it; bounded, since files come from anywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=16, le=1024, multiple_of=8)  # px
    channels: tuple[Width, ...] = Field(min_length=2, max_length=6)
    layers_per_block: int = Field(ge=1, le=4)
    attention_up_to: int = Field(ge=1, le=128)
    head_width: int = Field(ge=8, le=256)
    dropout: float = Field(ge=0, lt=1)
    text_width: int = Field(ge=32, le=2048, multiple_of=32)
    text_layers: int = Field(ge=0, le=24)
    time_width: int = Field(0, ge=0, le=2048, multiple_of=8)  # 0: the caption is read by cross-attention alone
    caption_tokens: int = Field(ge=4, le=77)
    merges: tuple[tuple[str, str], ...] = Field((), max_length=MAX_MERGES)
    base: str = Field("", max_length=140)
    prediction: Literal["v", "epsilon"]
    timesteps: int = Field(ge=10, le=4000)
    schedule: Literal["squaredcos_cap_v2", "scaled_linear", "linear"]
    zero_terminal_snr: bool

    @property
    def factor(self) -> int:
        """px per position of what the UNet sees."""
        return 8 if self.base else 1

    @property
    def scheduler(self) -> dict[str, Any]:
        """The noise levels as a scheduler_config.json of diffusers says them."""
        return {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": self.timesteps,
            "beta_schedule": self.schedule,
            "beta_start": 0.00085 if self.schedule == "scaled_linear" else 1e-4,
            "beta_end": 0.012 if self.schedule == "scaled_linear" else 0.02,
            "prediction_type": {"v": "v_prediction", "epsilon": "epsilon"}[self.prediction],
            "rescale_betas_zero_snr": self.zero_terminal_snr,
            "timestep_spacing": "trailing",
            "clip_sample": False,
            "set_alpha_to_one": True,
            "steps_offset": 1,  # diffusers asks for it; trailing steps have none
        }

    @property
    def unet(self) -> dict[str, Any]:
        """The UNet as diffusers' UNet2DConditionModel is configured."""
        positions, places = self.size // self.factor, 4 if self.base else 3
        reads = [positions // 2**level <= self.attention_up_to for level in range(len(self.channels))]
        return {
            "sample_size": positions,
            "in_channels": places,
            "out_channels": places,
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers_per_block,
            "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in reads],
            "up_block_types": ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(reads)],
            # By this name diffusers means how many heads there are.
            "attention_head_dim": [_heads(channels, self.head_width) for channels in self.channels],
            "cross_attention_dim": self.text_width,
            "norm_num_groups": 8,
            "resnet_time_scale_shift": "scale_shift",
            "dropout": self.dropout,
            **self._pooled,
        }

    @property
    def _pooled(self) -> dict[str, Any]:
        """The caption as a whole, next to the noise level: in noise alone it is what a picture is made of, and
        cross-attention learns that many times more slowly."""
        if not self.time_width:
            return {}
        return {
            "time_embedding_dim": self.time_width,
            "addition_embed_type": "text",
            "addition_embed_type_num_heads": self.text_width // 32,
        }


def _heads(channels: int, width: int) -> int:
    """As many heads of about that width as divide the channels."""
    return next(heads for heads in range(max(1, channels // width), 0, -1) if channels % heads == 0)
