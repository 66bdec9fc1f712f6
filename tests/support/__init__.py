"""Builders that read like the domain."""
