"""YAML with positions, one rule file while it is read, and the problems in it.

What the keys mean is in `reading`.
"""
