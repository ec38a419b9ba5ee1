"""Stock levels: the book of one transaction, provenance, history, movements, ledger check and learned velocity.

The reports that change them are in `feeds`; buffers and sellable units are in `policies.decisions`.
"""
