"""Matches conditions of rules against facts, with value classes, conjunctions and cached matches.

The only package that imports durable-rules, in `rule_engine`. Reading conditions from rule files is in `reading`; the
facts are in `facts`.
"""
