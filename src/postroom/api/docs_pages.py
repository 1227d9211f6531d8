"""The pages that show the API's documentation. Their scripts are served from here: a page into which keys are pasted
loads nothing from elsewhere, and needs no way to the internet."""

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

SCRIPTS = "/docs/assets"
ONLY_FROM_HERE = "default-src 'self' 'unsafe-inline' data: blob:"
"""What a browser is told: ReDoc would fetch a picture from its maker."""


def add(app: FastAPI) -> None:
    """Serves `/docs` and `/redoc`, and what they load."""
    docs = _page(
        app,
        get_swagger_ui_html,
        swagger_js_url="swagger-ui-bundle.js",
        swagger_css_url="swagger-ui.css",
        swagger_favicon_url="favicon.png",
    )
    redoc = _page(
        app,
        partial(get_redoc_html, with_google_fonts=False),
        redoc_js_url="redoc.standalone.js",
        redoc_favicon_url="favicon.png",
    )
    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)
    app.mount(SCRIPTS, StaticFiles(packages=[("fastapi_offline", "static")]))


def _page(
    app: FastAPI, html: Callable[..., HTMLResponse], **scripts: str
) -> Callable[[Request], Awaitable[HTMLResponse]]:
    """The page that FastAPI makes, with these files of ours, and in a language that screen readers know."""

    async def page(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        urls = {name: f"{root}{SCRIPTS}/{file}" for name, file in scripts.items()}
        made = html(openapi_url=f"{root}{app.openapi_url}", title=app.title, **urls)
        english = bytes(made.body).replace(b"<html>", b'<html lang="en">', 1)
        return HTMLResponse(english, headers={"content-security-policy": ONLY_FROM_HERE})

    return page
