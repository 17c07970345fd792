"""The command `vicinal`."""

from vicinal.cli.main import app, main

__all__ = ["app", "main"]
