"""A short soak: sign-ups under load while processes are killed. `make soak` is the long one."""

from pathlib import Path

import pytest

from tests.benchmarks.soak import Plan, soak

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]


async def test_signups_under_load_and_kills_lose_nothing(tmp_path: Path) -> None:
    report = await soak(Plan(signups=24, seconds=14, seed=20, pause=(1.0, 2.5), deliveries=600), tmp_path)
    assert report.wrong == []
    assert sum(report.kills.values()) >= 2
    assert report.signed_up == 24
    assert report.strange == 600
    assert report.looks > 0
