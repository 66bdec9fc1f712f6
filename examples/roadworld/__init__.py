"""Roadworld: a seeded synthetic driving world with eight cameras, made of whole numbers only.

`integers` has the arithmetic, `roads` says what lies on the ground, `world` who is where, `cameras` who looks,
`render` and `paint` what is seen, `truth` and `topdown` what is therefore true, `make_suite` writes the exam.
No float decides a pixel or a truth, so every machine and every version of numpy makes the same bytes.
"""
