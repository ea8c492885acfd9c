"""Reverts of our floor that stored patches tell of, beside those that are seen now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from forecaster.actuators.reverts import Revert, reverts_in, with_reverts_before
from forecaster.loop.journal import UNKNOWN
from forecaster.store.outcomes import Patch
from tests.unit.forecaster_fakes import HPA

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def patch(minute: int, before: int | None, after: int, *, error: str | None = None, release: bool = False) -> Patch:
    return Patch(
        id=f"patch-{minute:02}",
        service="shop",
        at=NOON + minute * MINUTE,
        action="release" if release else "apply",
        floor_before=before,
        floor_after=after,
        ready_before=3,
        applied=error is None,
        error=error,
    )


def reverts(*patches: Patch) -> tuple[Revert, ...]:
    return reverts_in(patches, real=lambda at: at)


def minutes(found: tuple[Revert, ...]) -> list[tuple[int, int]]:
    return [((one.after - NOON) // MINUTE, (one.by - NOON) // MINUTE) for one in found]


def test_another_floor_than_the_one_we_applied_is_a_revert() -> None:
    assert minutes(reverts(patch(0, 3, 9), patch(10, 3, 9), patch(20, 3, 8))) == [(0, 10), (10, 20)]


def test_floors_that_follow_on_each_other_and_releases_are_none() -> None:
    assert reverts(patch(0, 3, 9), patch(10, 9, 12), patch(20, 12, 3, release=True), patch(30, 5, 9)) == ()


def test_a_revert_is_one_however_often_we_tried_against_it() -> None:
    held = "held by argocd-controller"
    tries = (patch(0, 3, 9), patch(10, 3, 9, error=held), patch(15, 3, 10, error=held), patch(20, 4, 9, error=held))
    assert minutes(reverts(*tries)) == [(0, 10)]


def test_the_floor_of_a_change_of_which_nobody_knows_is_no_reverted_one() -> None:
    lost = patch(10, 9, 12, error=UNKNOWN)
    for floor in (9, 12):  # it was applied or it was not
        assert reverts(patch(0, 3, 9), lost, patch(20, floor, 14)) == ()
    assert minutes(reverts(patch(0, 3, 9), lost, patch(20, 3, 9))) == [(0, 20)]


def test_order_does_not_matter_and_what_could_not_be_read_says_nothing() -> None:
    assert minutes(reverts(patch(20, 3, 8), patch(10, None, 9), patch(0, 3, 9))) == [(10, 20)]


def test_a_revert_that_is_seen_and_told_is_counted_once() -> None:
    told = reverts(patch(0, 3, 9), patch(10, 3, 9), patch(20, 3, 9, error="held by argocd-controller"))
    for seen, known in (
        ((5,), (5, 20)),  # the first, seen by this process, and the second, told only
        ((12,), (10, 12)),  # the second, which is still so
        ((5, 12), (5, 12)),
        ((), (10, 20)),
    ):
        instants = tuple(NOON + minute * MINUTE for minute in seen)
        both = with_reverts_before(replace(HPA, reverts=len(seen), reverted_at=instants), told, now=NOON + 21 * MINUTE)
        assert both.reverted_at == tuple(NOON + minute * MINUTE for minute in known)
        assert both.reverts == 2


def test_the_next_revert_is_not_taken_for_the_one_before() -> None:
    told = reverts(patch(0, 3, 9), patch(10, 3, 9))
    seen = replace(HPA, reverts=1, reverted_at=(NOON + 11 * MINUTE,))
    assert with_reverts_before(seen, told, now=NOON + 12 * MINUTE).reverts == 2


def test_reverts_are_forgotten_after_half_an_hour() -> None:
    told = reverts(patch(0, 3, 9), patch(10, 3, 9))
    seen = replace(HPA, reverted_at=())
    assert with_reverts_before(seen, told, now=NOON + 39 * MINUTE).reverts == 1
    assert with_reverts_before(seen, told, now=NOON + 40 * MINUTE).reverts == 0


def test_an_autoscaler_without_field_managers_is_said_to_have_no_reverts() -> None:
    told = reverts(patch(0, 3, 9), patch(10, 3, 9))
    assert with_reverts_before(HPA, told, now=NOON + 11 * MINUTE) == HPA
