"""What a file of a job is called where somebody keeps it: by what is in it."""

from __future__ import annotations

import re
import unicodedata

from db.artefacts import Artefact
from db.jobs import Job

LONGEST = 120  # bytes of a prompt


def file_name(job: Job, artefact: Artefact) -> str:
    """As a-red-heart_vqgan-clip_seed1.png: letters and digits of any script, and nothing a file system refuses."""
    words = re.findall(r"\w+", unicodedata.normalize("NFC", job.prompt).replace("_", " "))
    prompt = ""
    for word in words:
        longer = f"{prompt}-{word}" if prompt else word.encode()[:LONGEST].decode(errors="ignore")
        if len(longer.encode()) > LONGEST:
            break
        prompt = longer
    seed = job.params.get("seed")
    parts = [prompt.lower() or "picture", job.engine, *([] if seed is None else [f"seed{seed}"])]
    return f"{'_'.join(parts)}.{artefact.key.rsplit('.', 1)[-1]}"
