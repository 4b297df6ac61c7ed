"""Image encoders: one file = one encoder."""
