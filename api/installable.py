"""What makes the pages an app that a phone installs (W3C Web App Manifest): its manifest, icons, and offline notice."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

_SHARED = Path(__file__).resolve().parent.parent / "pages" / "shared"
ICONS = (192, 512)  # px
# Relative to its own address, so that a studio below a prefix is installed from there.
_MANIFEST = {
    "name": "Text-to-Image Studio",
    "short_name": "Studio",
    "description": "Pictures from words, drawn while you watch.",
    "start_url": "./",
    "scope": "./",
    "display": "standalone",
    "background_color": "#fafbfa",
    "theme_color": "#0d6b5f",
    "icons": [
        {"src": f"icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png", "purpose": purpose}
        for side in ICONS
        for purpose in ("any", "maskable")
    ],
}


def installable() -> list[Route]:
    """The routes, for the pages' app."""

    async def manifest(_: Request) -> Response:
        return JSONResponse(_MANIFEST, media_type="application/manifest+json")

    async def worker(_: Request) -> Response:
        return FileResponse(_SHARED / "offline.js", media_type="text/javascript", headers={"cache-control": "no-cache"})

    icons = [Route(f"/icon-{side}.png", partial(_icon, side)) for side in ICONS]
    return [Route("/manifest.webmanifest", manifest), Route("/offline.js", worker), *icons]


async def _icon(side: int, _: Request) -> Response:
    return FileResponse(_SHARED / f"icon-{side}.png", headers={"cache-control": "max-age=86400"})
