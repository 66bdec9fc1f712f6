"""The embedded exam `suites/mini` and the two bundles that sit it, made from a synthetic road.

`world` says what is on the road, `canvas` and `draw` what a camera sees of it, `make_suite` writes the exam,
`network` and `train` make the bundles, `score` measures them the slow and obvious way.
All of it: `python -m examples.mini OUT`.
"""
