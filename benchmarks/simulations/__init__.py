"""Simulations that prove the method: seeded worlds with known truth, judged by the product's own functions."""
