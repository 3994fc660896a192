"""Which touches to make: the most expected value under caps, one voice, a budget and capacities.

Arrays in, arrays out; nothing here knows what a campaign or a channel is.

The problem: candidates of customers, each of which may go by some channels. A candidate goes by one
channel at most; a customer takes so many touches in all, so many by each channel and one of each
group of channels (laminar caps); all together may use so much of each shared resource (money, calls
that people can make, coupons of one campaign). Within a customer the caps of both sides are
partition matroids and their linear programme is integral; only the few shared resources couple
customers. So the method is Lagrangian relaxation (Fisher 1981): each shared resource gets a price,
found by bisection, each customer takes its best touches at these prices, and what is over a limit
at the end goes by the least value for what it uses. The loss is a few touches a resource.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

NEVER = np.float32(-np.inf)
SAMPLE = 300_000
"""Candidates on which prices are found; all of them where there are no more."""

BISECTIONS = 24
SWEEPS = 3


@dataclass(frozen=True)
class Resource:
    """Something that all touches share.

    Attributes:
        name: for the reason of a touch that was held back.
        limit: how much there is.
        of_channel: how much a touch by each channel uses, length K; None for none.
        of_candidate: how much each candidate uses whatever its channel, length m; None for none.
    """

    name: str
    limit: float
    of_channel: Floats | None = None
    of_candidate: Floats | None = None

    def use(self, candidates: Ints, channels: Ints) -> Floats:
        """What touches use, one number each."""
        used = np.zeros(len(candidates), np.float32)
        if self.of_channel is not None:
            used += self.of_channel[channels]
        if self.of_candidate is not None:
            used += self.of_candidate[candidates]
        return used


@dataclass(frozen=True)
class Problem:
    """Candidates with gains, sorted by customer.

    Attributes:
        customer: number of the customer of each candidate, 0 to n - 1, not falling; length m.
        gain: value of each candidate by each channel less its cost, m x K; ``NEVER`` where it may
            not go that way.
        cap: touches that a customer takes in all, length n.
        channel_cap: touches that a customer takes by each channel, n x K.
        groups: sets of channels of which a customer takes one touch at most; disjoint.
        group_free: whether a customer has not had a touch of the group today, n x len(groups).
        resources: what all share.
    """

    customer: Ints
    gain: Floats
    cap: Ints
    channel_cap: Ints
    groups: tuple[tuple[int, ...], ...] = ()
    group_free: Bools | None = None
    resources: tuple[Resource, ...] = ()

    @property
    def size(self) -> int:
        """How many candidates there are."""
        return len(self.customer)


@dataclass(frozen=True)
class Chosen:
    """What to do.

    Attributes:
        channel: of each candidate, -1 where it is held back; length m.
        value: sum of the gains.
        prices: of each resource by its name.
        held_by: number of the resource that held a candidate back, -1 where none did; length m.
    """

    channel: Ints
    value: float
    prices: dict[str, float] = field(default_factory=dict)
    held_by: Ints | None = None


def choose(problem: Problem) -> Chosen:
    """The touches to make."""
    prices = _find_prices(problem)
    channel = _take(problem, _priced(problem, prices))
    held_by = np.full(problem.size, -1, np.int32)
    priced_best = _priced(problem, prices).max(axis=1, initial=NEVER)
    best = problem.gain.max(axis=1, initial=NEVER)
    out_priced = (channel < 0) & (best > 0) & (priced_best <= 0)
    if len(prices) and out_priced.any():
        held_by[out_priced] = _dearest(problem, prices, np.flatnonzero(out_priced))
    for number in range(len(problem.resources)):
        _trim(problem, channel, number, held_by)
    _fill(problem, channel, held_by)
    taken = np.flatnonzero(channel >= 0)
    value = float(problem.gain[taken, channel[taken]].sum(dtype=np.float64))
    names = [resource.name for resource in problem.resources]
    return Chosen(channel, value, dict(zip(names, map(float, prices), strict=True)), held_by)


def _priced(problem: Problem, prices: Floats) -> Floats:
    """Gains less what the resources cost at these prices."""
    priced = problem.gain
    for price, resource in zip(prices, problem.resources, strict=True):
        if price > 0:
            if resource.of_channel is not None:
                priced = priced - price * resource.of_channel[None, :]
            if resource.of_candidate is not None:
                priced = priced - price * resource.of_candidate[:, None]
    return priced


def _take(problem: Problem, priced: Floats) -> Ints:
    """Each customer's best touches at these prices, the best first, within its caps."""
    channel = np.full(problem.size, -1, np.int32)
    cap = problem.cap.copy()
    channel_cap = problem.channel_cap.copy()
    free = np.ones((len(cap), len(problem.groups)), bool)
    if problem.group_free is not None:
        free &= problem.group_free
    usable = channel_cap > 0
    for number, group in enumerate(problem.groups):
        usable[:, group] &= free[:, number, None]
    usable &= (cap > 0)[:, None]
    rows = np.arange(problem.size, dtype=np.int32)
    while len(rows):
        owners = problem.customer[rows]
        open_gain = np.where(usable[owners], priced[rows], NEVER)
        way = open_gain.argmax(axis=1).astype(np.int32)
        best = open_gain[np.arange(len(rows)), way]
        alive = best > 0
        rows, owners, way, best = rows[alive], owners[alive], way[alive], best[alive]
        if not len(rows):
            break
        starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        top = np.repeat(np.maximum.reduceat(best, starts), np.diff(np.r_[starts, len(rows)]))
        winners = np.flatnonzero(best == top)
        winners = winners[np.r_[True, owners[winners][1:] != owners[winners][:-1]]]
        chosen, who, how = rows[winners], owners[winners], way[winners]
        channel[chosen] = how
        cap[who] -= 1
        channel_cap[who, how] -= 1
        usable[who, how] &= channel_cap[who, how] > 0
        for number, group in enumerate(problem.groups):
            spoken = who[np.isin(how, group)]
            free[spoken, number] = False
            usable[np.ix_(spoken, group)] = False
        usable[who[cap[who] <= 0]] = False
        keep = np.ones(len(rows), bool)
        keep[winners] = False
        keep &= cap[owners] > 0
        rows = rows[keep]
    return channel


