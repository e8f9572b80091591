"""Finished pictures signed by the studio: a C2PA manifest in the PNG says that they are made with AI, and where.

Needs the packages of requirements-c2pa.txt, which are imported where T2I_C2PA is set alone.
https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html
"""

from __future__ import annotations

import io
import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executor.signing_key import KeyUnusable, key_of
from generator.version import NAME, VERSION

if TYPE_CHECKING:
    from settings import Settings

# https://cv.iptc.org/newscodes/digitalsourcetype/
MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MADE_WITH_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
# A picture of its own in the manifest would be half of a small one's file.
_OPTIONS: dict[str, Any] = {"builder": {"thumbnail": {"enabled": False}}}


class Provenance:
    """Signs pictures, by several threads one after the other."""

    def __init__(self, path: Path) -> None:
        """path: of the key, which is made where there is none. Raises ImportError, KeyUnusable, OSError."""
        try:
            import c2pa
        except (RuntimeError, ValueError, OSError) as error:  # its library is missing, or for another machine
            raise ImportError(f"c2pa cannot be loaded: {error}") from None

        self._c2pa, self._lock = c2pa, threading.Lock()
        key = key_of(path)
        try:
            signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(key.algorithm, key.chain, key.private, None))
            self._context = c2pa.Context.from_dict(_OPTIONS, signer)
        except c2pa.C2paError as error:
            raise KeyUnusable(f"Nothing can be signed with the key in {path}: {error}") from None

    def signed(self, png: bytes, source_type: str = MADE_BY_MODEL) -> bytes:
        """The PNG with a manifest. source_type: what IPTC calls the way it came to be. Raises C2paError."""
        action = {"action": "c2pa.created", "digitalSourceType": source_type}
        manifest = {
            "claim_generator_info": [{"name": NAME, "version": VERSION}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
        }
        out = io.BytesIO()
        with self._lock, self._c2pa.Builder.from_json(json.dumps(manifest), self._context) as builder:
            builder.sign("image/png", io.BytesIO(png), out)
        return out.getvalue()


def set_up(settings: Settings, log: logging.Logger) -> Provenance | None:
    """As the configuration says; None where it asks for none, or, with a warning, where it cannot be had."""
    if not settings.c2pa:
        return None
    try:
        signing = Provenance(settings.c2pa_key)
        log.info("pictures_signed", extra={"fields": {"key": settings.c2pa_key}})
        return signing
    except ImportError as error:
        reason = f"{error} (pip install -r requirements-c2pa.txt)"
    except (KeyUnusable, OSError) as error:
        reason = str(error)
    log.warning("pictures_not_signed", extra={"fields": {"error": reason}})
    return None
