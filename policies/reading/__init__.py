"""Reads rule files into one immutable `PolicySet`, with one module for each kind of rule.

YAML with positions is in `source`.
"""
