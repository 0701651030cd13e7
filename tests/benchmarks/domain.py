"""What is read and written: YOURS, where the to-do example was replaced.

Each text ``{mark}`` in ``BODY`` becomes a text that stands nowhere else, by which an answer is known as the right
tenant's row. It must stand there, in a column that texts of 24 letters and digits fit into.
"""

from typing import Any, Final

TABLE: Final = "todos"
"""A table of the application's, with a column ``id``."""

PATH: Final = "/todos"
"""Its route, which knows GET of one and of a page, POST and PATCH."""

BODY: Final[dict[str, Any]] = {"title": "Buy flour {mark}"}
"""What is sent by POST and PATCH: texts, numbers, booleans."""
