"""Finds the rules whose conditions hold for given facts: value classes, conjunctions, remembered answers.

The only package that imports durable-rules, in `rule_engine`.
"""
