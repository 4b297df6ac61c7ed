"""Generated scenes in which resolution decides: small objects on a canvas of any size.

A scene is decided in three steps that only go forward: `kinds` poses a question and its answer,
`sheet` lays out objects for which that answer is true, `drawing` turns them into pixels.
"""
