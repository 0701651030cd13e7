"""SQL text: written in the source, never built from what a request brings.

Whoever can choose a whole statement can choose the role that it runs under, hardened or not, and the
driver's ``execute(text)`` runs several statements at once. So text that reaches the driver is a literal or
made of constants (``UPPER_CASE``), except in the modules named here, each with what it builds.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "db", "provisioner")

DRIVER = frozenset(
    {"execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "cursor", "prepare"}
    | {"copy_from_query", "copy_to_table", "copy_from_table", "copy_records_to_table", "exec_driver_sql"}
)

BUILDS = {
    "db/session/transaction.py": "the preamble, from a schema name checked against its pattern; savepoints, numbered",
    "db/session/tenancy.py": "text that others of this package hand on",
    "db/session/link.py": "text that a statement was compiled to",
    "db/server/extensions.py": "the schema of extensions, a constant; extensions and roles of the catalog, quoted",
    "db/server/hardening.py": "revokes, from the catalog's own signatures, quoted",
    "db/bootstrap.py": "logins and databases, quoted",
    "db/server/installation.py": "schemas that this package names; statements of others, who are named here",
    "db/server/citus.py": "roles of the catalog and the database, quoted",
    "db/server/ownership.py": "owners, by the catalog's own quoted identities",
    "db/server/roles.py": "roles and schemas, quoted",
    "db/server/rights.py": "grants, from constants and quoted names",
    "db/migrations": "rendered migrations, and version tables of checked schemas",
    "provisioner/handlers": "what fills a new schema, its name quoted",
    "db/audit.py": "a WHERE chosen from fixed conditions, values bound",
    "db/ledger/lists.py": "a WHERE chosen from fixed conditions, values bound",
    "db/tenants/lists.py": "a WHERE from callers in this package and control, values bound",
    "db/tenants/registry.py": "the kind of a row lock",
    "db/ledger/replayable.py": "a WHERE chosen from fixed conditions, values bound",
    "db/control/rollout_tenants.py": "a WHERE chosen from fixed conditions, values bound",
}

STANDS_IN = {
    "shared.messages": "db/ledger",
    "shared.replay_messages": "db/ledger/replayable.py",
    "shared.replays": "db/control/replays.py",
    "shared.rollouts": "db/control",
    "shared.rollout_tenants": "db/control",
    "shared.audit_log": "db/audit.py",
}
"""Where all statements on a table stand."""

Texts = dict[str, list[ast.expr]]


def is_constant(node: ast.expr, texts: Texts) -> bool:
    """Say whether an expression is the same text whatever a request says; a number is harmless."""
    match node:
        case ast.Constant() | ast.Call(func=ast.Name(id="round" | "int" | "len")):
            return True
        case ast.Name(id=name) if name in texts:
            rest = {other: found for other, found in texts.items() if other != name}
            return all(is_constant(found, rest) for found in texts[name])
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            pass
        case ast.FormattedValue(value=part) | ast.Subscript(value=part) | ast.Starred(value=part):
            parts = [part]
        case ast.BinOp(left=one, right=other) | ast.IfExp(body=one, orelse=other):
            parts = [one, other]
        case _:
            return False
    return all(is_constant(part, texts) for part in parts)


def built_texts(source: str) -> Iterator[tuple[int, str]]:
    """Find statements given to the driver whose text is made at run time.

    Yields:
        The line, and the expression.
    """
    for scope in ast.walk(ast.parse(source)):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        texts, transactions = local_texts(scope), tenant_transactions(scope)
        for node in own_nodes(scope):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name in transactions:
                    continue  # takes compiled statements only; a text has no `.text()`
                case ast.Call(func=ast.Attribute(attr=method)) if method in DRIVER:
                    pass
                case _:
                    continue
            for text in node.args[:1] or [word.value for word in node.keywords if word.arg == "query"]:
                of_ours = isinstance(text, ast.Name) and text.id == "connection"  # no method of the driver's
                if of_ours and method == "execute":  # an installation's
                    of_ours, text = False, node.args[1]  # noqa: PLW2901
                if not of_ours and not is_constant(text, texts):
                    yield node.lineno, ast.unparse(text)


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the functions inside it."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield child
        yield from own_nodes(child)


def local_texts(scope: ast.AST) -> Texts:
    """Return what each local name of a function is ever bound to."""
    found: Texts = {}
    for node in own_nodes(scope):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AugAssign(target=ast.Name(id=name), value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
                | ast.For(target=ast.Name(id=name), iter=value)
                | ast.comprehension(target=ast.Name(id=name), iter=value)
            ):
                found.setdefault(name, []).append(value)
    return found


def tenant_transactions(scope: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the names under which a function knows a tenant transaction."""
    found = {
        argument.arg
        for argument in scope.args.args
        if argument.annotation and ast.unparse(argument.annotation) in {"Reads", "TenantTransaction"}
    }
    for node in own_nodes(scope):
        match node:
            case ast.withitem(
                context_expr=ast.Call(func=ast.Attribute(attr="transaction" | "tenant"), args=[] | [_]),
                optional_vars=ast.Name(id=name),
            ):
                found.add(name)
    return found


