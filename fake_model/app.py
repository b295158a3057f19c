"""The ASGI application: Anthropic's paths, and `/_fake/` to set scripts and to read what happened."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fake_model.abilities import MODELS, abilities
from fake_model.fields import JsonObject
from fake_model.messages import CountTokens, Messages
from fake_model.rates import Rates
from fake_model.record import Log
from fake_model.refusal import Refused, error_body, error_type
from fake_model.scripts import Script, Scripts
from fake_model.strict import check_headers

_REQUEST_ID = "req_fake"
_RELEASED = "2026-01-01T00:00:00Z"


def create_app(
    scripts: Scripts | None = None,
    *,
    keep_bodies: bool = False,
    log: Log | None = None,
    rates: Rates | None = None,
    window: int | None = None,
) -> Starlette:
    """A fake with an empty log. `keep_bodies` keeps whole request bodies in it, for tests that look at them; `window`:
    tokens of the longest prompt, in the place of what each model takes."""
    fake = _Fake(
        scripts if scripts is not None else Scripts(), log if log is not None else Log(keep_bodies=keep_bodies)
    )
    return Starlette(
        routes=[
            Route("/v1/messages", Messages(fake.scripts, fake.log, rates or Rates(), window), methods=["POST"]),
            Route("/v1/messages/count_tokens", CountTokens(), methods=["POST"]),
            Route("/v1/models", fake.models),
            Route("/v1/models/{model}", fake.model),
            Route("/_fake/scripts/{name}", fake.put_script, methods=["PUT"]),
            Route("/_fake/requests", fake.requests, methods=["GET"]),
            Route("/_fake/requests", fake.clear, methods=["DELETE"]),
            Route("/_fake/bought", fake.bought),
        ],
        exception_handlers={HTTPException: _no_such_path, Refused: _refused},
    )


class _Fake:
    """The endpoints that answer with plain JSON."""

    def __init__(self, scripts: Scripts, log: Log) -> None:
        self.scripts = scripts
        self.log = log

    async def models(self, request: Request) -> Response:
        check_headers(request.headers)
        listed = [_model(name) for name in MODELS]
        return JSONResponse({"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})

    async def model(self, request: Request) -> Response:
        check_headers(request.headers)
        name = request.path_params["model"]
        if abilities(name) is None:
            raise Refused(f"model: {name}", 404)
        return JSONResponse(_model(name))

    async def put_script(self, request: Request) -> Response:
        try:
            script = Script.model_validate_json(await request.body())
        except ValidationError as error:
            raise Refused(f"script: {error}") from None
        self.scripts.add(script.model_copy(update={"name": request.path_params["name"]}))
        return Response(status_code=204)

    async def requests(self, request: Request) -> Response:
        session = request.query_params.get("session")
        return JSONResponse([record.as_json() for record in self.log.of(session)])

    async def clear(self, request: Request) -> Response:
        self.log.clear()
        return Response(status_code=204)

    async def bought(self, request: Request) -> Response:
        return JSONResponse(self.log.bought())


def _model(name: str) -> JsonObject:
    rules = abilities(name)
    return {
        "type": "model",
        "id": name,
        "display_name": name.removeprefix("claude-").replace("-", " ").title(),
        "created_at": _RELEASED,
        "lifecycle": "active",
        "max_tokens": rules.max_tokens if rules else None,
    }


async def _no_such_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Response(error_body(error_type(status), "Not found", _REQUEST_ID), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    refused = error if isinstance(error, Refused) else Refused(str(error), 500)
    body = error_body(refused.kind, refused.message, _REQUEST_ID)
    return Response(body, refused.status, media_type="application/json")
