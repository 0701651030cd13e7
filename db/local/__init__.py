"""What ``make run`` and ``make test`` need on one machine: private servers and their supervisor."""
