"""Asks the API inside this process as an operator: the contract's own checks, answers and error codes, without a key.

Who may read the settings may open the vault anyway. That right ends with the process: the application below is never
bound to a port, and the one that is served knows nothing of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from api.app import create_app
from api.auth import Caller, secret_only
from api.deps import ApiDeps
from runtime.commands.options import NOT_SO
from runtime.compose import open_api_deps
from runtime.errors import StartError
from runtime.settings import load_settings
from vault.tables import Workspace

T = TypeVar("T")
DEFAULT_WORKSPACE = "default"
# Not the asking is wrong then, but how the thing asked about stands.
_TROUBLES = frozenset({"needs_reauth", "not_connected", "webhook_missing"})
_SERVER_ERROR = 500
_NO_CONTENT = 204


class Refusal(StartError):
    """The API refused. `exit_code` is 1 if something is not as it should be, 2 if the command was wrong."""

    def __init__(self, problem: Mapping[str, Any], status: int) -> None:
        self.code = str(problem.get("code", "internal"))
        trouble = status >= _SERVER_ERROR or self.code in _TROUBLES
        self.exit_code = NOT_SO if trouble else StartError.exit_code
        fields = [f"{error.get('location')}: {error.get('message')}" for error in problem.get("errors") or ()]
        said = "; ".join(fields) or str(problem.get("detail") or problem.get("title") or "The API refused")
        said = said if said.endswith((".", "!", "?")) else f"{said}."
        super().__init__(" ".join(f"{self.code}: {said} {problem.get('remedy', '')}".split()))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answered: its JSON (empty for none) and its headers, by lower-case name."""

    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Operator:
    """Asks routes on behalf of one workspace."""

    client: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """The answer of one route. Raises `Refusal`."""
        answer = await self.client.request(method, path, json=body)
        if not answer.is_success:
            raise Refusal(_problem(answer), answer.status_code)
        return Answer({} if answer.status_code == _NO_CONTENT else answer.json(), answer.headers)


def as_operator(workspace: str, work: Callable[[Operator], Awaitable[T]]) -> T:
    """Do `work` against the vault and engine that the settings name."""

    async def run() -> T:
        async with open_api_deps(load_settings()) as deps, open_operator(deps, workspace) as operator:
            return await work(operator)

    return asyncio.run(run())


@asynccontextmanager
async def open_operator(deps: ApiDeps, workspace: str) -> AsyncIterator[Operator]:
    """An operator of a workspace that exists. Raises `StartError` for one that does not."""
    await _check_workspace(deps, workspace)
    app = create_app(deps)
    # Of this application alone; nothing but the transport below can reach it.
    app.dependency_overrides[secret_only] = lambda: Caller(workspace, "secret")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://operator.invalid") as client:
        yield Operator(client)


async def _check_workspace(deps: ApiDeps, workspace: str) -> None:
    if workspace == DEFAULT_WORKSPACE:
        return
    async with deps.db.reading() as tx:
        found = await tx.get(Workspace, workspace)
    if found is None:
        raise StartError(f"--workspace: there is no workspace {workspace!r}; the first `api-keys add` for it makes it")


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"title": f"The API answered {answer.status_code}."}
