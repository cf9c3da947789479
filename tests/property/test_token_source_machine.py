"""TokenSource in any order of events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from berlin.auth.grant import Grant
from berlin.auth.tokens.backoff import FIRST_REFUSAL_S, LONGEST_REFUSAL_S
from berlin.auth.tokens.source import TokenSource
from berlin.errors import AuthenticationError, ServiceUnavailableError
from berlin.types import Secret


@dataclass
class Waiter:
    task: asyncio.Task[Secret]
    cancelled: bool = False


@dataclass
class Login:
    outcome: asyncio.Future[Grant] = field(repr=False)


class TokenSourceMachine(RuleBasedStateMachine):
    """Requests come, leave and reject; logins end one way or another; time goes on.

    After each event the loop runs until nothing moves, so that what is due has happened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.told: list[object] = []
        self.loop.set_exception_handler(lambda _, context: self.told.append(context))
        self.now = 0.0
        self.source = TokenSource(clock=lambda: self.now, wall=lambda: self.now, jitter=lambda: 0.5)
        self.expires: dict[str, float] = {}
        self.waiters: list[Waiter] = []
        self.running: list[Login] = []
        self.most_at_once = 0
        self.issued = 0
        self.rejected: set[str] = set()
        self.handed_out: list[str] = []
        self.refusals = 0
        self.silent_until = 0.0

    async def login(self, refresh_token: Secret | None) -> Grant:
        assert self.now >= self.silent_until, "a login while a refusal is remembered"
        login = Login(self.loop.create_future())
        self.running.append(login)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            return await login.outcome
        finally:
            self.running.remove(login)

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        self.collect()

    def collect(self) -> None:
        """Look at the requests that have ended since the last event."""
        for waiter in [waiter for waiter in self.waiters if waiter.task.done()]:
            self.waiters.remove(waiter)
            if waiter.task.cancelled():
                assert waiter.cancelled, "a request was cancelled that nobody cancelled"
                continue
            error = waiter.task.exception()
            if error is not None:
                assert type(error) in (AuthenticationError, ServiceUnavailableError)
                continue
            token = waiter.task.result().reveal()
            assert token not in self.rejected, "a rejected token was handed out again"
            assert self.expires.get(token, inf) > self.now, "an expired token was handed out"
            self.handed_out.append(token)

    def next_token(self) -> Secret:
        self.issued += 1
        return Secret(f"token-{self.issued}")

    def next_grant(self, lifetime: float | None) -> Grant:
        token = self.next_token()
        if lifetime is None:
            return Grant(token, self.now)
        self.expires[token.reveal()] = self.now + lifetime
        return Grant(token, self.now, self.now + lifetime)

    @rule(count=st.integers(1, 4))
    def requests_come(self, count: int) -> None:
        for _ in range(count):
            self.waiters.append(Waiter(self.loop.create_task(self.source.get(self.login))))
        self.settle()

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def requests_leave(self, data: st.DataObject) -> None:
        leaving = data.draw(st.sets(st.integers(0, len(self.waiters) - 1), min_size=1))
        for n in leaving:
            self.waiters[n].cancelled = True
            self.waiters[n].task.cancel()
        self.settle()

    @precondition(lambda self: self.waiters)
    @rule()
    def all_leave_and_one_comes(self) -> None:
        for waiter in self.waiters:
            waiter.cancelled = True
            waiter.task.cancel()
        self.waiters.append(Waiter(self.loop.create_task(self.source.get(self.login))))
        self.settle()

    @precondition(lambda self: self.running)
    @rule(leaves=st.booleans(), lifetime=st.sampled_from([None, 20.0, 100.0]))
    def login_succeeds(self, leaves: bool, lifetime: float | None) -> None:
        grant = self.next_grant(lifetime)
        self.running[0].outcome.set_result(grant)
        if leaves and self.waiters:
            self.waiters[0].cancelled = True
            self.waiters[0].task.cancel()
        self.settle()
        self.refusals = 0 if self.source.token == grant.token else self.refusals

    @precondition(lambda self: self.running)
    @rule()
    def login_is_refused(self) -> None:
        self.running[0].outcome.set_exception(AuthenticationError("wrong password"))
        self.settle()
        wait = min(FIRST_REFUSAL_S * 2**self.refusals, LONGEST_REFUSAL_S)
        self.refusals += 1
        self.silent_until = self.now + wait

    @precondition(lambda self: self.running)
    @rule()
    def login_fails(self) -> None:
        self.running[0].outcome.set_exception(ServiceUnavailableError("down"))
        self.settle()

    @precondition(lambda self: self.source.token is not None)
    @rule()
    def current_token_is_rejected(self) -> None:
        token = self.source.token
        assert token is not None
        self.source.reject(token)
        self.rejected.add(token.reveal())
        assert self.source.token is None

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data())
    def an_older_token_is_rejected(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(self.handed_out))
        before = self.source.token
        self.source.reject(Secret(token))
        self.rejected.add(token)
        if before is None or before.reveal() != token:
            assert self.source.token == before, "a late rejection dropped a newer token"

    @rule(again=st.booleans())
    def token_is_adopted(self, again: bool) -> None:
        if again and self.rejected:
            token = Secret(min(self.rejected))  # issued anew, as a service may
            self.rejected.discard(token.reveal())
        else:
            token = self.next_token()
        self.expires.pop(token.reveal(), None)  # when it ends is not known
        self.source.adopt(token)
        self.refusals, self.silent_until = 0, 0.0

    @rule()
    def token_is_forgotten(self) -> None:
        self.source.adopt(None)
        self.refusals, self.silent_until = 0, 0.0

    @precondition(lambda self: self.source.token is not None)
    @rule()
    def token_expires(self) -> None:
        token = self.source.token
        assert token is not None
        self.now = max(self.now, self.expires.get(token.reveal(), self.now))

    @rule(seconds=st.sampled_from([0.5, 4.0, 5.0, 10.0, 60.0, 300.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def at_most_one_login(self) -> None:
        assert self.most_at_once <= 1

    @invariant()
    def a_login_runs_exactly_while_somebody_waits(self) -> None:
        assert bool(self.running) == bool(self.waiters)

    @invariant()
    def the_token_at_hand_was_not_rejected(self) -> None:
        token = self.source.token
        assert token is None or token.reveal() not in self.rejected

    @invariant()
    def nothing_was_lost(self) -> None:
        assert self.told == []

    def teardown(self) -> None:
        """Every request ends, once the login that it waits for does."""
        for login in list(self.running):
            login.outcome.set_result(self.next_grant(None))
        self.settle()
        assert self.waiters == []
        assert self.running == []
        assert asyncio.all_tasks(self.loop) == set()
        self.loop.close()


TokenSourceMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, database=None
)


class TestTokenSource(TokenSourceMachine.TestCase):
    """One login at a time, no rejected token again, and every request ends, in any order."""
