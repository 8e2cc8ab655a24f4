"""What can be done with one connection or installation at a terminal. `path` is its resource's in the API."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import typer

from domain.headline import UPSTREAM
from runtime.commands.life_rows import to_do
from runtime.commands.options import DONE, NOT_SO, answer, in_path
from runtime.commands.printing import clean, document, moment, note, print_one, say
from runtime.errors import StartError
from runtime.progress import working

POLL_SECONDS = 0.25
PENDING = "pending"


def show(path: str, workspace: str, life_id: str, *, as_json: bool) -> int:
    """Print it with its live state; answers the exit code."""
    life = answer(workspace, "GET", f"{path}/{in_path(life_id)}")
    print_one(life if as_json else life | {"what to do": to_do(life)}, as_json=as_json)
    if not life["live"] and not as_json and life["status"] in ("active", "needs_reauth"):
        note("Its workflow did not answer: this is what was recorded last. Look whether a worker runs.")
    return DONE if life["status"] == "active" else NOT_SO


def explain(path: str, workspace: str, life_id: str, *, as_json: bool) -> None:
    """Print its story, in order, newest last."""
    told = answer(workspace, "GET", f"{path}/{in_path(life_id)}/explain")
    if as_json:
        document(told)
        return
    say(told["headline"])
    say(f"What to do: {told['what_to_do']}")
    if told.get("next"):
        say(f"Next: {told['next']['what']} at {moment(told['next']['at'])}")
    typer.echo()
    if told["left_out"]:
        say(f"({told['left_out']} earlier entries are left out.)")
    for entry in told["story"]:
        say(_line(entry))


def _line(entry: Mapping[str, Any]) -> str:
    code = f" ({entry['code']})" if entry.get("code") else ""
    often = f", {entry['times']} times" if entry["times"] > 1 else ""
    return f"{moment(entry['at'])}  {entry['by']:<8}  {entry['what']}{code}{often}"


def refresh(path: str, workspace: str, life_id: str, *, as_json: bool) -> int:
    """Refresh now; answers the exit code."""
    with working("Refreshing …"):
        result = answer(workspace, "POST", f"{path}/{in_path(life_id)}")
    until = moment(result.get("expires_at")) or "it is withdrawn"
    if as_json:
        document(result)
    elif result["refreshed"]:
        say(f"Refreshed: the new credential is good until {until}.")
    else:
        say(f"Not refreshed: it is too young for that, or the provider stumbles. It is good until {until}.")
    return DONE if result["refreshed"] else NOT_SO


def confirm(life_id: str, *, yes: bool) -> None:
    """Have the id typed. Raises `StartError` if another was, or if there is nobody to type it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise StartError("delete: there is nobody to ask; add --yes to delete without asking")
    if typer.prompt(f"This cannot be undone. Type {clean(life_id)} to delete it", err=True).strip() != life_id:
        raise StartError("delete: that is another id; nothing was deleted")


def delete(path: str, workspace: str, life_id: str, wait: float, *, as_json: bool) -> int:
    """Delete it and wait, `wait` seconds at most, for what the provider says; answers the exit code."""
    from runtime.commands.asking import Operator, as_operator

    async def work(operator: Operator) -> str:
        where = f"{path}/{in_path(life_id)}"
        told = (await operator.ask("DELETE", where)).headers["authpipe-upstream"]
        for _ in range(int(wait / POLL_SECONDS)):
            if told != PENDING:
                break
            await asyncio.sleep(POLL_SECONDS)
            told = (await operator.ask("GET", where)).body.get("upstream") or PENDING
        return told

    with working("Deleting …"):
        upstream = as_operator(workspace, work)
    if as_json:
        document({"id": life_id, "deleted": True, "upstream": upstream})
    else:
        say(f"Deleted; it is served no more. Upstream: {upstream}. {UPSTREAM.get(upstream, '')}")
    return NOT_SO if upstream == PENDING else DONE
