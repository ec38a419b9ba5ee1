"""Reads rule files into one immutable `PolicySet`. Each kind of rule has its own module.

YAML with positions is in `source`.
"""
