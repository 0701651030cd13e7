"""The README's sign-up flow, as it is printed there."""

import asyncio
import os
import subprocess
import sys

import httpx
import pytest

from db.local.servers.rabbitmq import RabbitNode
from db.settings import PROJECT, Settings
from tests.processes import api_process
from tests.support import provisioning, sign_up

pytestmark = pytest.mark.rabbitmq


def run_script(amqp_url: str | None, api: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the example as a reader of the README would."""
    return subprocess.run(
        [sys.executable, "docs/examples/signup_flow.py", *arguments],
        cwd=PROJECT,
        env={**os.environ, "AMQP_URL": amqp_url or "", "API_URL": api},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def test_the_example_signs_a_tenant_up_by_event_and_claims_a_key_that_works(
    rabbit_config: Settings, rabbit: RabbitNode
) -> None:
    async with api_process(rabbit_config) as api, provisioning(rabbit_config):
        async with httpx.AsyncClient(base_url=api) as client:
            await sign_up(client, "before")  # the exchanges are there
            done = await asyncio.to_thread(
                run_script, rabbit.signup_url, api, "Patisserie", "--slug", "patisserie"
            )
            assert done.returncode == 0, done.stdout + done.stderr
            steps = [line.split(":")[0] for line in done.stdout.splitlines()]
            assert steps[1:] == ["tenant.requested", "tenant.provisioned", "first key, shown this once"]
            key = done.stdout.split()[-1]
            headers = {"tenant": "patisserie", "authorization": f"Bearer {key}"}
            assert (await client.get("/users", headers=headers)).status_code == 200
        again = await asyncio.to_thread(
            run_script, rabbit.signup_url, api, "Patisserie", "--slug", "patisserie"
        )
        assert again.returncode == 1
        assert "slug-taken" in again.stdout
