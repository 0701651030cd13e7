"""`make run` writes the first tenant's first to-do, once, and shows how to list it."""

import signal
from collections.abc import Iterator

import pytest

from tests.running import Run, listed, pasted, running

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(tmp_path_factory.mktemp("run") / "home") as run:
        yield run


def test_the_first_tenant_answers_with_its_first_to_do(run: Run) -> None:
    assert listed(run.until_up(), "/todos", "title") == ["Bake bread"]


def test_the_terminal_shows_a_line_to_paste_that_lists_it(run: Run) -> None:
    run.until_up()
    assert [item["title"] for item in pasted(run, "List /todos of bakery:")["items"]] == ["Bake bread"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interruption_it_is_not_written_again(run: Run, number: signal.Signals) -> None:
    run.until_up()
    run.stop(number)
    run.start()
    assert listed(run.until_up(), "/todos", "title") == ["Bake bread"]


def test_a_run_that_was_cut_off_before_it_noted_the_first_to_do_does_not_write_it_again(run: Run) -> None:
    run.until_up()
    assert run.stop() == 0, run.told
    noted = (run.home / "secrets.json").read_text()
    forgotten = noted.replace('"row_written": true', '"row_written": false')
    assert forgotten != noted
    (run.home / "secrets.json").write_text(forgotten)
    run.start()
    assert listed(run.until_up(), "/todos", "title") == ["Bake bread"]
    assert (run.home / "secrets.json").read_text() == noted
