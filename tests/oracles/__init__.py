"""Slow, obvious twins of fast code, and the field's own tools behind one function each."""
