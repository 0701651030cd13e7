# refused: SystemExit
"""A revision that would end the program."""

import sys


def upgrade():
    sys.exit(1)
