"""The command line: parse, call one function, render, return the exit code."""

from gate.cli.app import main

__all__ = ["main"]
