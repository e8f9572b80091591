"""Which CLIP made a vector: vectors of one CLIP with the same weights can be compared, no others.

Imports no torch: pages and API ask for vectors by this name, executors make them.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from generator import registry

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


@lru_cache
def clip_space(name: str) -> str:
    """The CLIP's name with the beginning of its weights' sha256. Raises UnknownName."""
    row = registry.lookup("CLIP model", registry.CLIP_MODELS, name)
    if not row.embedded:
        return f"{name}@{(row.files[0].sha256 or '')[:12]}"
    digest = sha256()
    # Texts are read by the first one's weights, whichever sees the pictures.
    for part in dict.fromkeys(("mini-clip", {"mini": "mini-clip"}.get(name, name))):
        digest.update((WEIGHTS / f"{part}.safetensors").read_bytes())
    return f"{name}@{digest.hexdigest()[:12]}"
