"""The rules in force: rules folder, folder watcher, store by content hash, and the sandbox process of `TestPolicies`.

Reading rules is in `policies.reading`.
"""
