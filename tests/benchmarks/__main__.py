"""How fast it is on this machine: ``make bench``. It prints figures and never judges them.

What is compared is measured by turns within one run; trust the ratios, not the figures. Each part has fresh
servers of its own. ``docs/how-to.md`` says what each line means.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from db import logs
from db.local.run import programs
from db.settings import PROJECT, Settings
from tests.benchmarks import (
    busy,
    figures,
    growth,
    machine,
    provisioning,
    relay,
    requests,
    rollouts,
    signup,
    stacks,
)
from tests.benchmarks.figures import Figure
from tests.benchmarks.plan import FULL, QUICK, Plan
from tests.benchmarks.servers import Servers, say, servers

PARTS: Final[dict[str, Callable[[Servers, Plan, Path], Awaitable[list[Figure]]]]] = {
    "requests": requests.measure,
    "growth": growth.measure,
    "signup": signup.measure,
    "provisioning": provisioning.measure,
    "fleet": rollouts.measure,
    "busy": busy.measure,
    "relay": relay.measure,
}


async def measure(chosen: Sequence[str], plan: Plan, home: Path) -> tuple[list[Figure], dict[str, Any]]:
    """Measure some parts; return their figures, and what they were measured on and with."""
    about: dict[str, Any] = {"machine": machine.machine(), "failed": {}}
    found: list[Figure] = []
    started = time.monotonic()
    for name in chosen:
        say(f"{name} ...")
        place = home / name
        place.mkdir()
        try:
            async with servers(place) as running:
                if "versions" not in about:
                    about["versions"] = await machine.versions(running)
                    about["settings"] = settings(running.config, chosen, plan)
                measured = await PARTS[name](running, plan, place)
            say(f"{figures.table(measured)}\n")  # at once, as a later part may come to no end
            found += measured
        except (
            RuntimeError,
            AssertionError,
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
        ) as error:
            say(f"{name} failed: {error}")
            about["failed"][name] = str(error)
        shutil.rmtree(place, ignore_errors=True)
    about |= {
        "others": stacks.versions_of_others(),
        "left_out": [] if stacks.have_others() else ["what people use: its packages could not be installed"],
        "seconds": round(time.monotonic() - started),
    }
    return found, about


def settings(config: Settings, chosen: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Return what was measured, how much, and how the API was served."""
    return {
        "parts": list(chosen),
        **msgspec.to_builtins(plan),
        "pool_size": config.pool_size,
        "concurrent_requests": config.concurrent_requests,
        "served_by": " ".join(programs.granian(0, 1)[2:]),
    }


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "chosen", nargs="*", metavar="|".join(PARTS), choices=[*PARTS, []], default=[], help="all, by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few tenants, short and few rounds: for a glance"
    )
    parser.add_argument("--seconds", type=float, help="of one load")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--tenants", type=int, help="in `requests`")
    parser.add_argument("--sizes", type=_sizes, help="in `growth`, such as 10,1000,10000")
    parser.add_argument("--fleet-sizes", type=_sizes, help="in `fleet`, such as 100,1000")
    parser.add_argument("--json", type=Path, default=PROJECT / ".cache" / "bench.json", metavar="PATH")
    return parser.parse_args(arguments)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(word) for word in text.split(",")))


def planned(options: argparse.Namespace) -> Plan:
    """Return the plan of a command line."""
    plan = QUICK if options.quick else FULL
    given = {
        name: getattr(options, name) for name in ("seconds", "rounds", "tenants", "sizes", "fleet_sizes")
    }
    return msgspec.structs.replace(plan, **{name: value for name, value in given.items() if value})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 if a part failed, whose figures are missing then."""
    options = asked(arguments)
    logs.configure("console", "error")
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    home.chmod(0o711)  # the server may run as a user who must get there
    try:
        found, about = asyncio.run(measure(options.chosen or list(PARTS), planned(options), home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    figures.write(options.json, found, about)
    say(f"\n{figures.table(found)}\n\n{told(about)}\nas JSON: {options.json}")
    return 1 if about["failed"] else 0


def told(about: dict[str, Any]) -> str:
    """Return in words what was measured on and with."""
    box, versions = about["machine"], about.get("versions", {})
    names = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    left_out = "".join(f"left out: {one}\n" for one in [*about["left_out"], *about["failed"]])
    plan = {name: value for name, value in about.get("settings", {}).items() if name != "parts"}
    return (
        f"{left_out}{box['cpu']}, {box['usable_cores']} cores, {box['memory_gb']} GB,"
        f" load before {box['load_before'][0]}; {about['seconds']} s\n"
        f"{names}{'' if versions.get('uvloop') else ', no uvloop'}\n"
        f"{', '.join(f'{name} {value}' for name, value in plan.items())}"
    )


if __name__ == "__main__":
    sys.exit(main())
