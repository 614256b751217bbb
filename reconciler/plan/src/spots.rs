//! Where the next machine of a target is made: at the first of its places that is not short.

use easyenclave_schemas::{Datacenter, FailureCause, Spot, Timestamp};

use crate::view::View;
use crate::{LaunchOrder, OrderState, Shortage, Target, WaitReason, stages};

/// None of a target's places has room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    /// So many places it has.
    pub(crate) places: u32,
    /// Why the one failed that is tried next.
    pub(crate) cause: FailureCause,
    /// When that one is tried.
    pub(crate) until: Timestamp,
}

/// The place of the next launch; none where a target has no choice.
///
/// # Errors
/// When all of them are short.
pub(crate) fn choose<'v>(view: &View<'v>, target: &'v Target) -> Result<Option<&'v Spot>, Short> {
    let is_free = |spot: &&Spot| shortage(view, spot).is_none();
    if let Some(spot) = target.spots.iter().find(is_free) {
        return Ok(Some(spot));
    }
    let short = target.spots.iter().filter_map(|spot| shortage(view, spot));
    match short.min_by_key(|shortage| shortage.until) {
        None => Ok(None),
        Some(first) => Err(Short {
            places: u32::try_from(target.spots.len()).unwrap_or(u32::MAX),
            cause: first.cause,
            until: first.until,
        }),
    }
}

/// The same in one of a target's datacenters, if it has room there.
pub(crate) fn choose_in<'v>(
    view: &View<'v>,
    target: &'v Target,
    datacenter: &Datacenter,
) -> Option<&'v Spot> {
    let mut spots = target.spots.iter();
    spots.find(|spot| spot.datacenter == *datacenter && shortage(view, spot).is_none())
}

/// The datacenters in which a target can launch now, or else all that it has, in the order of its places.
pub(crate) fn datacenters<'v>(view: &View<'v>, target: &'v Target) -> Vec<&'v Datacenter> {
    let has_room = |spot: &&Spot| shortage(view, spot).is_none();
    let mut datacenters: Vec<&Datacenter> = Vec::new();
    for spot in target.spots.iter().filter(has_room) {
        if !datacenters.contains(&&spot.datacenter) {
            datacenters.push(&spot.datacenter);
        }
    }
    if datacenters.is_empty() {
        datacenters.push(&target.datacenter);
    }
    datacenters
}

/// A place of a target where no worker has listed its machines. Before the first listing there may be machines that no record
/// knows, under ids that a launch would use again, whichever place it takes.
pub(crate) fn unheard(view: &View, target: &Target) -> Option<WaitReason> {
    let mut places = target.places().into_iter();
    let unheard = places.find(|place| view.observed.unheard.contains(place));
    unheard.map(|(provider, datacenter)| WaitReason::WorkerNotHeardYet {
        provider,
        datacenter,
    })
}

/// Whether an order has waited long enough where nobody claims it, while another place of its target has room. Nothing is
/// gained by giving it up where nothing is launched in its stead.
pub(crate) fn is_passed_over(view: &View, target: &Target, order: &LaunchOrder) -> bool {
    let is_elsewhere =
        |spot: &Spot| spot.provider != order.provider || spot.datacenter != order.datacenter;
    let has_room = |spot: &Spot| is_elsewhere(spot) && shortage(view, spot).is_none();
    order.state == OrderState::Open
        && target.spots.iter().any(has_room)
        && stages::claim_by(&view.desired.limits, order) <= view.now
        && unheard(view, target).is_none()
}

/// Why there is no room at a spot. A quota that is used up at one spot of a region is used up at all of them, and where
/// nobody claims an order nobody claims any.
fn shortage<'v>(view: &View<'v>, spot: &Spot) -> Option<&'v Shortage> {
    let shortages = view.observed.shortages.iter();
    let counts = |(at, short): &(&Spot, &Shortage)| {
        let is_wider = match short.cause {
            FailureCause::Quota => is_one_region(at, spot),
            FailureCause::NotClaimed => is_one_place(at, spot),
            _ => false,
        };
        (*at == spot || is_wider) && short.until > view.now
    };
    let short = shortages.filter(counts).map(|(_, short)| short);
    short.max_by_key(|short| short.until)
}

