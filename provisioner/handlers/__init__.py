"""Handlers: the work of each type of command. One file per command."""
