# refused: ValueError
"""A revision that fails of itself."""


def upgrade():
    raise ValueError("not today")