fn is_one_region(one: &Spot, other: &Spot) -> bool {
    is_one_place(one, other) && region(one) == region(other)
}

fn is_one_place(one: &Spot, other: &Spot) -> bool {
    one.provider == other.provider && one.datacenter == other.datacenter
}

/// A zone's name is its region's, and what sets it apart there, as `us-central1-a`.
fn region(spot: &Spot) -> Option<&str> {
    let zone = spot.zone.as_ref()?.as_str();
    Some(zone.rsplit_once('-').map_or(zone, |(region, _)| region))
}

/// Whether a launch that failed for this may well come through at another place.
pub(crate) fn is_of_place(cause: FailureCause) -> bool {
    matches!(
        cause,
        FailureCause::NoCapacity | FailureCause::Quota | FailureCause::NotClaimed
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    const STATE: &str = "target tiny 2 4 at us-a c3-4 at us-b c3-4";

    #[test]
    fn a_launch_takes_the_next_place_when_the_preferred_one_is_short() {
        check(
            STATE,
            "short us-a c3-4 NoCapacity 20",
            expect![[r#"
            launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local zone us-b by process shape c3-4 under sim
            launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local zone us-b by process shape c3-4 under sim"#]],
        );
        check(
            STATE,
            "short us-a c3-4 NoCapacity 0",
            expect![[r#"
            launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local zone us-a by process shape c3-4 under sim
            launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local zone us-a by process shape c3-4 under sim"#]],
        );
    }

    #[test]
    fn a_quota_that_is_used_up_leaves_the_whole_region_out() {
        check(
            "target tiny 1 4 at us-a c3-4 at us-b c3-4 at eu-a c3-4",
            "short us-a c3-4 Quota 20",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local zone eu-a by process shape c3-4 under sim"
            ],
        );
    }

    #[test]
    fn a_launch_that_failed_at_a_short_place_needs_no_rest_at_another() {
        check(
            STATE,
            "short us-a c3-4 NoCapacity 20\norder tiny #0 g1 failed 0 of NoCapacity failures 3\n\
             order tiny #1 g1 failed 0 of NoCapacity",
            expect![[r#"
                launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 4 size tiny in local zone us-b by process shape c3-4 under sim
                wait: target tiny: slots whose last launch failed: 2; the place has no room; one launch tries for all"#]],
        );
        check(
            STATE,
            "short us-a c3-4 NoCapacity 20\norder tiny #0 g1 failed 0 of MachineDied failures 3",
            expect![[r#"
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local zone us-b by process shape c3-4 under sim
                wait: target tiny: launches failed in a row: 4; the machine ended too soon (until 2026-01-01T00:00:16Z)"#]],
        );
    }

    #[test]
    fn nothing_is_launched_while_all_places_are_short() {
        check(
            "target tiny 0 4 at us-a c3-4 at us-b c3-4\ndeploy acme/a x1 v1",
            "short us-a c3-4 NoCapacity 20\nshort us-b c3-4 Quota 10",
            expect![[r#"
                wait: deployment acme/a: places without room now: 2; the provider's quota is used up (until 2026-01-01T00:00:10Z)
                wait: target tiny: places without room now: 2; the provider's quota is used up (until 2026-01-01T00:00:10Z)"#]],
        );
    }

    const PLACES: &str = "target tiny 1 4 in near or process far or cloud gcp-us";

    #[test]
    fn a_launch_goes_to_the_next_place_where_the_preferred_one_has_no_room() {
        check(
            PLACES,
            "",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in near by process under sim"
            ],
        );
        check(
            PLACES,
            "full process near 20",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in far by process under sim"
            ],
        );
        check(
            PLACES,
            "full process near 20\nfull process far 30",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in gcp-us by cloud under sim"
            ],
        );
        check(
            PLACES,
            "full process near 20\nfull process far 30\nfull cloud gcp-us 10",
            expect![
                "wait: target tiny: places without room now: 3; the place has no room (until 2026-01-01T00:00:10Z)"
            ],
        );
        check(
            PLACES,
            "full process near 20\norder tiny #0 g1 failed 0 of NoCapacity",
            expect![
                "launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 1 size tiny in far by process under sim"
            ],
        );
    }

    #[test]
    fn an_order_that_nobody_claims_in_time_goes_to_the_next_place_with_room() {
        let open = "order tiny #0 g1 open by process near opened";
        check(
            PLACES,
            &format!("{open} 59"),
            expect![
                "wait: order tiny-55bb1394b081: its agent has not registered yet (until 2026-01-01T00:00:01Z)"
            ],
        );
        check(
            PLACES,
            &format!("{open} 60"),
            expect!["cancel tiny-55bb1394b081: no worker took the order in time"],
        );
        check(
            PLACES,
            "full process near 20\norder tiny #0 g1 failed 0 of NotClaimed by process near",
            expect![
                "launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 1 size tiny in far by process under sim"
            ],
        );
    }

    #[test]
    fn an_order_that_nobody_claims_stays_and_says_where_while_no_other_place_will_do() {
        let open = "order tiny #0 g1 open by process near opened 60";
        let full = "full process far 30\nfull cloud gcp-us 10";
        check(
            PLACES,
            &format!("{open}\n{full}"),
            expect!["wait: order tiny-55bb1394b081: no worker of process in near has claimed it"],
        );
        check(
            PLACES,
            &format!("{open}\nunheard process near"),
            expect!["wait: order tiny-55bb1394b081: no worker of process in near has claimed it"],
        );
        check(
            "target tiny 1 4 at us-a c3-4 at us-b c3-4",
            "order tiny #0 g1 open opened 60",
            expect!["wait: order tiny-55bb1394b081: no worker of process in local has claimed it"],
        );
    }

    #[test]
    fn an_order_nobody_has_claimed_is_withdrawn_where_its_target_has_no_such_place_any_more() {
        check(
            PLACES,
            "order tiny #0 g1 open by process local",
            expect!["cancel tiny-55bb1394b081: its target has no such place any more"],
        );
        check(
            PLACES,
            "order tiny #0 g1 claimed by process local",
            expect![
                "wait: order tiny-55bb1394b081: its agent has not registered yet (until 2026-01-01T00:10:00Z)"
            ],
        );
    }

    #[test]
    fn where_nobody_claims_an_order_no_zone_is_tried() {
        check(
            "target tiny 1 4 at us-a c3-4 at us-b c3-4 or process far",
            "short us-a c3-4 NotClaimed 20",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in far by process under sim"
            ],
        );
    }

    #[test]
    fn a_target_with_one_place_does_not_wait_for_its_room() {
        check(
            "target tiny 1 4 in near",
            "full process near 20",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in near by process under sim"
            ],
        );
    }

    #[test]
    fn nothing_is_launched_while_one_of_the_places_is_not_heard_of() {
        check(
            PLACES,
            "unheard process far",
            expect![
                "wait: target tiny: no worker of process in far has listed its machines since the start; one is started by `easyenclave worker --provider process --datacenter far`, with `--machines` where its document is of another kind than `process`"
            ],
        );
        check(
            PLACES,
            "unheard process elsewhere",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in near by process under sim"
            ],
        );
    }

    #[test]
    fn agents_at_any_of_the_places_stay_and_others_are_exchanged() {
        check(PLACES, "agent a tiny #0 idle in gcp-us", expect![[r#""#]]);
        check(
            PLACES,
            "agent a tiny #0 idle in local",
            expect![[r#"
            retire a in local: not needed
            launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in near by process under sim"#]],
        );
    }

    #[test]
    fn a_deployment_that_may_not_be_at_one_of_the_places_does_not_use_the_target() {
        let deploy = |place: &str| format!("{PLACES}\ndeploy acme/a x1 v1 {place}");
        let world = "agent a tiny #0 idle in near";
        check(
            &deploy("not-in gcp-us"),
            world,
            expect!["wait: deployment acme/a: no target has agents of this size and place"],
        );
        check(
            &deploy("in near"),
            world,
            expect!["wait: deployment acme/a: no target has agents of this size and place"],
        );
        check(
            &deploy("not-in moon"),
            world,
            expect!["assign acme/a to a generation 2 workload v1"],
        );
    }
}
