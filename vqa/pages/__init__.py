"""Generated pages of print: receipts, invoices, tables, forms, charts, panels and single lines.

A page goes through steps that only go forward: `layouts` compose what it says, with the questions
that can be asked of it (`content`); `sheet` sets it in type; `view` says how it lies in the image
and what it went through; `drawing` and `degrade` turn it into pixels.
"""
