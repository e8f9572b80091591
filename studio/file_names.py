"""What a file of a job is called where somebody keeps it: by what is in it."""

from __future__ import annotations

import unicodedata

from db.artefacts import Artefact
from db.jobs import Job

LONGEST = 120  # bytes of a prompt


def file_name(job: Job, artefact: Artefact) -> str:
    """As a-red-heart_vqgan-clip_seed1.png: letters and digits of any script, and nothing a file system refuses."""
    signs = unicodedata.normalize("NFC", job.prompt)
    kept = "".join(sign if sign.isalnum() or unicodedata.category(sign)[0] == "M" else " " for sign in signs)
    words = [word for word in kept.split() if any(map(str.isalnum, word))]  # marks are signs of a word, never one alone
    prompt = ""
    for word in words:
        longer = f"{prompt}-{word}" if prompt else word.encode()[:LONGEST].decode(errors="ignore")
        if len(longer.encode()) > LONGEST:
            break
        prompt = longer
    seed = job.params.get("seed")
    parts = [prompt.lower() or "picture", job.engine, *([] if seed is None else [f"seed{seed}"])]
    return f"{'_'.join(parts)}.{artefact.key.rsplit('.', 1)[-1]}"
