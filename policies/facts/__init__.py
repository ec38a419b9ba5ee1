"""The table of facts that rules may use, with their types and units, how they are measured, and facts about time.

Conditions on facts are in `engine`; their glossary for planners is in `schema`.
"""
