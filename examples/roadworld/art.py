"""What things look like: small pictures of letters, one letter a material, and what the materials are.

Side views have the front at the right. A space is nothing at all: one sees through it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .world import AMBER, BRAKE, GREEN, LEFT, RED, RIGHT, Colour


class Material(NamedTuple):
    """lit: the state bit that lights it, and its colour then. body: a share in 1/256 of the thing's own colour."""

    letter: str
    colour: Colour = (0, 0, 0)
    body: int = 0
    bit: int = 0
    lit: Colour = (0, 0, 0)
    glows: bool = False  # at night, also when it is not lit


MATERIALS = (
    Material(" "),
    Material("B", body=256),
    Material("D", body=176),
    Material("H", body=300),
    Material("g", (58, 74, 92)),  # glass
    Material("k", (24, 24, 27)),  # tyre, rubber
    Material("m", (150, 152, 158)),  # metal
    Material("p", (228, 224, 196)),  # plate
    Material("s", (222, 176, 146)),  # skin
    Material("h", (62, 44, 34)),  # hair
    Material("t", (50, 54, 70)),  # trousers
    Material("w", (232, 232, 222), glows=True),  # headlamp
    Material("r", (140, 26, 26), bit=BRAKE, lit=(255, 48, 36), glows=True),  # tail lamp
    Material("l", (176, 112, 52), bit=LEFT, lit=(255, 176, 32)),
    Material("e", (176, 112, 52), bit=RIGHT, lit=(255, 176, 32)),
    Material("1", (58, 20, 18), bit=RED, lit=(255, 44, 32)),
    Material("2", (60, 46, 16), bit=AMBER, lit=(255, 186, 28)),
    Material("3", (16, 50, 24), bit=GREEN, lit=(60, 255, 110)),
    Material("x", (24, 26, 26)),  # box of a traffic light
    Material("W", (240, 240, 236)),
    Material("R", (206, 30, 36)),
    Material("U", (32, 84, 190)),
    Material("Y", (246, 204, 40)),
    Material("b", (96, 70, 46)),  # bark
    Material("o", (255, 224, 150), glows=True),  # street lamp
    Material("v", (74, 92, 112)),  # window of a house: some are lit at night
    Material("d", (86, 62, 48)),  # door of a house
    Material("#"),  # shadow: the ground, darker
)
LETTERS = "".join(material.letter for material in MATERIALS)
WINDOW, SHADOW = LETTERS.index("v"), LETTERS.index("#")
#: (materials, 3) or (materials,) each.
COLOUR = np.array([m.colour for m in MATERIALS], np.int32)
LIT = np.array([m.lit for m in MATERIALS], np.int32)
BODY = np.array([m.body for m in MATERIALS], np.int32)
BIT = np.array([m.bit for m in MATERIALS], np.int32)
GLOWS = np.array([m.glows for m in MATERIALS])

