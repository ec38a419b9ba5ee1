"""Finds rules that are valid and still wrong: conditions that never hold, rules that another one shadows.

Rules that are not valid are reported by `reading`.
"""
