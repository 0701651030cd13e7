"""Litestar without a database: what the framework alone takes to answer a row."""

import gc
import os
from typing import Any

from litestar import Litestar, get

from tests.benchmarks.ceilings.rows import Row
from tests.benchmarks.domain import BODY, PATH
from tests.benchmarks.marks import filled, row_mark

_MARK = os.environ["MARK"]
_rest = dict.fromkeys(Row.__struct_fields__)


def app() -> Litestar:
    """Make the application."""
    gc.collect()
    gc.freeze()
    return Litestar([read], openapi_config=None, logging_config=None)


@get(PATH + "/{row_id:int}")
async def read(row_id: int) -> Any:
    return Row(**{**_rest, **filled(BODY, row_mark(_MARK, row_id))})
