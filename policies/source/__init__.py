"""YAML with positions, a rule file while it is being read, and the problems found in it.

The meaning of the keys is in `reading`.
"""
