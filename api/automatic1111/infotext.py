"""Generation parameters as A1111 writes them: prompt, negative prompt, one line of `Key: value` pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from api.automatic1111.models import sha256_of
from api.automatic1111.prompts import apart
from api.automatic1111.shapes import TextToImage
from db.jobs import Job
from generator.output import infotext as written
from generator.output.sources import NONE, Sources
from generator.params import validate
from generator.version import VERSION


def infotext(body: TextToImage, job: Job, size: tuple[int, int], sources: Sources = NONE) -> str:
    """The parameters of one picture, its words as they were sent, or as they were drawn where that is something else.

    size: in px, as it is handed over.
    """
    params = validate(job.engine, {"prompt": job.prompt, **job.params})
    words = _drawn(job, body)
    return written.infotext(
        job.engine, params, size, sources=sources, model_hash=sha256_of(job.checkpoint), words=words
    )


def _drawn(job: Job, body: TextToImage) -> tuple[str, str]:
    """Prompt and negative prompt, as they were drawn where that is something else than was sent."""
    said = {name: str(one["became"]) for name, one in (job.params.get("wording") or {}).items()}
    prompt, negative = said.get("prompt"), said.get("negative_prompt", body.negative_prompt or "")
    if prompt is not None and negative.strip() and "negative_prompt" not in job.params:
        return apart(prompt)  # that engine avoids in a part of its prompt
    return body.prompt or "" if prompt is None else prompt, negative


def info(
    body: TextToImage, jobs: Sequence[Job], texts: Sequence[str], size: tuple[int, int], timestamp: str | None = None
) -> str:
    """What `info` of an answer holds, as JSON in ASCII. jobs, texts: those of each picture; at least one job."""
    first, prompt, negative = jobs[0], body.prompt or "", body.negative_prompt or ""
    sha256 = sha256_of(first.checkpoint)
    return json.dumps(
        {
            "prompt": prompt,
            "all_prompts": [_drawn(job, body)[0] for job in jobs],
            "negative_prompt": negative,
            "all_negative_prompts": [_drawn(job, body)[1] for job in jobs],
            "seed": first.params["seed"],
            "all_seeds": [job.params["seed"] for job in jobs],
            "subseed": -1,
            "all_subseeds": [-1] * len(jobs),
            "subseed_strength": 0,
            "width": size[0],
            "height": size[1],
            "sampler_name": written.sampler_name(first.params, first.engine),
            "cfg_scale": first.params.get("cfg_scale"),
            "steps": first.params["steps"],
            "batch_size": body.batch_size or 1,
            "restore_faces": False,
            "face_restoration_model": None,
            "sd_model_name": first.checkpoint,
            "sd_model_hash": sha256[:10] if sha256 else None,
            "sd_vae_name": None,
            "sd_vae_hash": None,
            "seed_resize_from_w": -1,
            "seed_resize_from_h": -1,
            "denoising_strength": first.params.get("strength") if first.params.get("init_image") else None,
            "extra_generation_params": {},
            "index_of_first_image": 0,
            "infotexts": list(texts),
            "styles": [first.params["style"]] if first.params.get("style") else [],
            "job_timestamp": timestamp or time.strftime("%Y%m%d%H%M%S"),
            "clip_skip": 1,
            "is_using_inpainting_conditioning": False,
            "version": f"studio {VERSION}",
        }
    )
