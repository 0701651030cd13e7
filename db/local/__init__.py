"""Private servers on one machine and their supervisor, for ``make run`` and the tests."""
