"""How long everything takes that waits: one object, which tests scale down as a whole."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta

__all__ = ["Timings"]

# Relations hold to this: `divided` rounds each time by itself.
_ROUNDING = timedelta(microseconds=10)


@dataclass(frozen=True, kw_only=True)
class Timings:
    """
    The constants of the protocol between server, agents and workers.

    Raises:
        ValueError: when they do not fit together: a lease would end before its holder knows, or a run could
            have two workers.
    """

    heartbeat: timedelta = timedelta(seconds=15)
    """Between two heartbeats of a worker."""
    stop_after: timedelta = timedelta(seconds=45)
    """Silence after which a worker starts no further task."""
    kill_grace: timedelta = timedelta(seconds=10)
    """From there to the killing of its tasks."""
    margin: timedelta = timedelta(seconds=5)
    """Between the end of a lost worker's work and the loss of its lease: for messages under way."""
    lease: timedelta = timedelta(seconds=60)
    """What a heartbeat extends a lease to."""
    grace: timedelta = timedelta(seconds=30)
    """Beyond the lease, before a run is taken away."""
    sweep: timedelta = timedelta(seconds=15)
    """Between two searches for lost leases."""
    service_lease: timedelta = timedelta(seconds=30)
    """For which one of several servers runs a service."""
    service_renew: timedelta = timedelta(seconds=10)
    """Between two renewals of that."""
    claim_look: timedelta = timedelta(seconds=1)
    """Between two looks of a held claim call at the store; a hint wakes it sooner."""
    claim_wait: timedelta = timedelta(seconds=30)
    """For which a claim call is held at most."""
    max_offline: timedelta = timedelta(seconds=360)
    """For which a worker goes on while its server is known to be down."""
    restart: timedelta = timedelta(seconds=300)
    """Downtime of a server that runs must survive."""
    cancel_push: timedelta = timedelta(seconds=5)
    """In which a request to cancel reaches a worker."""
    cancel_grace: timedelta = timedelta(seconds=30)
    """For a worker to end by itself, before its processes are killed."""
    drain: timedelta = timedelta(seconds=30)
    """For running work to end when a server or worker is told to."""
    request: timedelta = timedelta(seconds=10)
    """For one request."""
    retry_cap: timedelta = timedelta(seconds=15)
    """The longest wait between two tries of a request."""
    schedule: timedelta = timedelta(seconds=10)
    """Between two looks of the scheduler."""
    horizon: timedelta = timedelta(seconds=600)
    """For which all runs of a schedule are made ahead."""
    horizon_few: timedelta = timedelta(seconds=24 * 3600)
    """For which up to ten runs of a schedule are made ahead."""
    submit: timedelta = timedelta(seconds=300)
    """From a claim to the start of the run, before it is rescued."""
    late_reports: timedelta = timedelta(seconds=600)
    """After the end of a run, for its logs and artifacts."""

    def __post_init__(self) -> None:
        for what, holds in {
            "3 x heartbeat <= stop_after": 3 * self.heartbeat <= self.stop_after + _ROUNDING,
            "stop_after + kill_grace + margin <= lease + grace": (
                self.stop_after + self.kill_grace + self.margin <= self.lease + self.grace + _ROUNDING
            ),
            "kill_grace < cancel_grace": self.kill_grace < self.cancel_grace,
            "3 x service_renew <= service_lease": 3 * self.service_renew <= self.service_lease + _ROUNDING,
            "max_offline > restart": self.max_offline > self.restart,
            "request < heartbeat": self.request < self.heartbeat,
            "horizon >= 10 x schedule": self.horizon + _ROUNDING >= 10 * self.schedule,
        }.items():
            if not holds:
                raise ValueError(f"These timings do not fit together: {what} does not hold.")

    @property
    def detection_max(self) -> timedelta:
        """The longest time until a lost worker is noticed without its agent."""
        return self.lease + self.grace + self.sweep

    def divided(self, divisor: float) -> Timings:
        """Return the same, so many times quicker."""
        return replace(self, **{field.name: getattr(self, field.name) / divisor for field in fields(self)})
