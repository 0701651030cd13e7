"""The API's composition root: ``create_app()`` puts routes, middleware and resources together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler
from litestar_granian import GranianPlugin

from api.cc.audit import AuditController
from api.cc.drift import DriftController, VerifyController
from api.cc.hosts import HostController
from api.cc.keys import IssueController
from api.cc.messages import MessageController
from api.cc.provisioner import ProvisionerController
from api.cc.replays import ReplayController
from api.cc.rollouts import RolloutController
from api.cc.tenants import FleetController
from api.domain import CONTROLLERS
from api.gate.deadline import Deadline
from api.gate.directory import Directory
from api.gate.gate import Gate
from api.gate.limits import Limits
from api.gate.usage import Usage
from api.tenant.auth import AuthController
from api.tenant.claims import ClaimController
from api.tenant.events import TenantEventController
from api.tenant.keys import KeyController
from api.tenant.permissions import PermissionController
from api.tenant.roles import RoleController
from api.tenant.signup import TenantController
from api.tenant.users import UserController
from api.web import answers, bodies, documents, metrics, problems, responses
from api.web.asyncapi import asyncapi
from api.web.health import HealthController
from db import garbage, logs, settings
from db.migrations.lineages import lineage
from db.session.tenancy import Database
from db.session.watch import Watch
from db.settings import Settings

HOUSE: Final[list[ControllerRouterHandler]] = [
    TenantController,
    TenantEventController,
    ClaimController,
    AuthController,
    UserController,
    RoleController,
    PermissionController,
    KeyController,
]
CONTROL_CENTER: Final[list[ControllerRouterHandler]] = [
    FleetController,
    DriftController,
    VerifyController,
    HostController,
    IssueController,
    AuditController,
    MessageController,
    ReplayController,
    RolloutController,
    ProvisionerController,
]
ABOUT_ITSELF: Final[list[ControllerRouterHandler]] = [
    HealthController,
    metrics.metrics,
    asyncapi,
    documents.describe_problem,
]


def create_app(config: Settings | None = None) -> Litestar:
    """Return the application.

    Args:
        config: the settings; read from the environment by default, as in a process of the application's own.
            `database_url` is required when the application starts, not before.

    Raises:
        SettingsError: a setting has an invalid value.
    """
    own = config is None
    config = config or settings.load()
    logs.configure(config.log_format, config.log_level)
    tenant_lineage = lineage("tenant", config.alembic_config)
    limits = Limits(config)
    app = documents.DocumentedApp(
        route_handlers=[*HOUSE, *CONTROLLERS, *CONTROL_CENTER, *ABOUT_ITSELF],
        middleware=[
            Deadline(config.request_deadline),
            Gate(tenant_lineage, config.signup, limits),
        ],
        exception_handlers={Exception: problems.handle},
        request_class=bodies.BodyRequest,
        response_class=responses.JSONResponse,
        lifespan=[partial(_resources, config), *([_frozen] if own else [])],
        openapi_config=documents.config(version("tenantry")),
        plugins=[GranianPlugin(), documents.FieldTypes()],
        request_max_body_size=config.body_limit,
        state=State(
            {
                "settings": config,
                "limits": limits,
                "tenant_lineage": tenant_lineage,
                "shared_lineage": lineage("shared", config.alembic_config),
            }
        ),
        debug=False,
        logging_config=None,
    )
    app.asgi_handler = answers.noted(app.asgi_handler)
    return app


@asynccontextmanager
async def _frozen(_app: Litestar) -> AsyncIterator[None]:
    garbage.freeze()
    yield


@asynccontextmanager
async def _resources(config: Settings, app: Litestar) -> AsyncIterator[None]:
    """Open the database connections and background tasks, and close them when the application stops."""
    url = config.require("database_url")
    database = await Database.connect(
        url,
        size=config.pool_size,
        acquire_timeout=config.acquire_timeout,
        memory=config.backend_memory,
        pipeline=config.pipeline,
    )
    watch = Watch(database, url, every=config.cache_ttl)
    await watch.look()
    directory = Directory(database, url, ttl=config.cache_ttl)
    app.state.database = database
    app.state.directory = directory
    app.state.figures = metrics.Figures(database, config, app.state.tenant_lineage)
    app.state.usage = usage = Usage(database)
    background = [asyncio.create_task(each.run()) for each in (directory, usage, watch)]
    try:
        yield
    finally:
        for task in background:
            task.cancel()
        for task in background:
            with suppress(asyncio.CancelledError):
                await task
        await usage.flush()
        await database.close()
