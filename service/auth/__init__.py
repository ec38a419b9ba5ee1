"""Who may connect, and who calls: certificates of TLS, and the access file with principals, tokens and limits.

Which calls a caller may make is checked in `rpc`; what a call then does is in the package of its trade.
"""
