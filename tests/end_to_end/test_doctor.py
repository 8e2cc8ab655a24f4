"""The doctor beside a whole stack of real processes."""

import asyncio
import json
import os
import sys

import pytest

pytestmark = pytest.mark.slow  # runs in `make rehearse`


async def doctor(stack):
    """Exit code and report of the command, with the settings of the stack's own parts."""
    own = {"AUTHPIPE_ENV": "development", "AUTHPIPE_DATA_DIR": str(stack.folder), **stack.variables}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runtime.cli", "doctor", "--json"),
        env={**os.environ, **own},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    return child.returncode, json.loads(said)


async def test_a_stack_in_order_is_well_and_a_config_that_leads_elsewhere_is_found(stack):
    app = await stack.app()
    await app.consent("/oauth/installs", "admin", ("Acme Engineering",), tenant_id="t")
    code, report = await doctor(stack)
    assert (code, {check["result"] for check in report["checks"]}) == (0, {"ok"}), report

    elsewhere = {"oauth_redirect_url": f"{stack.where.simulator}/oauth/callback"}
    assert (await stack.api.patch(f"/api/provider-configs/{app.config_id}", json=elsewhere)).is_success
    code, report = await doctor(stack)
    found = {finding["code"] for check in report["checks"] for finding in check["findings"]}
    assert (code, found) == (1, {"redirect_url_astray"})
    assert (await stack.api.delete(f"/api/provider-configs/{app.config_id}?cascade=true")).is_success
