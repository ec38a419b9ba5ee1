"""Whether a channel can be operated: the questions of the checklist, each a pure function of facts about the channel.

Facts are gathered in `service.readiness`, which also keeps the answers.
"""
