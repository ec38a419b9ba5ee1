"""JSON Schema of rule files and the glossary of facts, both made from the tables that the reader itself uses.

How a file is read is in `reading`.
"""
