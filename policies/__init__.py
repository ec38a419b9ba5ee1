"""The decisions of Truestock as pure functions, without clock, network, file watching, database, logs or metrics.

Serving them over gRPC and storing what they decide is in `service`.
"""
