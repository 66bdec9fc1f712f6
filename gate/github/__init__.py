"""The pull-request check: what is asked, what a change proposes, and the answer where people look for it."""

from gate.github.answer import Answer
from gate.github.events import Situation, situation
from gate.github.proposal import Change, Proposal, change_of, proposal_of

__all__ = ["Answer", "Change", "Proposal", "Situation", "change_of", "proposal_of", "situation"]