def allowed(path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in BUILDS)


def test_sql_text_is_built_in_named_modules_only() -> None:
    found = []
    for package in PACKAGES:
        for file in sorted((PROJECT / package).rglob("*.py")):
            path = file.relative_to(PROJECT).as_posix()
            source = file.read_text()
            if not allowed(path):
                found += [f"{path}:{line}: {text}" for line, text in built_texts(source)]
    assert found == []


@pytest.mark.parametrize("table", STANDS_IN)
def test_the_statements_on_a_table_stand_in_one_place(table: str) -> None:
    statement = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE|TRUNCATE)\s+{re.escape(table)}\b")
    found = {
        file.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for file in (PROJECT / package).rglob("*.py")
        if statement.search(file.read_text())
    }
    assert found
    assert {path for path in found if not path.startswith(STANDS_IN[table])} == set()


@pytest.mark.parametrize("place", BUILDS)
def test_every_module_that_may_build_text_does_so(place: str) -> None:
    path = PROJECT / place
    files = path.rglob("*.py") if path.is_dir() else [path]
    assert any(next(built_texts(file.read_text()), None) for file in files)


@pytest.mark.parametrize(
    "body",
    [
        'await c.execute(f"SELECT {title}")',
        'await c.fetch("SELECT \'" + title + "\'")',
        "await c.fetchval(\"SELECT '%s'\" % title)",
        'await c.fetchrow("SELECT {}".format(title))',
        'await c.fetch(" ".join(["SELECT", title]))',
        "await c.execute(title)",
        'text = f"SELECT {title}"\n    await c.execute(text)',
        'text = "SELECT 1"\n    text += title\n    await c.execute(text)',
        'await c.fetch(query=f"SELECT {title}")',
        'async with c.prepare(f"SELECT {title}") as s:\n        pass',
        'where = f"id = {title}"\n    await c.fetch(f"SELECT 1 WHERE {where}")',
        'for part in title:\n        await c.execute(f"SHOW {part}")',
    ],
)
def test_text_built_at_run_time_is_found(body: str) -> None:
    assert list(built_texts(f"async def read(c, title):\n    {body}\n"))


@pytest.mark.parametrize(
    "body",
    [
        'await c.execute("SELECT $1", title)',
        'await c.fetch(f"SELECT {COLUMNS} FROM shared.tenants WHERE id = $1", title)',
        "await c.fetchrow(_GET, title)",
        "await c.fetchrow(registry.GET, title)",
        'text = "SELECT 1" if title else "SELECT 2"\n    await c.execute(text)',
        'for name in ("a", "b"):\n        await c.execute(f"SHOW {name}")',
        'await c.execute(f"SET lock_timeout = {round(title)}")',
        "async with caller.transaction() as transaction:\n        await transaction.fetch(title)",
    ],
)
def test_literals_and_constants_are_not(body: str) -> None:
    assert not list(built_texts(f"async def read(c, title):\n    {body}\n"))
