"""The words in which the studio is spoken to: of each dialect its addresses, and how a problem is told there."""

from __future__ import annotations

from api import automatic1111
from api.automatic1111 import routes as automatic1111_routes
from api.automatic1111.envelope import as_error
from api.dalle_flow import routes as dalle_flow_routes
from api.dalle_flow.wire import as_failure
from api.eir import routes as eir_routes
from api.mcp import http as mcp
from api.native import routes as native_routes
from api.openai import envelope as openai_envelope
from api.openai import routes as openai_routes
from api.paddlehub import routes as paddlehub_routes
from api.problems import Envelope

ROUTERS = tuple(
    dialect.router
    for dialect in (native_routes, openai_routes, automatic1111_routes, dalle_flow_routes, paddlehub_routes, eir_routes)
)
# By the beginning of the path; elsewhere they are told as RFC 9457 says.
ENVELOPES: dict[str, Envelope] = {
    openai_envelope.PREFIX: openai_envelope.envelope,
    automatic1111.ROOT: as_error,
    "/post": as_failure,
    "/predict/": paddlehub_routes.as_reply,
    "/predict": eir_routes.as_detail,
    "/info": eir_routes.as_detail,
    mcp.PATH: mcp.envelope,
}
