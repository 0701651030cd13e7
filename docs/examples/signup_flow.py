"""A sign-up flow that speaks in events: asks for a tenant, waits until it is active, claims its first key.

    python docs/examples/signup_flow.py "Patisserie" [--slug patisserie]

It needs RabbitMQ's address and the API's: from AMQP_URL and API_URL, or from the run.json of a running
`make run`. The broker's user need not be more than one for sign-up flows (see docs/how-to.md).
"""

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import sys
import urllib.request
from pathlib import Path
from uuid import uuid4

import aio_pika

SOURCE = "example.signup"
PATIENCE = 60.0
"""Seconds to wait for each answer."""


async def sign_up(amqp_url: str, api_url: str, name: str, slug: str | None) -> int:
    """Sign a tenant up and print what happens; return an exit code: 0 active, 1 refused or failed."""
    claim = secrets.token_urlsafe(32)  # stays here: the event carries its SHA-256 only
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),  # sending the same id again gets the same answer, and no second tenant
        "source": SOURCE,
        "type": "tenant.signup",
        "data": {"name": name, "claim_sha256": hashlib.sha256(claim.encode()).hexdigest()}
        | ({"slug": slug} if slug else {}),
    }
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        # A flow's user may make queues whose names begin with `signup.`, and no others.
        answers = await channel.declare_queue(f"signup.{uuid4()}", exclusive=True)
        await answers.bind("tenantry.events", "tenant.#")
        exchange = await channel.get_exchange("tenantry.signup")
        message = aio_pika.Message(json.dumps(event).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchange.publish(message, "tenant.signup", mandatory=True)
        print(f"tenant.signup sent, id {event['id']}")
        return await follow(answers, api_url, str(event["id"]), claim)


async def follow(answers: aio_pika.abc.AbstractQueue, api_url: str, event_id: str, claim: str) -> int:
    """Read events until ours has come to an end."""
    ours: str | None = None
    async with asyncio.timeout(PATIENCE), answers.iterator(no_ack=True) as messages:
        async for message in messages:
            event = json.loads(message.body)
            data = event["data"]
            if (data.get("source"), data.get("source_id")) == (SOURCE, event_id):
                print(f"{event['type']}: {data}")
                if event["type"] == "tenant.rejected":
                    return 1
                ours = event["subject"]
            elif ours is not None and event.get("subject") == ours:
                print(f"{event['type']}: {data}")
                if event["type"] == "tenant.provisioned":
                    key = await asyncio.to_thread(claim_key, api_url, ours, claim)
                    print(f"first key, shown this once: {key}")
                    return 0
                if event["type"] == "tenant.provisioning_failed":
                    return 1
    return 1


def claim_key(api_url: str, slug: str, claim: str) -> str:
    """Exchange the secret whose hash was sent for the tenant's first key."""
    request = urllib.request.Request(
        f"{api_url}/tenants/{slug}/claim",
        data=json.dumps({"claim": claim}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["api_key"])


def addresses() -> tuple[str | None, str | None]:
    """Return RabbitMQ's address and the API's."""
    home = Path(os.environ.get("TENANTRY_HOME") or Path(__file__).resolve().parents[2] / ".local")
    running = json.loads((home / "run.json").read_text()) if (home / "run.json").exists() else {}
    return (
        os.environ.get("AMQP_URL") or running.get("signup_amqp_url") or running.get("amqp_url"),
        os.environ.get("API_URL") or running.get("api"),
    )


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Sign a tenant up by event.")
    parser.add_argument("name")
    parser.add_argument("--slug")
    arguments = parser.parse_args()
    amqp_url, api_url = addresses()
    if not amqp_url or not api_url:
        print("no RabbitMQ or no API: set AMQP_URL and API_URL, or start `make run`", file=sys.stderr)
        return 2
    return asyncio.run(sign_up(amqp_url, api_url, arguments.name, arguments.slug))


if __name__ == "__main__":
    sys.exit(main())
