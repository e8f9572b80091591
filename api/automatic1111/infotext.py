"""Generation parameters as A1111 writes and reads them: prompt, negative prompt, one line of `Key: value` pairs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from api.automatic1111.models import sha256_of
from api.automatic1111.samplers import name_of
from api.automatic1111.shapes import TextToImage
from db.jobs import Job
from generator.output.metadata import pairs_line
from generator.version import VERSION

MAX_LINE = 20_000  # characters of the last line that are taken apart
_KEY = re.compile(r"\w[\w \-/]{1,100}")
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")


def infotext(body: TextToImage, job: Job, size: tuple[int, int]) -> str:
    """The parameters of one picture. size: in px, as it is handed over."""
    params = job.params
    values: dict[str, Any] = {
        "Steps": params["steps"],
        "Sampler": _sampler(job),
        "Schedule type": "Automatic",
        "CFG scale": params.get("cfg_scale"),
        "Seed": params["seed"],
        "Size": f"{size[0]}x{size[1]}",
        "Model hash": (sha256_of(job.checkpoint) or "")[:10] or None,
        "Model": job.checkpoint,
        "Engine": job.engine,
        "Style": params.get("style"),
        "Denoising strength": params.get("strength") if params.get("init_image") else None,
        "Template": _typed(job, "prompt"),
        "Negative Template": _typed(job, "negative_prompt"),
        "Version": f"studio {VERSION}",
    }
    line = pairs_line({key: _short(value) for key, value in values.items() if value is not None})
    avoided = _drawn(job, "negative_prompt", body.negative_prompt)
    negative = f"\nNegative prompt: {avoided}" if avoided else ""
    return f"{_drawn(job, 'prompt', body.prompt)}{negative}\n{line}"


def _drawn(job: Job, name: str, given: str | None) -> str:
    """A text as it was drawn where that is not as it was given."""
    said = (job.params.get("wording") or {}).get(name)
    return str(said["became"]) if said else given or ""


def _typed(job: Job, name: str) -> str | None:
    said = (job.params.get("wording") or {}).get(name)
    return str(said["typed"]) if said else None


def info(
    body: TextToImage, jobs: Sequence[Job], texts: Sequence[str], size: tuple[int, int], timestamp: str | None = None
) -> str:
    """What `info` of an answer holds, as JSON in ASCII. jobs, texts: those of each picture; at least one job."""
    first, prompt, negative = jobs[0], body.prompt or "", body.negative_prompt or ""
    sha256 = sha256_of(first.checkpoint)
    return json.dumps(
        {
            "prompt": prompt,
            "all_prompts": [_drawn(job, "prompt", prompt) for job in jobs],
            "negative_prompt": negative,
            "all_negative_prompts": [_drawn(job, "negative_prompt", negative) for job in jobs],
            "seed": first.params["seed"],
            "all_seeds": [job.params["seed"] for job in jobs],
            "subseed": -1,
            "all_subseeds": [-1] * len(jobs),
            "subseed_strength": 0,
            "width": size[0],
            "height": size[1],
            "sampler_name": _sampler(first),
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


def parsed(text: str) -> dict[str, str]:
    """The parts of such a text by name, as A1111's infotext_utils.parse_generation_parameters; {} for no such text."""
    if not text.strip():
        return {}
    *lines, last = text.strip().split("\n")
    pairs = _pairs(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], {}
    whole = "\n".join(line.strip() for line in lines)
    prompt, _, negative = whole.partition("Negative prompt:")
    return {**pairs, "Prompt": prompt.strip(), "Negative prompt": negative.strip()}


def _pairs(line: str) -> dict[str, str]:
    """`Key: value` pairs; a size 64x32 as Key-1 and Key-2."""
    line, found, at = line[:MAX_LINE], dict[str, str](), 0
    while (colon := line.find(":", at)) >= 0:
        key, start = line[at:colon].strip(), colon + 1
        while start < len(line) and line[start] == " ":
            start += 1
        value, at = _value(line, start)
        if _KEY.fullmatch(key):
            size = _SIZE.fullmatch(value)
            found |= {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}
    return found


def _value(line: str, start: int) -> tuple[str, int]:
    """The value that starts there, and where the next key starts; in quotes it is a JSON string."""
    if line.startswith('"', start):
        try:
            value, end = json.JSONDecoder().raw_decode(line, start)
            if isinstance(value, str) and line[end : end + 1] in ("", ","):
                return value, end + 1
        except ValueError:
            pass
    end = line.find(",", start)
    end = len(line) if end < 0 else end
    return line[start:end].strip(), end + 1


def _sampler(job: Job) -> str:
    sampler = job.params.get("sampler") or job.params.get("optimiser")
    return name_of(sampler) if isinstance(sampler, str) else job.engine


def _short(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
