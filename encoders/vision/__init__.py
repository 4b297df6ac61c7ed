"""Image encoders: one file = one encoder = its class `Encoder`.

All keep one contract: `encoder(images, room=0) -> ImageTokens` (encoders/vision/sheet.py) for
images of any size, and `encoder.count(height, width)`, the tokens of an image.
"""
