"""Who may connect, and who calls: certificates of TLS.

Which calls a caller may make is checked in `rpc`; what a call then does is in the package of its trade.
"""
