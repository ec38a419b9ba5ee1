"""Finds rules that are valid but cannot work: never true, shadowed by others, or about names that no catalog has.

Invalid rules are reported by `reading`.
"""
