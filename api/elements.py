"""`/sdk`: the script with the elements that builders put into their pages, and what those may know of a provider."""

import colorsys
import hashlib
from html import escape
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel
from starlette.responses import RedirectResponse

from api.deps import DepsOf
from api.opening import provider_of

router = APIRouter(prefix="/sdk", include_in_schema=False)

# The same place in a source checkout and in an installed distribution.
SCRIPT = (Path(__file__).parents[1] / "sdk" / "web" / "authpipe.js").read_bytes()
VERSION = hashlib.sha256(SCRIPT).hexdigest()[:16]
NAME = f"authpipe.{VERSION}.js"

JAVASCRIPT = "text/javascript; charset=utf-8"
FOR_EVER = "public, max-age=31536000, immutable"
FOR_MINUTES = "public, max-age=300"
# Pages of other origins embed these files; some of them demand that this be said.
EMBEDDABLE = {"cross-origin-resource-policy": "cross-origin", "x-content-type-options": "nosniff"}

READ = ["GET", "HEAD"]
ProviderId = Annotated[str, PathParameter(alias="id")]


class Face(BaseModel):
    """What every page may know of a provider."""

    id: str
    name: str
    logo: str


@router.api_route("/authpipe.js", methods=READ)
async def script(request: Request) -> Response:
    """The name that never changes, for pages that want whatever is newest."""
    etag = f'"{VERSION}"'
    headers = EMBEDDABLE | {"cache-control": FOR_MINUTES, "etag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(SCRIPT, headers=headers, media_type=JAVASCRIPT)


@router.api_route("/authpipe.{version}.js", methods=READ)
async def script_of_version(version: str) -> Response:
    """The name that changes with the text. A page that still names an earlier one is led to the present text."""
    if version != VERSION:
        return RedirectResponse("/sdk/authpipe.js", 307, EMBEDDABLE | {"cache-control": "no-store"})
    return Response(SCRIPT, headers=EMBEDDABLE | {"cache-control": FOR_EVER}, media_type=JAVASCRIPT)


@router.api_route("/providers/{id}", methods=READ)
async def face(provider_id: ProviderId, response: Response, deps: DepsOf) -> Face:
    """Name and mark of a provider of the catalog."""
    provider = provider_of(deps, provider_id)
    response.headers.update(EMBEDDABLE | {"cache-control": FOR_MINUTES})
    return Face(id=provider.id, name=provider.name, logo=f"/sdk/logos/{provider.id}.svg")


@router.api_route("/logos/{id}.svg", methods=READ)
async def logo(provider_id: ProviderId, deps: DepsOf) -> Response:
    """A mark of our own: no vendor's artwork is ours to hand out."""
    provider = provider_of(deps, provider_id)
    headers = EMBEDDABLE | {"cache-control": FOR_MINUTES, "content-security-policy": "default-src 'none'"}
    return Response(mark(provider.id, provider.name), headers=headers, media_type="image/svg+xml")


def mark(provider_id: str, name: str) -> str:
    """The initial in a rounded square, whose colour follows from the id."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32">'
        f'<rect width="32" height="32" rx="7" fill="{colour(provider_id)}"/>'
        '<text x="16" y="22.5" text-anchor="middle" font-family="system-ui,sans-serif" font-size="18" '
        f'font-weight="700" fill="#fff">{escape(name[:1].upper())}</text></svg>'
    )


def colour(provider_id: str) -> str:
    """A dark colour of the id's own hue: white stands out from it at 4.5 to 1 at least."""
    hue = hashlib.sha256(provider_id.encode()).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.3, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
