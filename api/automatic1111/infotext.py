"""Generation parameters as A1111 writes and reads them: prompt, negative prompt, one line of `Key: value` pairs."""

from __future__ import annotations

import json
import re
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

MAX_LINE = 20_000  # characters of the last line that are taken apart
_KEY = re.compile(r"\w[\w \-/]{1,100}")
_NEGATIVE = "Negative prompt:"
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")


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


def parsed(text: str) -> dict[str, str]:
    """The parts of such a text by name, as A1111's infotext_utils.parse_generation_parameters; {} for no such text."""
    if not text.strip():
        return {}
    *lines, last = [line.strip() for line in text.strip().split("\n")]
    pairs = _pairs(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], {}
    begins = next((n for n, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[begins:]).removeprefix(_NEGATIVE)
    return {**pairs, "Prompt": "\n".join(lines[:begins]), "Negative prompt": negative.strip()}


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
