"""Elections: campaigns with a pre-vote, votes, the check that a quorum still follows."""

from __future__ import annotations

from ood.raft.core import quorum, roles
from ood.raft.core.quorum import Tally
from ood.raft.core.state import Core
from ood.raft.core.types import Role, VoteReply, VoteRequest


def campaign(core: Core) -> None:
    """Ask for pre-votes; only a node that could win begins a new term."""
    if core.leading or not core.promotable:
        return
    roles.become_pre_candidate(core)
    _count(core, core.id, True)
    if core.role is Role.PRE_CANDIDATE:
        _ask(core, core.term + 1, pre=True)


def campaign_for_real(core: Core, *, transfer: bool = False) -> None:
    """Begin a new term and ask for votes."""
    roles.become_candidate(core)
    _count(core, core.id, True)
    if core.role is Role.CANDIDATE:
        _ask(core, core.term, transfer=transfer)


def _ask(core: Core, term: int, *, pre: bool = False, transfer: bool = False) -> None:
    """Send the requests; real ones wait for the disk, for they imply the own vote."""
    send = core.send if pre else core.send_after
    log = core.log
    for voter in sorted(core.configuration.all_voters - {core.id}):
        send(
            VoteRequest(core.id, voter, term, log.last_index, log.last_term, pre, transfer),
        )


def in_lease(core: Core) -> bool:
    """Whether a leader was heard from so lately that nobody may replace it."""
    recent = core.leader is not None and core.election_elapsed < core.options.election_ticks
    return recent or core.now < core.quiet_until


def on_request(core: Core, message: VoteRequest) -> None:
    """Give or refuse a vote, whether or not the own configuration knows the candidate.

    A node may be a voter without knowing it yet; it must vote then too.
    """
    granted = _free(core, message) and core.log.up_to_date(message.last_index, message.last_term)
    if message.pre:
        term = message.term if granted else core.term
        core.send(VoteReply(core.id, message.source, term, granted, True))
        return
    if granted:
        core.vote = message.source
        core.election_elapsed = 0
    core.send_after(VoteReply(core.id, message.source, core.term, granted))


def _free(core: Core, message: VoteRequest) -> bool:
    """Whether the vote of the message's term is still to be had."""
    if message.pre and message.term > core.term:
        return True
    return core.vote == message.source or (core.vote is None and core.leader is None)


def on_reply(core: Core, message: VoteReply) -> None:
    """Count an answer, if it belongs to the campaign under way."""
    asked = Role.PRE_CANDIDATE if message.pre else Role.CANDIDATE
    if core.role is asked:
        _count(core, message.source, message.granted)


def _count(core: Core, voter: str, granted: bool) -> None:
    core.votes.setdefault(voter, granted)
    result = quorum.tally(core.configuration, core.votes)
    if result is Tally.LOST:
        roles.become_follower(core, core.term, None)
    elif result is Tally.WON and core.role is Role.PRE_CANDIDATE:
        campaign_for_real(core)
    elif result is Tally.WON:
        roles.become_leader(core)


def on_timeout(core: Core) -> None:
    """Campaign when the leader was silent for too long, or at least forget it.

    A node that may not campaign would else refuse its vote for the sake of a
    leader that is long gone.
    """
    if core.election_elapsed >= core.timeout:
        core.election_elapsed = 0
        core.leader = None
        campaign(core)


def check_quorum(core: Core) -> None:
    """Step down if a majority has been silent for a whole period.

    Clients then look for a leader that can commit, and a lease can't outlive it.
    """
    votes = {name: p.active or name == core.id for name, p in core.progress.items()}
    if quorum.tally(core.configuration, votes) is not Tally.WON:
        roles.become_follower(core, core.term, None)
        return
    for progress in core.progress.values():
        progress.active = False
