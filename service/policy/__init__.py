"""The rules in force: rules folder, folder watcher, store by content hash, sandbox process of `TestPolicies`, warnings.

Reading rules is in `policies.reading`.
"""
