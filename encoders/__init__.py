"""Vectors from pixels, words and vectors: this package knows tensors and nothing of questions."""
