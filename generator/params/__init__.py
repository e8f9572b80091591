"""What can be set, declared once: the form, the CLI flags, the tables in the docs and the metadata in a
picture are all derived from these frozen classes. Importing this package does not import torch."""

from generator.params.base import MAX_PROMPT_CHARACTERS, RECORD, BadParams, Params, Setting
from generator.params.biggan_clip import BigganClipParams
from generator.params.cutouts import Cutouts
from generator.params.download import DownloadParams
from generator.params.guided_diffusion import GuidedDiffusionParams
from generator.params.job import JobParams
from generator.params.latent_diffusion import LatentDiffusionParams
from generator.params.rank import RankParams
from generator.params.upscale import UpscaleParams
from generator.params.validation import drawing_class, params_class, problems, validate, validate_job
from generator.params.vqgan_clip import VqganClipParams

__all__ = [
    "MAX_PROMPT_CHARACTERS",
    "RECORD",
    "BadParams",
    "BigganClipParams",
    "Cutouts",
    "DownloadParams",
    "GuidedDiffusionParams",
    "JobParams",
    "LatentDiffusionParams",
    "Params",
    "RankParams",
    "Setting",
    "UpscaleParams",
    "VqganClipParams",
    "drawing_class",
    "params_class",
    "problems",
    "validate",
    "validate_job",
]
