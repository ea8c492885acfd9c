"""What a scenario's run says of itself: JSON for scripts and files, k6-like lines for people. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loadgen.metrics import Measured, Trend
from loadgen.runs.summary import iso
from loadgen.scenario.run import Progress, RunResult

QUANTILES = (0.5, 0.9, 0.95, 0.99)


def trend_ms(trend: Trend) -> dict[str, float | None]:
    """Return avg, min, quantiles and max in milliseconds; None where there is no data."""
    values = {"avg": trend.mean_us(), "min": trend.least_us}
    values |= {f"p{100 * quantile:g}": trend.quantile_us(quantile) for quantile in QUANTILES}
    values["max"] = trend.longest_us
    return {name: None if us is None else round(us / 1000, 3) for name, us in values.items()}


def measured_json(measured: Measured) -> dict[str, Any]:
    """Return counts and times of requests."""
    return {
        "intended": measured.intended, "sent": measured.sent, "done": measured.done, "failed": measured.failed,
        "unsent": measured.unsent, "response_ms": trend_ms(measured.response),
        "service_ms": trend_ms(measured.service), "first_byte_ms": trend_ms(measured.first_byte),
        "send_lag_ms": trend_ms(measured.lag), "generator_late_ms": trend_ms(measured.late),
        "reasons": dict(sorted(measured.reasons.items())),
    }  # fmt: skip


def result_json(result: RunResult) -> dict[str, Any]:
    """Return the whole result, as load.json keeps it and --json prints it."""
    plan, scenario = result.plan, result.plan.scenario
    return {
        "run_id": plan.run_id, "service": scenario.service, "scenario": scenario.name, "target": plan.target.url,
        "seed": plan.seed, "generators": plan.size, "status": result.status,
        "started_at": iso(result.started_at), "ended_at": iso(result.started_at + result.seconds),
        "started_at_seconds": result.started_at, "seconds": round(result.seconds, 3),
        "rps": round(result.overall.sent / result.seconds, 3) if result.seconds else None,
        **measured_json(result.overall),
        "routes": {name: measured_json(measured) for name, measured in sorted(result.by_route.items())},
        "checks": {
            name: {"passed": passed, "failed": failed} for name, (passed, failed) in sorted(result.checks.items())
        },
        "thresholds": [judged.to_json() for judged in result.judged],
        "verdict": asdict(result.verdict),
        "generator_cpu_share": round(result.cpu_share, 4),
        "cpu_pressure": None if result.pressure is None else round(result.pressure, 4),
        "response_histogram": result.overall.response.coarse().to_json(),
    }  # fmt: skip


def result_lines(result: RunResult) -> list[str]:
    """Return the summary as k6 prints it, with thresholds first and the verdict last."""
    overall = result.overall
    lines = [f"{'PASS' if one.held else 'FAIL'}  {one.threshold.name}  ({_shown(one.value)})" for one in result.judged]
    for name, (passed, failed) in sorted(result.checks.items()):
        lines.append(f"{'PASS' if not failed else 'FAIL'}  check {name}: {passed} of {passed + failed}")
    rate = f"{overall.failed / overall.sent:.2%}" if overall.sent else "no data"
    per_second = f"{overall.sent / result.seconds:.2f}/s" if result.seconds else "no data"
    rows = [
        ("http_req_duration", _line(overall.response) + "  (from the intended start)"),
        ("http_req_service", _line(overall.service) + "  (from when it was sent)"),
        ("http_req_waiting", _line(overall.first_byte)),
        ("send_lag", _line(overall.lag)),
        ("http_req_failed", f"{rate}  {overall.failed} of {overall.sent}"),
        ("http_reqs", f"{overall.sent}  {per_second}"),
        ("dropped_iterations", f"{overall.unsent}  (unsent, of {overall.intended} intended)"),
    ]
    rows += [(f"  {name}", _line(measured.response)) for name, measured in sorted(result.by_route.items())]
    if overall.reasons:
        rows.append(("reasons", "  ".join(f"{name}={count}" for name, count in sorted(overall.reasons.items()))))
    lines += ["", *(f"{name + ' ':.<24} {text}" for name, text in rows), ""]
    lines.append(f"{result.verdict.status.upper()}  {result.status} after {result.seconds:.1f} s")
    return lines + [f"  {reason}" for reason in result.verdict.reasons]


def progress_json(progress: Progress) -> dict[str, Any]:
    """Return how a run is now, for whoever watches it; milliseconds, None where there is no data."""
    overall = progress.overall
    return {
        "seconds": round(progress.seconds, 1), "total_seconds": progress.total_seconds, "users": progress.users,
        "in_flight": progress.in_flight, "sent": overall.sent, "failed": overall.failed, "unsent": overall.unsent,
        "rps": round(overall.sent / progress.seconds, 2) if progress.seconds > 0 else None,
        "response_ms": trend_ms(overall.response), "send_lag_ms": trend_ms(overall.lag),
    }  # fmt: skip


def progress_line(progress: Progress) -> str:
    """Return the run as one line."""
    overall, left = progress.overall, max(0.0, progress.total_seconds - progress.seconds)
    rate = overall.sent / progress.seconds if progress.seconds > 0 else 0.0
    shown = [overall.response.quantile_us(quantile) for quantile in (0.5, 0.95, 0.99)]
    times = "/".join("-" if us is None else f"{us / 1000:.0f}" for us in shown)
    lag = overall.lag.quantile_us(0.99)
    return (
        f"{rate:.0f}/s  {progress.users} users  {overall.failed} failed  {overall.unsent} unsent  "
        f"p50/95/99 {times} ms  send lag p99 "
        f"{'-' if lag is None else f'{lag / 1000:.1f} ms'}  {left:.0f} s left"
    )


def _line(trend: Trend) -> str:
    wanted = ("avg", "p50", "p95", "p99", "max")
    values = trend_ms(trend)
    return "  ".join(f"{name}={'no data' if values[name] is None else f'{values[name]:.2f}ms'}" for name in wanted)


def _shown(value: float | None) -> str:
    return "no data" if value is None else f"{value:.4g}"
