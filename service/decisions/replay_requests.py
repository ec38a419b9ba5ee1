"""Requests to re-run decisions with the rules of a caller, checked and turned into plain values."""

from __future__ import annotations

from service import limits
from service.decisions.decision_pages import DecisionsPage
from service.policy.policy_requests import read_files
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import policy_service_pb2 as policy_pb


def decisions_page(request: policy_pb.ReplayDecisionsRequest, tokens: PageTokens) -> DecisionsPage:
    """The decisions to re-run and the rules to try. Raises InvalidFields."""
    fields = Fields()
    files = read_files(fields, request.files)
    has_since, has_until = request.HasField("since_time"), request.HasField("until_time")
    since = fields.moment("since_time", request.since_time, given=True) if has_since else None
    until = fields.moment("until_time", request.until_time, given=True) if has_until else None
    if since is not None and until is not None and until <= since:
        fields.wrong("until_time", "must be later than since_time")
    if request.decision_id and (has_since or has_until or request.channel_ids):
        fields.wrong("decision_id", "names one decision; leave it or the other filters out")
    if fields.size("channel_ids", request.channel_ids, 0, limits.CHANNEL_FILTER):
        for index, channel_id in enumerate(request.channel_ids):
            fields.text(f"channel_ids[{index}]", channel_id, longest=limits.ID_LENGTH, required=True)
    page = DecisionsPage(
        files,
        fields.uuid("decision_id", request.decision_id),
        since,
        until,
        tuple(request.channel_ids),
        fields.page_size(request.page_size),
        tokens.time_and_id(fields),
    )
    fields.finish()
    return page
