"""Handlers: what each command's work is. One file a command."""
