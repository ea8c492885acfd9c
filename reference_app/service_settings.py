"""The settings of bookings, payments, jobs and overload, read once from the environment by the composition roots.

Every measure has its switch here: at 0 or `off` the app does without it, so that its effect can be measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from reference_app.environment import SettingError, number, switch
from reference_app.jobs.sweep import SweepTerms
from reference_app.jobs.terms import DEFAULT_CONCURRENCY, JobTerms
from reference_app.limits import OverloadTerms
from reference_app.payment_provider import ProviderTerms
from reference_app.purchases import PurchaseTerms

SHORTEST_ADMIN_TOKEN = 16


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the service works. admin_token None: there are no admin routes. jobs False: the request does their work."""

    overload: OverloadTerms
    purchases: PurchaseTerms
    provider: ProviderTerms
    provider_seed: int
    jobs: bool
    job_terms: JobTerms
    sweep: SweepTerms
    hold_sweep: bool
    seat_lock: bool
    fields: bool
    pricing_rules: bool
    finish_seconds: int
    admin_token: str | None
    smtp_url: str | None
    mail_folder: Path
    jobs_port: int

    def __repr__(self) -> str:
        return "ServiceSettings(...)"  # the token is not for logs


def service_settings_from_environment(environ: Mapping[str, str]) -> ServiceSettings:
    """Return the settings. Raises SettingError naming the variable, what was expected and what came."""
    token = environ.get("REFERENCE_APP_ADMIN_TOKEN") or None
    if token is not None and len(token) < SHORTEST_ADMIN_TOKEN:
        raise SettingError(f"REFERENCE_APP_ADMIN_TOKEN: expected at least {SHORTEST_ADMIN_TOKEN} characters")
    data = Path(environ.get("TIDEGAUGE_DATA") or ".tidegauge")
    return ServiceSettings(
        overload=_overload(environ),
        purchases=PurchaseTerms(
            hold=timedelta(seconds=number(environ, "REFERENCE_APP_HOLD_SECONDS", "900", float, at_least=0.1)),
        ),
        provider=_provider(environ),
        provider_seed=number(environ, "REFERENCE_APP_PAYMENT_SEED", "1", int, at_least=0),
        jobs=switch(environ, "REFERENCE_APP_JOBS"),
        job_terms=_jobs(environ),
        sweep=SweepTerms(
            every_seconds=_milliseconds(environ, "REFERENCE_APP_SWEEP_MS", "1000", at_least=10),
            settle_after_seconds=_milliseconds(environ, "REFERENCE_APP_SETTLE_AFTER_MS", "30000", at_least=1),
            again_after_seconds=_milliseconds(environ, "REFERENCE_APP_REFUND_AGAIN_MS", "300000", at_least=1),
        ),
        hold_sweep=switch(environ, "REFERENCE_APP_HOLD_SWEEP"),
        seat_lock=switch(environ, "REFERENCE_APP_SEAT_LOCK"),
        fields=switch(environ, "REFERENCE_APP_FIELDS"),
        pricing_rules=switch(environ, "REFERENCE_APP_PRICING_RULES"),
        finish_seconds=number(environ, "REFERENCE_APP_FINISH_SECONDS", "10", int, at_least=0),
        admin_token=token,
        smtp_url=_smtp_url(environ),
        mail_folder=Path(environ.get("REFERENCE_APP_MAIL_FOLDER") or data / "mail"),
        jobs_port=number(environ, "REFERENCE_APP_JOBS_PORT", "8020", int, at_least=0),
    )


def _smtp_url(environ: Mapping[str, str]) -> str | None:
    url = environ.get("REFERENCE_APP_SMTP_URL") or None
    if url is not None and not url.startswith("smtp://"):
        raise SettingError("REFERENCE_APP_SMTP_URL: expected smtp://host:port, got something else")
    return url


def _overload(environ: Mapping[str, str]) -> OverloadTerms:
    return OverloadTerms(
        concurrency=number(environ, "REFERENCE_APP_CONCURRENCY", "64", int, at_least=0),
        queue=number(environ, "REFERENCE_APP_QUEUE", "128", int, at_least=0),
        wait_seconds=_milliseconds(environ, "REFERENCE_APP_QUEUE_WAIT_MS", "1000", at_least=1),
        deadline_seconds=_milliseconds(environ, "REFERENCE_APP_DEADLINE_MS", "5000", at_least=0),
    )


def _provider(environ: Mapping[str, str]) -> ProviderTerms:
    declined = number(environ, "REFERENCE_APP_PAYMENT_DECLINED_SHARE", "0", float, at_least=0)
    failed = number(environ, "REFERENCE_APP_PAYMENT_FAILED_SHARE", "0", float, at_least=0)
    timeout = number(environ, "REFERENCE_APP_PAYMENT_TIMEOUT_SHARE", "0", float, at_least=0)
    if declined + failed + timeout > 1:
        shares = f"{declined:g}, {failed:g} and {timeout:g}"
        raise SettingError(f"REFERENCE_APP_PAYMENT_..._SHARE: expected at most 1 in all, got {shares}")
    return ProviderTerms(
        mean_latency_seconds=_milliseconds(environ, "REFERENCE_APP_PAYMENT_LATENCY_MS", "20", at_least=0),
        timeout_seconds=_milliseconds(environ, "REFERENCE_APP_PAYMENT_TIMEOUT_MS", "1000", at_least=0),
        declined_share=declined,
        failed_share=failed,
        timeout_share=timeout,
    )


def _jobs(environ: Mapping[str, str]) -> JobTerms:
    settings = {
        "email": "REFERENCE_APP_JOB_CONCURRENCY_EMAIL",
        "payments": "REFERENCE_APP_JOB_CONCURRENCY_PAYMENTS",
        "analytics": "REFERENCE_APP_JOB_CONCURRENCY_ANALYTICS",
    }
    return JobTerms(
        concurrency={
            queue: number(environ, name, str(DEFAULT_CONCURRENCY[queue]), int, at_least=1)
            for queue, name in settings.items()
        },
        attempts=number(environ, "REFERENCE_APP_JOB_ATTEMPTS", "3", int, at_least=1),
        backoff_seconds=_milliseconds(environ, "REFERENCE_APP_JOB_BACKOFF_MS", "2000", at_least=1),
        keep_done=number(environ, "REFERENCE_APP_JOB_KEEP_DONE", "100", int, at_least=0),
        keep_failed=number(environ, "REFERENCE_APP_JOB_KEEP_FAILED", "50", int, at_least=0),
        lock_seconds=_milliseconds(environ, "REFERENCE_APP_JOB_LOCK_MS", "10000", at_least=200),
        lost_seconds=_milliseconds(environ, "REFERENCE_APP_JOB_LOST_MS", "30000", at_least=100),
    )


def _milliseconds(environ: Mapping[str, str], name: str, default: str, *, at_least: float) -> float:
    return number(environ, name, default, float, at_least=at_least) / 1000
