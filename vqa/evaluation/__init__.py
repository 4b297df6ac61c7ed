"""Evaluation of a whole split: answers that survive a kill, scores with intervals, a report."""
