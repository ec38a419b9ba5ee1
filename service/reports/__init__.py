"""Reports of any window of time: requests, the counts that they read, and their messages. They only read.

How rates are made of counts is in `policies.reports`.
"""