def _uses(problem: Problem, channel: Ints) -> list[float]:
    taken = np.flatnonzero(channel >= 0).astype(np.int32)
    return [
        float(resource.use(taken, channel[taken]).sum(dtype=np.float64))
        for resource in problem.resources
    ]


def _find_prices(problem: Problem) -> Floats:
    """A price for each resource at which its limit is just kept; 0 where it is no limit."""
    prices = np.zeros(len(problem.resources), np.float32)
    if not len(prices) or not problem.size:
        return prices
    sample, scale = _sampled(problem)
    limits = [resource.limit * scale for resource in sample.resources]
    uses = _uses(sample, _take(sample, sample.gain))
    scarce = [number for number, used in enumerate(uses) if used > limits[number]]
    for _ in range(SWEEPS if len(scarce) > 1 else 1):
        for number in scarce:
            prices[number] = _bisect(sample, prices, number, limits[number])
    return prices


def _bisect(problem: Problem, prices: Floats, number: int, limit: float) -> np.float32:
    resource = problem.resources[number]
    unit = _unit(resource)
    low, high = 0.0, float(problem.gain.max(initial=0.0)) / unit
    trial = prices.copy()
    for _ in range(BISECTIONS):
        trial[number] = (low + high) / 2
        used = _uses(problem, _take(problem, _priced(problem, trial)))[number]
        if used > limit:
            low = float(trial[number])
        else:
            high = float(trial[number])
        if high - low <= 1e-4 * high:
            break
    return np.float32(high)


