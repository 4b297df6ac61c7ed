"""The colours objects come in: far apart from each other and from the light backgrounds."""

RGB = {
    "red": (215, 25, 30),
    "orange": (250, 130, 0),
    "green": (20, 140, 40),
    "cyan": (0, 185, 200),
    "blue": (25, 60, 215),
    "purple": (125, 35, 165),
    "pink": (250, 100, 185),
    "black": (15, 15, 15),
}
NAMES = tuple(RGB)
