"""The MCP server itself: which tools there are, how they are described, asked and answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import BaseModel, ValidationError

from api.mcp import arguments, keeping, looks, wishes
from api.mcp.calls import Call
from api.mcp.ratings import RatingsTold
from api.mcp.results import Answer, JobsTold
from api.problems import NotAnswered, in_words, writable
from generator.version import VERSION
from studio.errors import SENTENCES, told

INSTRUCTIONS = """Draws pictures from prompts on a studio's fair queue. Every picture is a job; `draw` waits for it and
shows it. What takes longer is told as unfinished: ask for it again with `wait`. `engines` and `parameters` tell what
can be set. From a finished picture go on with vary, upscale, rank or compare."""
Caller = Callable[[ServerRequestContext[Any, Any]], Call]  # who makes a call, from what comes with its request


@dataclass(frozen=True)
class _Tool:
    title: str
    run: Callable[[Call, Any], Awaitable[Answer]]
    takes: type[BaseModel]
    gives: type[BaseModel]
    looks: bool = False  # changes nothing


TOOLS: dict[str, _Tool] = {
    "draw": _Tool("Draw", wishes.draw, arguments.Draw, JobsTold),
    "wait": _Tool("Wait for pictures", wishes.wait, arguments.Wait, JobsTold, looks=True),
    "vary": _Tool("Vary a picture", wishes.vary, arguments.Vary, JobsTold),
    "upscale": _Tool("Upscale a picture", wishes.upscale, arguments.Upscale, JobsTold),
    "compare": _Tool("Compare settings", wishes.compare, arguments.Compare, JobsTold),
    "rank": _Tool("Rank pictures", wishes.rank, arguments.Rank, JobsTold),
    "search": _Tool("Search pictures", looks.search_pictures, arguments.Search, looks.FoundTold, looks=True),
    "keep": _Tool("Keep pictures", keeping.keep, arguments.Keep, keeping.BoardsTold),
    "kept": _Tool("Pictures kept", keeping.kept, arguments.OfBoard, keeping.KeptTold, looks=True),
    "engines": _Tool("Engines", looks.engines, arguments.Nothing, looks.EnginesTold, looks=True),
    "parameters": _Tool(
        "Settings of an engine", looks.parameters, arguments.OfEngine, looks.ParametersTold, looks=True
    ),
    "ratings": _Tool("Ratings", looks.ratings, arguments.OfRatings, RatingsTold, looks=True),
    "queue": _Tool("The queue", looks.show_queue, arguments.Nothing, looks.QueueTold, looks=True),
}


def build(call_of: Caller) -> Server[Any]:
    """The server; call_of: who makes a call."""

    async def list_tools(_: ServerRequestContext[Any, Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_described(name, tool) for name, tool in TOOLS.items()])

    async def call_tool(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
        try:
            return _result(await _answer(call_of(ctx), params.name, params.arguments or {}))
        except ValidationError as error:
            return _failed(in_words(error.errors()))
        except NotAnswered as error:
            return _failed(error.problem.sentence)
        except SENTENCES as error:
            return _failed(told(error))
        except Exception as error:
            logging.getLogger("api").error("the tool %s failed", params.name, exc_info=error)
            return _failed("The studio could not do this; its log says why.")

    return Server(
        "text-to-image-studio",
        version=VERSION,
        title="Text-to-image studio",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _answer(call: Call, name: str, given: dict[str, Any]) -> Answer:
    tool = TOOLS.get(name)
    if tool is None:
        raise NotAnswered(404, f"There is no tool {name!r}; there are: {', '.join(TOOLS)}.", "unknown_tool")
    call.caller.check("read" if tool.looks else "submit")
    return await tool.run(call, tool.takes.model_validate(given))


def _described(name: str, tool: _Tool) -> Tool:
    return Tool(
        name=name,
        title=tool.title,
        description=" ".join((tool.run.__doc__ or "").split()),
        input_schema=tool.takes.model_json_schema(),
        output_schema=tool.gives.model_json_schema(mode="serialization"),
        annotations=ToolAnnotations(
            read_only_hint=tool.looks, destructive_hint=False, idempotent_hint=tool.looks, open_world_hint=False
        ),
    )


def _result(answer: Answer) -> CallToolResult:
    text = TextContent(type="text", text=answer.told.model_dump_json(exclude_none=True))
    return CallToolResult(content=[text, *answer.images], structured_content=answer.told.model_dump(mode="json"))


def _failed(sentence: str) -> CallToolResult:
    """An error that is told to whoever called the tool. What no JSON can hold is replaced in it."""
    return CallToolResult(content=[TextContent(type="text", text=writable(sentence))], is_error=True)
