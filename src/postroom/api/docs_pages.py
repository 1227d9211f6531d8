"""The pages that show the API's documentation. Their scripts are served from here: a page into which keys are pasted
loads nothing from elsewhere, and needs no way to the internet."""

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

SCRIPTS = "/docs/assets"


def add(app: FastAPI) -> None:
    """Serves `/docs` and `/redoc`, and what they load."""

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{SCRIPTS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{SCRIPTS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{SCRIPTS}/favicon.png",
        )

    async def redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_redoc_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            redoc_js_url=f"{root}{SCRIPTS}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{SCRIPTS}/favicon.png",
            with_google_fonts=False,
        )

    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)
    app.mount(SCRIPTS, StaticFiles(packages=[("fastapi_offline", "static")]))
