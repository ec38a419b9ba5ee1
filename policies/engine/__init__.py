"""Matches conditions against facts: value classes, conjunctions, memoised matches.

The only package that imports durable-rules, in `rule_engine`.
"""
