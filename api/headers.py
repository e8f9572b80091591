"""What every answer tells the browser that it may not do (ASGI middleware around pages, files and API alike).

Pages: scripts, styles and connections of the studio alone. Streamlit writes scripts and styles into its pages and
loads those of its components from blobs, so 'unsafe-inline' and blob: stay. Answers of the API run nothing; its
documentation (Swagger) starts from a script in the page. https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; frame-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)
_DOCUMENTATION = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
# A picture or a film that is opened by itself is a page of the browser's own making.
_ANSWERS = (
    "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
DOCUMENTATION = "/api/docs"
_UNUSED = ("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer", "microphone")
_ALWAYS = {
    "x-content-type-options": "nosniff",
    # Addresses name jobs and refinements, and whoever knows the latter's may go on with it.
    "referrer-policy": "same-origin",
    "permissions-policy": ", ".join(f"{name}=()" for name in (*_UNUSED, "midi", "payment", "serial", "usb")),
    "x-permitted-cross-domain-policies": "none",
}


class Headers:
    """Adds what an answer does not have by itself.

    embedders: origins whose pages may show the studio in a frame; "*": all may. answers: prefixes of what the API
    answers.
    """

    def __init__(self, app: ASGIApp, embedders: Sequence[str], answers: Sequence[str]) -> None:
        self._app = app
        # A prefix, and what is below it; not /apis.
        self._answers = re.compile(f"(?:{'|'.join(map(re.escape, answers))})(?:/|$)")
        every = "*" in embedders
        frames = "*" if every else " ".join(("'self'", *embedders))
        self._policies = {
            kind: f"{policy}; frame-ancestors {frames}"
            for kind, policy in (("pages", _PAGES), ("docs", _DOCUMENTATION), ("answers", _ANSWERS))
        }
        # Browsers without frame-ancestors know only this one, which cannot name others.
        self._always = _ALWAYS if embedders else _ALWAYS | {"x-frame-options": "SAMEORIGIN"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back with the headers."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", self._policies[self._kind(scope["path"])])
                for name, value in self._always.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sent)

    def _kind(self, path: str) -> str:
        if path == DOCUMENTATION or path.startswith(f"{DOCUMENTATION}/"):
            return "docs"
        return "answers" if self._answers.match(path) else "pages"
