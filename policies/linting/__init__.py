"""Finds rules that are valid but cannot work: conditions that are never true, rules that another rule shadows.

Invalid rules are reported by `reading`.
"""
