"""Requests for readiness, checked and turned into plain values."""

from __future__ import annotations

from policies.readiness.service_answers import PrometheusState
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import readiness_service_pb2 as readiness_pb


def check_request(request: readiness_pb.CheckReadinessRequest) -> tuple[str, PrometheusState | None]:
    """The channel to check, and what a Prometheus said if one was asked. Raises InvalidFields."""
    fields = Fields()
    channel_id = fields.retailer_id("channel_id", request.channel_id)
    state = _prometheus_state(fields, request.prometheus) if request.HasField("prometheus") else None
    fields.finish()
    return channel_id, state


def list_request(request: readiness_pb.ListReadinessChecksRequest) -> str:
    """The channel whose checks are listed. Raises InvalidFields."""
    fields = Fields()
    channel_id = fields.retailer_id("channel_id", request.channel_id)
    fields.finish()
    return channel_id


def _prometheus_state(fields: Fields, message: readiness_pb.PrometheusState) -> PrometheusState:
    error = fields.text("prometheus.error", message.error) or ""
    names = fields.texts("prometheus.alert_names", message.alert_names, limits.ALERT_NAMES)
    failing = fields.texts("prometheus.failing_alert_names", message.failing_alert_names, limits.ALERT_NAMES)
    return PrometheusState(error, tuple(names), tuple(failing))
