"""The supervisor of ``make run``, which keeps PostgreSQL, RabbitMQ, the API and the provisioner running."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from db.local.processes.lock import DirectoryLock
from db.local.processes.process import Service, end_all, group_of
from db.local.processes.waiting import LOOPBACK, free_port, is_free, wait_until
from db.local.processes.watch import Watch, say
from db.local.run import programs
from db.local.run.database import Logins, operator_token, prepare
from db.local.run.environment import Configuration, ConfigurationError
from db.local.run.home import Deployment, Home, Pids, Running, Secrets, TenantAccess
from db.local.run.signup import Client, SignupError, first_row, first_tenant, paste_lines, wait_until_ready
from db.local.servers.postgres import SUPERUSER, PostgresServer
from db.local.servers.rabbitmq import RabbitNode, get_installation
from db.settings import load

_DATABASE = "tenantry"
_LEFTOVER_GRACE = 10.0
_BROKER_TIMEOUT = 120.0
_STOP_ORDER = ("api", "provisioner", "rabbitmq", "postgres")


class StoppedError(Exception):
    """The supervisor was asked to stop before everything had started."""


class Supervisor:
    """Starts all services of a configuration, keeps them running, and stops them in order.

    Args:
        configuration: the checked environment.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._home = Home(configuration.home)
        self._lock = DirectoryLock(self._home.path, "`make run` is running there")
        self._stopping = threading.Event()
        self._changing = threading.RLock()
        self._services: dict[str, Service] = {}
        self._watches: dict[str, Watch] = {}
        self._running = Running()

    def request_stop(self) -> None:
        """Ask `run` to return. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Start all services, wait for `request_stop`, and return when all services have ended.

        Raises:
            ConfigurationError: the port is taken.
            InUseError: another supervisor uses the same home.
            ProcessError: a server did not start.
        """
        self._lock.take()
        try:
            self._start()
            self._stopping.wait()
        except StoppedError:
            pass
        finally:
            self._stop()
            self._lock.release()

    def _start(self) -> None:
        self._clear_leftovers()
        port = self._configuration.port or free_port()
        if not is_free(port):
            raise ConfigurationError(f"port {port} is taken by another program; choose another with PORT=...")
        base = f"http://{LOOPBACK}:{port}"
        say(f"Starting Tenantry in {self._home.path} (logs: {self._home.logs})")
        secrets = self._home.read_secrets()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker") as beside:
            broker = beside.submit(self._start_broker, secrets)  # takes seconds
            try:
                logins, deployment = self._start_database(secrets)
                command = programs.api(self._configuration, self._home, port, logins.app)
                self._keep("api", command, api=base)
                amqp_url = self._await(broker)
            except BaseException:
                self._stopping.set()  # ends the broker's thread, which is waited for
                raise
        self._keep(
            "provisioner",
            programs.provisioner(self._configuration, self._home, logins.owner, logins.app, amqp_url),
        )
        # In a thread of its own, because this thread must react to signals at once.
        keep = lambda: self._home.write_secrets(secrets)  # noqa: E731
        threading.Thread(target=self._welcome, args=(base, deployment, keep), daemon=True).start()

    def _stop(self) -> None:
        self._stopping.set()
        if self._services:
            say("Stopping ...")
        for watch in self._watches.values():
            watch.release()
        for name in _STOP_ORDER:
            if name in self._watches:
                self._watches[name].stop()
            elif name in self._services:
                self._services[name].stop()
        with self._changing:
            self._home.remove_running()
        if self._services:
            say("Stopped.")

    def _clear_leftovers(self) -> None:
        left = self._home.left_running()
        if left is not None:
            # This process holds the lock, so these processes have no supervisor. Servers clear up themselves.
            running, written = left
            leaders = [pid for pid in (running.pids.api, running.pids.provisioner) if pid is not None]
            for leader in leaders:
                end_all(group_of(leader, written), grace=_LEFTOVER_GRACE)
            self._home.remove_running()

    def _keep(self, name: str, service: Service, **facts: str | None) -> None:
        """Start a service and keep it alive, and add ``facts`` to ``run.json``."""
        self._check()
        with self._changing:
            self._services[name] = service
        service.start()
        watch = Watch(service, self._report)
        with self._changing:
            self._watches[name] = watch
        watch.start()
        self._report(**facts)

    def _report(self, **facts: str | TenantAccess | None) -> None:
        """Update the process ids in ``run.json``, and add ``facts``."""
        with self._changing:
            old = {name: getattr(self._running, name) for name in Running.__struct_fields__}
            pids = Pids(**{name: service.pid for name, service in self._services.items()})
            self._running = Running(**{**old, **facts, "pids": pids})
            if not self._stopping.is_set():
                self._home.write_running(self._running)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _start_broker(self, secrets: Secrets) -> str | None:
        url = self._configuration.amqp_url
        installation = None if url else get_installation()
        if url is not None:
            self._report(amqp_url=url)
            say("RabbitMQ: the one that AMQP_URL names")
        elif installation is None:
            say("RabbitMQ: not installed, and AMQP_URL is not set; messages are delivered in process")
        else:
            node = RabbitNode(
                self._home.path / "rabbitmq",
                installation,
                log=self._home.log("rabbitmq"),
                signup_password=secrets.signup_amqp_password,
            )
            url = node.url
            self._keep("rabbitmq", node, amqp_url=url, signup_amqp_url=node.signup_url)
            say(f"RabbitMQ {installation.version}: a private node on port {node.port}")
        return url

    def _await(self, broker: "Future[str | None]") -> str | None:
        wait_until(lambda: broker.done() or self._stopping.is_set(), _BROKER_TIMEOUT)
        if not broker.done() and "rabbitmq" in self._services:
            self._services["rabbitmq"].kill()
        self._check()
        return broker.result()

    def _start_database(self, secrets: Secrets) -> tuple[Logins, Deployment]:
        external, name = self._configuration.database, self._configuration.deployment
        superuser_url = external.superuser if external else None
        if external is None:
            password = secrets.superuser_password
            server = PostgresServer(
                self._home.path / "postgres", password=password, log=self._home.log("postgres")
            )
            if not server.initialised:
                secrets.deployments.pop(name, None)  # it describes data that is gone
            self._keep("postgres", server)
            superuser_url = server.url(SUPERUSER, password, _DATABASE)
            say(f"PostgreSQL: a private server on port {server.port}")
        logins = prepare(external, superuser_url, secrets, load(self._configuration.inherited))
        self._check()
        deployment = secrets.deployments.setdefault(name, Deployment())
        if deployment.operator_token is None:
            deployment.operator_token = operator_token(logins.owner)
            self._home.write_secrets(secrets)
        self._report(
            operator_token=deployment.operator_token,
            database_url=logins.app,
            owner_database_url=logins.owner,
            superuser_database_url=logins.superuser,
        )
        return logins, deployment

    def _welcome(self, base: str, deployment: Deployment, keep: Callable[[], None]) -> None:
        client = Client(base, self._stopping)
        try:
            wait_until_ready(client)
            say(f"API: {base} (documentation: {base}/schema)")
            if deployment.api_key is None:
                say("Signing a first tenant up:")
            tenant = first_tenant(client, deployment, keep)
            self._report(tenant=tenant)
            first_row(client, tenant, deployment, keep)
        except SignupError as error:
            if not self._stopping.is_set():
                say(f"The first tenant is not as it should be: {error} (logs: {self._home.logs})")
            return
        say(f"\n{paste_lines(base, tenant)}\nCtrl-C stops everything.")
