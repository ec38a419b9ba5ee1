"""The JSON Schemas of rule files and the glossary of facts, generated from the tables that the reader uses.

Reading rule files is in `reading`; the facts themselves are in `facts`.
"""
