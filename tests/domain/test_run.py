"""`make run` writes the first tenant's first to-do, once, and shows how to list it."""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.running import Run, listed, running

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(tmp_path_factory.mktemp("run") / "home") as run:
        yield run


def test_the_first_tenant_answers_with_its_first_to_do(run: Run) -> None:
    assert listed(run.until_up(), "/todos", "title") == ["Bake bread"]


def test_the_terminal_shows_a_line_to_paste_that_lists_it(run: Run) -> None:
    run.until_up()
    line = next(line for line in run.told.splitlines() if line.strip().endswith("/todos"))
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=30)
    assert [item["title"] for item in json.loads(answer.stdout)["items"]] == ["Bake bread"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interruption_it_is_not_written_again(run: Run, number: signal.Signals) -> None:
    run.until_up()
    run.stop(number)
    run.start()
    assert listed(run.until_up(), "/todos", "title") == ["Bake bread"]
