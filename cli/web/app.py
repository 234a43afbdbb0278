"""Address → page. What goes wrong becomes a page too, and never shows a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cli.web.frame import framed
from cli.web.guard import Guard
from cli.web.pages.compare import compare
from cli.web.pages.entities import entities
from cli.web.pages.entity import entity
from cli.web.pages.mention import mention
from cli.web.pages.mentions import mentions
from cli.web.pages.overview import overview
from cli.web.pages.plane import plane, points_json
from cli.web.pages.problem import problem
from cli.web.parts import beginning, row_link
from cli.web.pictures import thumbnail
from cli.web.site import Page, Parameters, Site
from cli.web.static_files import TYPES, static_bytes
from featurestore.describe import find_row
from featurestore.errors import ConfigError, DrinFsError, FieldMissing, UnknownId
from featurestore.schema import TABLES

#: A page may differ the next time that a store is served from this address.
_ANEW = {"cache-control": "no-store"}

#: Files and thumbnails, whose address changes with their content.
_KEEP = {"cache-control": "private, max-age=31536000, immutable"}

Make: TypeAlias = Callable[[Site, Parameters], Page]
MakeRow: TypeAlias = Callable[[Site, int, Parameters], Page]

_LISTS: dict[str, Make] = {
    "/": overview,
    "/mentions": mentions,
    "/entities": entities,
    "/map": plane,
    "/compare": compare,
}

#: Path → the table whose rows have pages there.
_ROWS: dict[str, tuple[str, MakeRow]] = {
    "/mention": ("mentions", mention),
    "/entity": ("entities", entity),
}


def make_app(site: Site, *, port: int) -> ASGIApp:
    """The application that shows a site, for a server that listens at a port of this machine."""
    answers = _Answers(site)
    routes = [Route(path, answers.list(make)) for path, make in _LISTS.items()]
    for path, (table, make) in _ROWS.items():
        routes += [Route(end, answers.row(table, make)) for end in (path, path + "/{id:path}")]
    routes += [
        Route("/map.json", answers.map_points),
        Route("/image/{table}/{row:int}.jpg", answers.image),
        Route("/static/{name}", static_file),
    ]
    handlers = {
        HTTPException: answers.status,
        DrinFsError: answers.refusal,
        Exception: answers.failure,  # the server prints the traceback on stderr
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # an id may end with one
    return Guard(app, port=port)


class _Answers:
    """What answers a request, for one site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def list(self, make: Make) -> Callable[[Request], Response]:
        return lambda request: self._answer(make(self._site, request.query_params))

    def row(self, table: str, make: MakeRow) -> Callable[[Request], Response]:
        """Pages of a table's rows: by id in the path, or by ``?id=`` or ``?row=``."""

        def answer(request: Request) -> Response:
            given = request.query_params
            try:
                row = _row(self._site, table, request.path_params.get("id"), given)
            except UnknownId as error:
                return self._unknown(table, error, request.path_params.get("id") or given.get("id"))
            return self._answer(make(self._site, row, given))

        return answer

    def map_points(self, request: Request) -> Response:
        return JSONResponse(points_json(self._site, request.query_params), headers=_ANEW)

    def image(self, request: Request) -> Response:
        """A thumbnail."""
        table, row = request.path_params["table"], request.path_params["row"]
        known = table in TABLES and row < len(self._site.store.table(table))
        data = thumbnail(self._site.store.table(table), row) if known else None
        if data is None:
            raise HTTPException(404)
        return Response(data, media_type="image/jpeg", headers=_KEEP)

    # what went wrong ---------------------------------------------------------------------------

    def status(self, request: Request, error: Exception) -> Response:
        """No such page."""
        assert isinstance(error, HTTPException)
        return self._answer(problem(404, "There is no such page here."))

    def refusal(self, request: Request, error: Exception) -> Response:
        """What was asked for cannot be shown, or the store is damaged."""
        assert isinstance(error, DrinFsError)
        asked = isinstance(error, ConfigError | UnknownId | FieldMissing)
        page = problem(400 if asked else 500, error.what, where=error.where, hint=error.hint)
        return self._answer(page)

    def failure(self, request: Request, error: Exception) -> Response:
        what = f"drin-fs did not expect this ({type(error).__name__})."
        return self._answer(problem(500, what, hint="The terminal it runs in says more."))

    def _unknown(self, table: str, error: UnknownId, key: str | None) -> Response:
        near = self._site.store.table(table).nearest(key) if key else []
        rows = self._site.store.table(table).find(near).tolist()
        links = [row_link(table, row, name, name) for row, name in zip(rows, near, strict=True)]
        return self._answer(problem(404, error.what, hint=error.hint, near=links))

    def _answer(self, page: Page) -> Response:
        return HTMLResponse(framed(self._site, page), status_code=page.status, headers=_ANEW)


def static_file(request: Request) -> Response:
    """One of the files of a fixed list."""
    name = request.path_params["name"]
    if name not in TYPES:
        raise HTTPException(404)
    return Response(static_bytes(name), media_type=TYPES[name], headers=_KEEP)


def _row(site: Site, table: str, key: str | None, given: Parameters) -> int:
    """The row that an address means.

    Raises:
        UnknownId: there is none.
    """
    if key is None:
        key = given.get("id")
    if key is not None:
        found = int(site.store.table(table).find([key])[0])
        if found >= 0 or (key.isascii() and key.isdigit()):
            return found if found >= 0 else find_row(site.store, table, key)
        raise UnknownId(f"unknown id {beginning(key)!r}", where=f"{site.store.path}::/{table}")
    row, rows = given.get("row", ""), len(site.store.table(table))
    if row.isascii() and row.isdigit() and len(row) < 19 and int(row) < rows:
        return int(row)
    raise UnknownId(f"no row {row!r}", where=f"{site.store.path}::/{table}")
