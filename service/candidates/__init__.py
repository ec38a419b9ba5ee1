"""Rules that are not in force: folders that callers send, candidates and earlier revisions, answers by these rules.

The rules in force are in `service.policy`.
"""
