"""What a channel may sell.

The coalesced read, the value last published, and the changes that may have altered it. The formula is in
`policies.decisions.sellable`; streams are in `watch`.
"""
