"""Installs the app for the tenant `acme` on the running `authpipe dev`: a backend, and a person without a browser.

The session is opened as a builder's backend does it; then the link is followed as a person would, through our page and
the simulator's sign-in and consent. It is safe to run again: the same installation is then renewed.
"""

import asyncio
import sys
from typing import Any

import httpx

from runtime.demo_visitor import Visitor
from runtime.dev_keys import read_dev_keys
from runtime.processes import Stack, running_stack
from runtime.settings import load_settings

TENANT = "acme"
PERSON, SITE = "admin", "Acme Engineering"
PATIENCE_SECONDS = 90

FOLDER = load_settings(env="development").data_dir


async def ready() -> Stack:
    """The stack of this folder, once everything in it answers."""
    for _ in range(PATIENCE_SECONDS * 4):
        stack = running_stack(FOLDER)
        if stack is not None:
            return stack
        await asyncio.sleep(0.25)
    sys.exit(f"nothing runs in {FOLDER}; start it with `make dev`, in another terminal")


def answered(answer: httpx.Response) -> dict[str, Any]:
    """The answer's body. Every refusal of the API says what happened and what to do."""
    said: dict[str, Any] = answer.json()
    if not answer.is_success:
        candidates = "".join(f"\n  {candidate}" for candidate in said.get("candidates", ()))
        sys.exit(f"{said['code']}: {said['detail']} {said['remedy']}{candidates}")
    return said


async def main() -> None:
    stack = await ready()
    keys = read_dev_keys(FOLDER)
    if keys is None:
        sys.exit(f"there are no keys in {FOLDER}")
    headers = {"authorization": f"Bearer {keys.secret}"}
    async with httpx.AsyncClient(base_url=stack.urls["api"], headers=headers, timeout=30) as backend:
        session = answered(await backend.post("/oauth/installs", json={"provider": "jira", "tenant_id": TENANT}))

        person = Visitor()
        await person.walk(session["authorization_url"], PERSON, [SITE])
        await person.close()

        outcome = answered(await backend.get(f"/oauth/sessions/{session['session_id']}"))
    if outcome["status"] != "completed":
        sys.exit(f"the installation is {outcome['status']}: {outcome.get('reason', 'no reason given')}")
    sys.stdout.write(f"installed for {TENANT} on {SITE}: {outcome['installation_id']}\n")


asyncio.run(main())
