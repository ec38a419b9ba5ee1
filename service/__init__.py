"""The Truestock service: gRPC API, PostgreSQL, metrics and the command line.

The rules engine and the decisions, which use no network, database or clock, are in `policies`.
"""

import os

# Programs that the event loop starts are forked, and gRPC's handlers of fork() would then run in the new process: they
# have crashed it, and broken TLS connections that it shares until it executes its program. Nothing is forked otherwise.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