def _unit(resource: Resource) -> float:
    """The least that a touch uses of a resource, if it uses any."""
    parts = (resource.of_channel, resource.of_candidate)
    return min(
        (float(part[part > 0].min()) for part in parts if part is not None and (part > 0).any()),
        default=1.0,
    )


def _sampled(problem: Problem) -> tuple[Problem, float]:
    """Whole customers, every so many of them, and their share of the candidates."""
    if problem.size <= SAMPLE:
        return problem, 1.0
    every = -(-problem.size // SAMPLE)
    rows = np.flatnonzero(problem.customer % every == 0)
    resources = tuple(
        Resource(
            each.name,
            each.limit,
            each.of_channel,
            None if each.of_candidate is None else each.of_candidate[rows],
        )
        for each in problem.resources
    )
    part = Problem(
        problem.customer[rows],
        problem.gain[rows],
        problem.cap,
        problem.channel_cap,
        problem.groups,
        problem.group_free,
        resources,
    )
    return part, len(rows) / problem.size


def _dearest(problem: Problem, prices: Floats, rows: NDArray[np.int64]) -> Ints:
    """Which resource's price weighs most on each candidate's best way."""
    way = problem.gain[rows].argmax(axis=1).astype(np.int32)
    burden = np.stack(
        [
            price * resource.use(rows.astype(np.int32), way)
            for price, resource in zip(prices, problem.resources, strict=True)
        ]
    )
    return burden.argmax(axis=0).astype(np.int32)


def _trim(problem: Problem, channel: Ints, number: int, held_by: Ints) -> None:
    """Take back touches with the least gain for what they use, until the limit is kept."""
    resource = problem.resources[number]
    taken = np.flatnonzero(channel >= 0).astype(np.int32)
    used = resource.use(taken, channel[taken]).astype(np.float64)
    over = float(used.sum()) - resource.limit
    if over <= 0:
        return
    of_use = np.flatnonzero(used > 0)
    density = problem.gain[taken[of_use], channel[taken[of_use]]] / used[of_use]
    order = of_use[np.lexsort((-taken[of_use], density))]
    count = int(np.searchsorted(np.cumsum(used[order]), over - 1e-9)) + 1
    channel[taken[order[:count]]] = -1
    held_by[taken[order[:count]]] = number


def _fill(problem: Problem, channel: Ints, held_by: Ints) -> None:
    """Use what is left of the resources on those whom only prices held back, the best first.

    A customer gets one of them at most, and only if it has no touch yet: then no cap but the free
    ones can be in the way.
    """
    waiting = np.flatnonzero((held_by >= 0) & (channel < 0))
    if not len(waiting):
        return
    busy = np.zeros(len(problem.cap), bool)
    busy[problem.customer[channel >= 0]] = True
    waiting = waiting[~busy[problem.customer[waiting]]]
    usable = problem.channel_cap[problem.customer[waiting]] > 0
    if problem.group_free is not None:
        for number, group in enumerate(problem.groups):
            usable[:, group] &= problem.group_free[problem.customer[waiting], number, None]
    usable &= (problem.cap[problem.customer[waiting]] > 0)[:, None]
    gain = np.where(usable, problem.gain[waiting], NEVER)
    way = gain.argmax(axis=1).astype(np.int32)
    best = gain[np.arange(len(waiting)), way]
    left = np.array(
        [
            resource.limit - used
            for resource, used in zip(problem.resources, _uses(problem, channel), strict=True)
        ]
    )
    need = np.stack(
        [resource.use(waiting.astype(np.int32), way) for resource in problem.resources], axis=1
    )
    fits = (best > 0) & (need <= left[None, :]).all(axis=1)
    order = np.flatnonzero(fits)[np.argsort(-best[fits], kind="stable")][:20_000]
    done: set[int] = set()
    for place in order:
        who = int(problem.customer[waiting[place]])
        if who in done or (need[place] > left).any():
            continue
        done.add(who)
        left -= need[place]
        channel[waiting[place]] = way[place]
        held_by[waiting[place]] = -1
