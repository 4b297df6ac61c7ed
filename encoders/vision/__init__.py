"""Image encoders: one file = one encoder = its class `Encoder`.

All keep one contract: `encoder(images, room=0) -> ImageTokens` (encoders/vision/sheet.py) for
images of any size, and `encoder.count(height, width)`, the tokens of an image.

For training on a frozen encoder, `forward` has two halves: `features(images)`, the output of its
`trunk` in the trunk's own width, and `map`, which takes features to tokens and goes on learning.
"""
