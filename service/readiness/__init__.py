"""Whether channels can be operated: gathers what the questions of the checklist need, and keeps the answers.

The questions are in `policies.readiness`. Nothing here changes what it asks about.
"""
