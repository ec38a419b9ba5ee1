"""Stock levels: the book of one transaction, provenance, history, movements, ledger check, learned velocity.

Who may write them is in `feeds`.
"""
