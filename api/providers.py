"""`/providers` and `/api/providers`: the catalog."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from api.auth import SecretCaller
from api.deps import ApiDeps, DepsOf
from api.opening import provider_of
from api.problems import documented
from api.searching import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Found, Searchable, SearchRequest, parse, respond
from providers.model import Provider
from vault.searching import Condition, FieldType, Op, Order, Page, Search

router = APIRouter(tags=["providers"])


class SetupInstructionsResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    title: str
    steps: list[str]
    callback_note: str | None = None
    docs_url: str | None = None


class ProviderResponse(BaseModel):
    id: str
    name: str
    logo: str
    category: str
    tags: list[str]
    verified: bool
    description: str
    auth_user: bool
    auth_installation: bool
    auth_api_key: bool
    installation_type: str | None = None
    setup_instructions: SetupInstructionsResponse | None = None


class ListProvidersBody(BaseModel):
    providers: list[ProviderResponse]
    total: int
    limit: int
    offset: int


class SearchResponseProviderResponse(Found[ProviderResponse]):
    pass


ProviderId = Annotated[str, Path(alias="id")]
TEXTS = ("id", "name", "category", "description", "installation_type")
FLAGS = ("verified", "auth_user", "auth_installation", "auth_api_key")
SEARCHABLE = Searchable(
    fields=dict.fromkeys(TEXTS, FieldType.TEXT) | dict.fromkeys(FLAGS, FieldType.FLAG),
    shown=frozenset(ProviderResponse.model_fields),
    order=Order("id"),
)
REFUSALS = documented("unauthenticated", "forbidden", "provider_unknown")


@router.get(
    "/providers",
    response_model_exclude_none=True,
    responses=documented("bad_request", "unauthenticated", "forbidden"),
    summary="The providers of the catalog",
)
async def list_all(
    _caller: SecretCaller,
    deps: DepsOf,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    category: Annotated[str, Query(max_length=64)] = "",
    search: Annotated[str, Query(max_length=200)] = "",
) -> ListProvidersBody:
    wanted = (Condition("category", Op.EQ, category),) if category else ()
    found = _matching(deps, Search(order=(Order("id"),), conditions=wanted, words=search.strip()))
    return ListProvidersBody(providers=found[offset : offset + limit], total=len(found), limit=limit, offset=offset)


@router.get("/providers/{id}", response_model_exclude_none=True, responses=REFUSALS, summary="A provider")
@router.get("/api/providers/{id}", response_model_exclude_none=True, responses=REFUSALS, summary="A provider")
async def get(provider_id: ProviderId, _caller: SecretCaller, deps: DepsOf) -> ProviderResponse:
    return _shown(provider_of(deps, provider_id))


@router.post(
    "/api/providers/search",
    response_model=SearchResponseProviderResponse,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden"),
    summary="Search providers",
)
async def search(body: SearchRequest, _caller: SecretCaller, deps: DepsOf) -> Response:
    page = _page(deps, parse(body, SEARCHABLE))
    return respond(SearchResponseProviderResponse, page.items, page, body)


def _shown(provider: Provider) -> ProviderResponse:
    face = provider.face
    setup = face.setup_instructions
    return ProviderResponse(
        id=provider.id,
        name=provider.name,
        logo=face.logo,
        category=face.category,
        tags=list(face.tags),
        verified=face.verified,
        description=face.description,
        auth_user=face.auth_user,
        auth_installation=face.auth_installation,
        auth_api_key=face.auth_api_key,
        installation_type=face.installation_type,
        setup_instructions=SetupInstructionsResponse.model_validate(setup) if setup else None,
    )


# --- searching without a database: the catalog is in memory ----------------------------------------------------------


def _page(deps: ApiDeps, search: Search) -> Page[ProviderResponse]:
    found = _matching(deps, search)[search.offset :]
    more = len(found) > search.limit
    items = found[: search.limit]
    return Page(items, _place(items[-1], search.order) if more else None)


def _matching(deps: ApiDeps, search: Search) -> list[ProviderResponse]:
    """Those that match, in order, from the cursor on."""
    found = [p for p in map(_shown, deps.catalog.values()) if _meets(p, search)]
    for by in reversed(search.order):
        found.sort(key=partial(_value, by.field), reverse=by.descending)
    return [p for p in found if search.after is None or _is_behind(p, search)]


def _meets(provider: ProviderResponse, search: Search) -> bool:
    text = " ".join((provider.id, provider.name, provider.category, provider.description, *provider.tags))
    return search.words.lower() in text.lower() and all(_holds(provider, c) for c in search.conditions)


def _holds(provider: ProviderResponse, condition: Condition) -> bool:
    value = _value(condition.field, provider)
    match condition.op:
        case Op.EQ:
            return bool(value == condition.value)
        case Op.NE:
            return bool(value != condition.value)
        case Op.IN:
            return value in condition.value
        case Op.CONTAINS:
            return condition.value.lower() in value.lower()
        case _:
            return (value != "") is condition.value


def _is_behind(provider: ProviderResponse, search: Search) -> bool:
    for by, value, bound in zip(search.order, _place(provider, search.order), search.after or (), strict=True):
        if value != bound:
            return (value < bound) is by.descending
    return False


def _place(provider: ProviderResponse, order: tuple[Order, ...]) -> tuple[Any, ...]:
    return tuple(_value(by.field, provider) for by in order)


def _value(field: str, provider: ProviderResponse) -> Any:
    value = getattr(provider, field)
    return "" if value is None else value
