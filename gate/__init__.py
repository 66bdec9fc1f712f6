"""gate: decides whether a new release of a multi-task vision stack may ship."""

__version__ = "0.1.0"
