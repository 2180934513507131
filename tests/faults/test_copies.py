"""One reward sent many times at once, to every worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb

from tests.faults.client import Client
from tests.faults.conftest import NewStore
from tests.faults.record import POLICIES, Scope
from tests.faults.site import site

pytestmark = pytest.mark.slow

COPIES = 64
CONNECTIONS = 8


@pytest.mark.parametrize("policy", POLICIES)
async def test_of_64_copies_at_once_one_is_applied(policy: str, new_store: NewStore, tmp_path: Path) -> None:
    async with site(new_store(tmp_path, {}), tmp_path) as here, AsyncExitStack() as stack:
        client = Client(here.server.address, "copies", np.random.default_rng(0), CONNECTIONS, patience_s=[10])
        stubs = [await stack.enter_async_context(client.connection()) for _ in range(CONNECTIONS)]
        scope = Scope(policy, "s")
        decision = scope.draw(client.rng)
        decision.answer = await stubs[0].Score(decision.request)
        reward = pb.RewardRequest(decision_id=decision.answer.decision_id, value=decision.rewards[0].value, reward_id="r0")
        answers = await asyncio.gather(*(stubs[k % CONNECTIONS].Reward(reward, timeout=10) for k in range(COPIES)))
        assert Counter(a.status for a in answers) == {pb.REWARD_STATUS_APPLIED: 1, pb.REWARD_STATUS_DUPLICATE: COPIES - 1}
        assert {a.value for a in answers} == {decision.rewards[0].value}
        del decision.rewards[1:]
        await here.check_sums([scope])
