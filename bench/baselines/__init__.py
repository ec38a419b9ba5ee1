"""What a user would write instead of Truestock, to compare with.

Frozen: a change would end the comparison with earlier figures.
"""
