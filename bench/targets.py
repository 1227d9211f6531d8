"""What Postroom is meant to reach, as ratios to systems measured in the same run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import stats
from bench.summary import Summary, label

Value = Callable[[Summary], float]


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio of one figure, of Postroom to another system. `limit` is the least that is wanted, or with `most` the
    most; `aim` is what we would like. `ours` names the system, and whether its emails come in batches."""

    measure: str
    ours: tuple[str, bool]
    base: str
    value: Value
    limit: float
    aim: float
    most: bool = False

    def reached(self, summaries: Mapping[str, Summary], batch: int) -> float:
        """The ratio that was measured; NaN when one of the two was not."""
        system, batched = self.ours
        ours = summaries.get(label(system, batch if batched else 1))
        theirs = summaries.get(self.base)
        return stats.ratio(self.value(ours), self.value(theirs)) if ours and theirs else math.nan

    def met(self, reached: float) -> bool:
        """Whether that is enough; never when it is not known."""
        return reached <= self.limit if self.most else reached >= self.limit


def _end_to_end(summary: Summary) -> float:
    return summary.end_to_end_rate


def _submit(summary: Summary) -> float:
    return summary.submit_rate


def _p99(summary: Summary) -> float:
    return summary.p99_ms


def _cpu(summary: Summary) -> float:
    return summary.cpu_system


def _status(summary: Summary) -> float:
    return summary.status_rate


def _distributed(system: str) -> tuple[Target, ...]:
    single, batches = (system, False), (system, True)
    return (
        Target("end to end, one by one", single, "naive", _end_to_end, 8, 11),
        Target("end to end, one by one", single, "naive-durable", _end_to_end, 14, 20),
        Target("end to end, one by one", single, "postfix", _end_to_end, 4, 5.5),
        Target("end to end, batches", batches, "naive", _end_to_end, 14, 19),
        Target("end to end, batches", batches, "naive-durable", _end_to_end, 25, 34),
        Target("end to end, batches", batches, "postfix", _end_to_end, 7, 9.5),
        Target("submit rate, one by one", single, "naive", _submit, 3.4, 4.6),
        Target("submit p99, one by one", single, "naive", _p99, 0.35, 0.21, most=True),
        Target("CPU per email, one by one", single, "naive", _cpu, 1 / 11, 1 / 15, most=True),
        Target("CPU per email, batches", batches, "naive", _cpu, 1 / 20, 1 / 28, most=True),
        Target("status reads", single, "naive", _status, 2, 4),
    )


TARGETS = (
    *_distributed("mongo"),
    *_distributed("redis"),
    Target("end to end, one by one", ("embedded", False), "naive", _end_to_end, 5, 10),
)
