"""Whatever happens to tenants, keys and requests, and in whatever order: nobody sees another's row.

A Hypothesis state machine on a running API and provisioner. Each tenant has a user and a role whose name
stands nowhere else; no answer to a key ever holds the name of a tenant that is not the key's.
"""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg
import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from db.server import roles
from db.settings import Settings
from db.tenants import permissions, registry, states, tokens
from db.tenants.states import TenantStatus
from tests.support import Client, Tenant, eventually, provisioning, serving, sign_up

T = TypeVar("T")
METHODS = st.sampled_from(["list", "read", "roles", "write", "status"])
NUMBERS = st.integers(0, 1_000_000)


@pytest.fixture
def config(config: Settings, pipeline: bool) -> Settings:
    """Settings with a tenant's role and its statement in one message, and one after the other."""
    return msgspec.structs.replace(config, pipeline=pipeline)


class Known(msgspec.Struct):
    """A tenant as the model knows it."""

    id: Any
    slug: str
    canary: str
    user_id: int
    status: TenantStatus = "active"


class Key(msgspec.Struct):
    """A key ever given out, and whether it still opens anything."""

    text: str
    tenant: Known
    live: bool = True


class World:
    """A running API and provisioner, and the loop that they run on."""

    def __init__(self, config: Settings, runner: asyncio.Runner) -> None:
        self.config = config
        self.runner = runner
        self.numbers = itertools.count()
        self.leave = asyncio.Event()
        self.api: Client
        self.owner: asyncpg.Connection[asyncpg.Record]
        self.life: asyncio.Task[None]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def start(self) -> None:
        entered = asyncio.Event()

        async def live() -> None:
            async with serving(self.config) as api, provisioning(self.config):
                self.api = api
                self.owner = await asyncpg.connect(self.config.require("owner_database_url"))
                entered.set()
                await self.leave.wait()
                await self.owner.close()

        self.life = asyncio.create_task(live())
        waiting = asyncio.create_task(entered.wait())
        await asyncio.wait({self.life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert entered.is_set()

    async def stop(self) -> None:
        self.leave.set()
        await self.life


class Tenants(RuleBasedStateMachine):
    """Tenants come, change and go; clients with any key ask for any tenant."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.tenants: list[Known] = []
        self.keys: list[Key] = []

    # What happens to tenants

    @initialize()
    def two_tenants(self) -> None:
        for _ in range(2):
            self.sign_up(f"shop{next(self.world.numbers)}")

    @precondition(lambda self: len(self.tenants) < 5)
    @rule()
    def another_tenant(self) -> None:
        self.sign_up(f"shop{next(self.world.numbers)}")

    @rule(which=NUMBERS, to=st.sampled_from(["suspended", "active", "deleted"]))
    def change_state(self, which: int, to: TenantStatus) -> None:
        tenant = self.tenants[which % len(self.tenants)]
        before = tenant.status
        if before == "deleted" and to != "deleted":
            to = "active"
        allowed = to in states.TRANSITIONS[before]
        try:
            self.world.run(self.move(tenant, to))
        except registry.IllegalTransitionError:
            assert not allowed or before == "deleted"
        else:
            tenant.status = to

    @precondition(lambda self: any(tenant.status == "deleted" for tenant in self.tenants))
    @rule()
    def purge_and_give_the_slug_to_another(self) -> None:
        tenant = next(tenant for tenant in self.tenants if tenant.status == "deleted")
        self.world.run(self.purge(tenant))
        tenant.status = "purged"
        self.sign_up(tenant.slug)

    @rule(which=NUMBERS)
    def rotate_key(self, which: int) -> None:
        old = self.keys[which % len(self.keys)]
        if not old.live or old.tenant.status == "purged":
            return
        fresh = self.world.run(self.rotate(old))
        old.live = False
        self.keys.append(Key(fresh, old.tenant))

    # What clients do

    @rule(which=NUMBERS, named=NUMBERS, method=METHODS)
    def ask(self, which: int, named: int, method: str) -> None:
        key, other = self.keys[which % len(self.keys)], self.tenants[named % len(self.tenants)]
        self.check(key, self.world.run(self.request(key, other.slug, other.user_id, method)))

    @rule(which=NUMBERS)
    def ask_for_ones_own(self, which: int) -> None:
        key = self.keys[which % len(self.keys)]
        served = key.live and key.tenant.status == "active"

        async def settled() -> bool:
            answer = await self.request(key, key.tenant.slug, key.tenant.user_id, "read")
            self.check(key, answer)
            assert (answer.status_code == 200) is served, answer.text
            return not served or key.tenant.canary in answer.text

        self.world.run(eventually(settled, within=5, what=f"{key.tenant} served: {served}"))

    @rule(which=st.lists(NUMBERS, min_size=4, max_size=12), turns=st.integers(0, 12))
    def ask_all_at_once_and_hang_up_on_some(self, which: list[int], turns: int) -> None:
        keys = [self.keys[number % len(self.keys)] for number in which]
        for key, answer in self.world.run(self.storm(keys, turns)):
            self.check(key, answer)

    # How

    def sign_up(self, slug: str) -> None:
        tenant, key = self.world.run(self.signed_up(slug))
        self.tenants.append(tenant)
        self.keys.append(Key(key, tenant))

    def check(self, key: Key, answer: httpx.Response) -> None:
        """The invariant."""
        for tenant in self.tenants:
            if tenant is not key.tenant:
                assert tenant.canary not in answer.text, (key, tenant, answer.text)

    async def signed_up(self, slug: str) -> tuple[Known, str]:
        made = await sign_up(self.world.api, slug)
        canary = f"canary{secrets.token_hex(8)}"
        await self.add(made, "/roles", role_name=canary)
        user_id = await self.add(made, "/users", first_name=canary, email=f"{canary}@example.com")
        return Known(made.id, slug, canary, user_id), made.key

    async def add(self, tenant: Tenant, path: str, **fields: str) -> int:
        answer = await self.world.api.post(path, headers=tenant.headers, json=fields)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def move(self, tenant: Known, to: TenantStatus) -> None:
        async with self.world.owner.transaction():
            locked = await registry.lock(self.world.owner, tenant.id)
            assert locked is not None
            await registry.transition(self.world.owner, locked, to)

    async def purge(self, tenant: Known) -> None:
        await self.move(tenant, "purging")
        async with self.world.owner.transaction():
            locked = await registry.lock(self.world.owner, tenant.id)
            assert locked is not None
            await roles.drop_schema(self.world.owner, locked.schema_name)
            await registry.transition(self.world.owner, locked, "purged")

    async def rotate(self, old: Key) -> str:
        fresh, retired = tokens.mint("tenant"), tokens.parse(old.text)
        assert retired is not None
        async with self.world.owner.transaction():
            await tokens.store(
                self.world.owner, fresh, name="next", tenant_id=old.tenant.id, scopes=permissions.ALL
            )
            await self.world.owner.execute(
                "UPDATE shared.access_tokens SET revoked_at = now() WHERE id = $1", retired.id
            )
        return fresh.text

    async def request(self, key: Key, slug: str, user_id: int, method: str) -> httpx.Response:
        api = self.world.api
        headers = {"tenant": slug, "authorization": f"Bearer {key.text}"}
        match method:
            case "list":
                return await api.get("/users", headers=headers)
            case "roles":
                return await api.get("/roles", headers=headers)
            case "read":
                return await api.get(f"/users/{user_id}", headers=headers)
            case "write":
                return await api.patch(f"/users/{user_id}", headers=headers, json={"last_name": "Baker"})
            case _:
                return await api.get(f"/tenants/{slug}", headers=headers)

    async def storm(self, keys: list[Key], turns: int) -> list[tuple[Key, httpx.Response]]:
        tasks = [
            asyncio.create_task(self.request(key, key.tenant.slug, key.tenant.user_id, "list"))
            for key in keys
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for answer in answers:
            assert isinstance(answer, httpx.Response | asyncio.CancelledError), answer
        return [
            (key, answer)
            for key, answer in zip(keys, answers, strict=True)
            if isinstance(answer, httpx.Response)
        ]


def test_no_history_shows_a_tenant_anothers_row(config: Settings) -> None:
    with asyncio.Runner() as runner:
        Tenants.world = World(msgspec.structs.replace(config, pool_size=2), runner)
        runner.run(Tenants.world.start())
        try:
            run_state_machine_as_test(
                Tenants,
                settings=settings(
                    max_examples=12,
                    stateful_step_count=20,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(Tenants.world.stop())