PICTURES = {
    "car_side": """
BBBBBBBBBBBBBBBBBBBBBBB
rBBBBBBBBBDBBBBBBBDBBBw
rBBBBBBBBBDmBBBBBBDBBBB
BBBBBBBBBBDBBBBBBBDBBBB
BBkkkBBBBBDBBBBBBkkkBBB
BkkmkkDDDDDDDDDDkkmkkBD
 kkmkk          kkmkk
  kkk            kkk   """,
    "car_rear": """
BBBBBBBBBBBB
rrlBBBBBBerr
rrlBBppBBerr
BBBBBppBBBBB
DDDDDDDDDDDD
DDDDDDDDDDDD
kkk      kkk
kkk      kkk""",
    "car_front": """
BBBBBBBBBBBB
wweBBBBBBlww
wwekkkkkklww
BBBkkkkkkBBB
DDDDDppDDDDD
DDDDDDDDDDDD
kkk      kkk
kkk      kkk""",
    "cabin_side": """
   BBBBBBBBBB
  BggggBggggB
 BgggggBgggggB
BggggggBggggggB""",
    "cabin_end": """
 BBBBBBBB
BggggggggB
BggggggggB
BggggggggB""",
    "van_side": """
HBBBBBBBBBBBBBBBBBBBB
BBBBBBBBBBBBBBBBBBBgBB
BBBBBBBBBBBBBBDgggggBB
BBBBBBBBBBBBBBDgggggBB
BBBBBBBBBBBBBBDggggggB
rBBBBBBBBBBBBBDBBBBBBB
rBBBBBBBBBBBBBDBBBBBBw
BBBBBBBBBBBBBBDBBBBBBB
BBkkkBBBBBBBBBDBkkkBBB
BkkmkkDDDDDDDDDkkmkkBD
 kkmkk         kkmkk
  kkk           kkk   """,
    "van_rear": """
BBBBBBBBBBBB
BBBBBDBBBBBB
BggggDggggBB
BggggDggggBB
BBBBBDBBBBBB
BBBBBDBBBBBB
rlBBBDBBBBer
rlBBBDBBBBer
rBBBppppBBBr
DDDDDDDDDDDD
kk        kk
kk        kk""",
    "van_front": """
BBBBBBBBBBBB
BBBBBBBBBBBB
BggggggggggB
BggggggggggB
BggggggggggB
BBBBBBBBBBBB
wweBkkkkBlww
wweBkkkkBlww
BBBBkkkkBBBB
DDDDDppDDDDD
kk        kk
kk        kk""",
    "door": """
BgggB
BBBBB
BBmBB""",
    "walk_a": """
   hh
   ss
   ss
  BBBB
 BBBBBB
 BDBBDB
 BDBBDB
 BDBBDB
 s BB s
   tt
  tttt
  tt tt
  t   t
 tt   t
 t    t
kk    kk""",
    "walk_b": """
   hh
   ss
   ss
  BBBB
 BBBBBB
 BDBBDB
 BDBBDB
 BDBBDB
 s BB s
   tt
   tt
   tt
   tt
   tt
   tt
  kkk  """,
    "bike_side": """
       hh
       ss
      BBB
     BBBB
    BBBBsm
    BBB  m
    BBttttm
   m tt m m
  kkkkt mkkkk
 k   kttk   k
k  m  kk  m  k
k     kk     k
 k   k  k   k
  kkk    kkk  """,
    "bike_end": """
   hh
   ss
   ss
  BBBB
 BBBBBB
 BBBBBB
mmmBBmmm
   tt
  ttttt
  t k t
  tkkkt
   kkk
   kkk
   kkk  """,
    "cone": """
   BB
   BB
  WWWW
  WWWW
  BBBB
 WWWWWW
 BBBBBB
 BBBBBB
DDDDDDDD""",
    "tree_round": """
    BBBBB
  BBHBBBBB
 BBHHBBBBBB
BBHBBBBBDBBB
BBBBBBBBBDDB
BBBHBBBBBDBB
BDBBBBBBDDBB
 BBDBBBDDBB
  BBDDDDBB
    DbbD
     bb
     bb
     bb
     bb     """,
    "tree_tall": """
     BB
    BHB
    BHBB
   BHBBB
   BBBBBB
   BHBBDB
  BHBBBDB
  BBBBBDBB
 BBHBBBDDB
 BBBBBDDBB
BBBBBBDDBBB
  BBDDDDB
     bb
     bb    """,
    "lamp": """
oommmmmmmmmm
oo        mm
          mm
          mm
          mm
          mm
          mm
          mm
          mm
          mm
          mm
          mm
          mm
          mm""",
    "light_front": """
xxxx
x11x
x11x
x22x
x22x
x33x
x33x
xxxx
 mm
 mm
 mm
 mm
 mm
 mm
 mm
 mm
 mm
 mm """,
    "light_back": """
xxxx
xxxx
xxxx
xxxx
xxxx
xxxx
xxxx
xxxx
 mm
 mm
 mm
 mm
 mm
 mm
 mm
 mm
 mm
 mm """,
    "sign_stop": """
 RRRRRR
RRRRRRRR
RWWWWWWR
RWRWRWWR
RRRRRRRR
 RRRRRR
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm   """,
    "sign_yield": """
RRRRRRRR
RWWWWWWR
 RWWWWR
 RRWWRR
  RRRR
   RR
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm   """,
    "sign_limit": """
 RRRRRR
RRWWWWRR
RWkWkkWR
RWkWkkWR
RRWWWWRR
 RRRRRR
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm   """,
    "sign_crossing": """
YYYYYYYY
YYYkkYYY
YYkkkkYY
YYYkkYYY
YYkYYkYY
YYYYYYYY
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm   """,
    "sign_parking": """
UUUUUUUU
UUWWWUUU
UUWUUWUU
UUWWWUUU
UUWUUUUU
UUUUUUUU
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm   """,
    "sign_back": """
 mmmmmm
mmmmmmmm
mmmmmmmm
mmmmmmmm
mmmmmmmm
 mmmmmm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm
   mm   """,
    "wall_0": """
BBBBBBBB
BBvvvvBB
BBvvvvBB
BBvvvvBB
BBHHHHBB
BBBBBBBB""",
    "wall_1": """
DDDDDDDD
BvvBBvvB
BvvBBvvB
BvvBBvvB
BvvBBvvB
BBBBBBBB""",
    "wall_2": """
HHHHHHHH
vvvDvvvD
vvvDvvvD
vvvDvvvD
BBBBBBBB
BBBBBBBB""",
    "wall_3": """
BBBBBBBB
BBBvvvBB
BBBvvvBB
BBBvvvBB
BBBvvvBB
BBBDDDBB""",
    "hedge": """
HBHBBHBB
BBHBBBDB
BDBBHBBB
DBBDBBDB""",
    "shadow": "\n#",
    "nothing": "\n ",
}


def _atlas() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    cells, starts, heights, widths = [], [], [], []
    for text in PICTURES.values():
        rows = text.split("\n")[1:]
        width = max(map(len, rows))
        starts.append(sum(map(len, cells)))
        heights.append(len(rows))
        widths.append(width)
        cells.append([LETTERS.index(letter) for row in rows for letter in row.ljust(width)])
    return np.concatenate(cells).astype(np.uint8), *(np.array(a, np.int32) for a in (starts, heights, widths))


#: All pictures end to end as materials, and where each starts, how many rows and columns it has.
ATLAS, START, HEIGHT, WIDTH = _atlas()
NUMBER = {name: k for k, name in enumerate(PICTURES)}
TILED = np.array([name.startswith(("wall", "hedge")) for name in PICTURES])
