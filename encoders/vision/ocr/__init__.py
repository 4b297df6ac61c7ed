"""Optical character recognition: print as text, with the place and confidence of each word."""
