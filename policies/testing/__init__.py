"""Test suites for rules.

Cases, fixtures, expectations, the comparison of expected and actual answers, and drafts of tests. Reading the rules
under test is in `reading`; deciding is in `decisions`.
"""
