"""The licence of a picture: the text that goes into its files, as other programs look for it, and out of them again.

In a PNG it is the text `Copyright` (https://www.w3.org/TR/png-3/#11keywords) and XMP's rights, in a WebP the latter
alone: Copyright Notice, Rights Usage Terms and Web Statement of Rights (https://iptc.org/std/photometadata).
"""

from __future__ import annotations

import json
import re
from typing import TypeGuard
from xml.sax.saxutils import escape, quoteattr

from PIL import PngImagePlugin

MAX_LENGTH = 200
_ADDRESS = re.compile(r"https?://\S*[^\s.,;:!?'\"()\[\]{}<>]")  # not the bracket or the full stop behind it


def checked(text: str) -> str:
    """A licence as it is written, in one line. Raises ValueError."""
    if not is_one(text.strip()):
        raise ValueError(f"a licence is one line of 1 to {MAX_LENGTH} characters, such as CC BY 4.0 or an address")
    return text.strip()


def is_one(value: object) -> TypeGuard[str]:
    """Whether a value read from a file can be a licence."""
    return isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and value.isprintable()


def licence_in(document: bytes | None) -> str | None:
    """The licence that the JSON file of a picture tells; None where it tells none."""
    try:
        told = json.loads(document or b"{}").get("licence")
    except (ValueError, AttributeError, RecursionError):
        return None
    return told if is_one(told) else None


def png_texts(licence: str) -> dict[str, str]:
    """The texts of a PNG that say it; none where there is no licence."""
    if not licence:
        return {}
    packet = PngImagePlugin.iTXt(xmp(licence).decode(), "", "")  # the kind of chunk in which XMP is looked for
    return {"Copyright": licence, "XML:com.adobe.xmp": packet}


def xmp(licence: str) -> bytes:
    """An XMP packet that says it; an address in it is also where the licence is to be read."""
    address = _ADDRESS.search(licence)
    text = f'<rdf:Alt><rdf:li xml:lang="x-default">{escape(licence)}</rdf:li></rdf:Alt>'
    statement = f" xmpRights:WebStatement={quoteattr(address[0])}" if address else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"'
        f"{statement}><dc:rights>{text}</dc:rights><xmpRights:UsageTerms>{text}</xmpRights:UsageTerms>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
