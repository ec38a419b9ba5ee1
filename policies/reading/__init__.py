"""Reads rule files into one immutable `PolicySet`. Each kind of rule has its own module.

Parsing YAML with positions is in `source`; finding valid rules that are still wrong is in `linting`.
"""
