"""Local attention: each file is one pattern of the keys that a query attends to."""
