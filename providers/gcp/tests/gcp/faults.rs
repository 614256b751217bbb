//! What goes wrong, and what comes of it: the right cause, no second machine, nothing taken for gone that is there.

use std::error::Error as _;

use easyenclave_capacity::{LaunchRequest, ProvideError, Provider};
use easyenclave_gcp::fake::{Fault, Verb};
use easyenclave_schemas::FailureCause;
use serde_json::json;

use crate::oracle::contract;
use crate::stand::{SOON, Side, ZONES, open, open_at, order, owner, wanted};

/// An error with its causes.
fn told(error: &ProvideError) -> String {
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

/// Whether all that was said is in Google's words, as far as they are to be had.
fn is_in_googles_words(side: &Side) {
    let Some(contract) = contract() else {
        return;
    };
    for said in side.fake.said() {
        assert_eq!(
            contract.judge(&said),
            Vec::<String>::new(),
            "{} {}",
            said.method,
            said.path
        );
    }
}

#[tokio::test]
async fn each_refusal_has_its_cause() {
    for (fault, cause, word) in [
        (
            Fault::Fails(Verb::Insert, "ZONE_RESOURCE_POOL_EXHAUSTED", "no c3 now"),
            FailureCause::NoCapacity,
            "no c3 now",
        ),
        (
            Fault::Fails(
                Verb::Insert,
                "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
                "no",
            ),
            FailureCause::NoCapacity,
            "no",
        ),
        (
            Fault::Fails(Verb::Insert, "STOCKOUT", "none"),
            FailureCause::NoCapacity,
            "STOCKOUT",
        ),
        (
            Fault::Fails(Verb::Insert, "QUOTA_EXCEEDED", "Quota 'C3_CPUS' exceeded"),
            FailureCause::Quota,
            "C3_CPUS",
        ),
        (
            Fault::Fails(Verb::Insert, "SOMETHING_NEW", "who knows"),
            FailureCause::ProviderDown,
            "SOMETHING_NEW",
        ),
        (
            Fault::Refused(
                Verb::Insert,
                403,
                "quotaExceeded",
                "Quota 'C3_CPUS' exceeded",
            ),
            FailureCause::Quota,
            "C3_CPUS",
        ),
        (
            Fault::Refused(Verb::Insert, 403, "rateLimitExceeded", "slower"),
            FailureCause::ProviderDown,
            "slower",
        ),
        (
            Fault::Refused(Verb::Insert, 429, "rateLimitExceeded", "slower"),
            FailureCause::ProviderDown,
            "slower",
        ),
        (
            Fault::Refused(Verb::Insert, 403, "forbidden", "compute.instances.create"),
            FailureCause::Refused,
            "compute.instances.create",
        ),
        (
            Fault::Refused(Verb::Insert, 400, "invalid", "no such image"),
            FailureCause::Refused,
            "no such image",
        ),
        (
            Fault::Refused(
                Verb::Insert,
                400,
                "resourceNotReady",
                "the subnetwork is not",
            ),
            FailureCause::ProviderDown,
            "the subnetwork is not",
        ),
        (
            Fault::Refused(Verb::Insert, 409, "alreadyExists", "the disk is there"),
            FailureCause::ProviderDown,
            "the disk is there",
        ),
        (
            Fault::Refused(Verb::Insert, 401, "authError", "who are you"),
            FailureCause::Refused,
            "who are you",
        ),
        (
            Fault::Refused(Verb::Insert, 503, "backendError", "later"),
            FailureCause::ProviderDown,
            "later",
        ),
        (
            Fault::Refused(Verb::Insert, 503, "ZONE_RESOURCE_POOL_EXHAUSTED", "no"),
            FailureCause::NoCapacity,
            "no",
        ),
    ] {
        let side = Side::new().await;
        side.fake.meet(fault.clone());
        let error = side.ensure("a").await.expect_err("it does not work");
        assert_eq!(error.cause(), cause, "{fault:?}: {error:?}");
        assert!(told(&error).contains(word), "{fault:?}: {}", told(&error));
        is_in_googles_words(&side);
        side.remove("a").await.expect("removed");
        assert_eq!(side.names(), Vec::<String>::new(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_shortage_names_its_zone_and_its_kind_of_machine() {
    let side = Side::new().await;
    side.fake.meet(Fault::Fails(
        Verb::Insert,
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "no",
    ));
    match side.ensure("a").await {
        Err(ProvideError::Stockout { zone, shape, .. }) => {
            assert_eq!(
                (zone.as_str(), shape.as_str()),
                ("us-central1-a", "c3-standard-4")
            );
        }
        other => panic!("{other:?}"),
    }
    // The next try is a new one: that the last one has failed says nothing of it.
    side.ensure("a").await.expect("there is room again");
    is_in_googles_words(&side);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_machine_and_leaves_none_behind() {
    let side = Side::new().await;
    side.fake.meet(Fault::LostAnswer(Verb::Insert));
    let error = side.ensure("a").await.expect_err("nobody heard");
    assert_eq!(error.cause(), FailureCause::ProviderDown);
    side.ensure("a").await.expect("it is there");
    assert_eq!(side.names().len(), 1);
    let asked: Vec<_> = side
        .said("POST")
        .into_iter()
        .map(|said| said.query)
        .collect();
    assert!(
        asked.windows(2).all(|pair| pair[0] == pair[1]),
        "the same request: {asked:?}"
    );
    side.fake.meet(Fault::LostAnswer(Verb::Delete));
    side.remove("a").await.expect_err("nobody heard");
    side.remove("a").await.expect("it is gone");
    assert_eq!(side.names(), Vec::<String>::new());
    is_in_googles_words(&side);
}

#[tokio::test]
async fn a_machine_whose_launch_was_not_heard_of_is_found_and_removed_by_the_next_worker() {
    let side = Side::new().await;
    side.fake.meet(Fault::LostAnswer(Verb::Insert));
    side.ensure("a").await.expect_err("nobody heard");
    open(&side.fake)
        .await
        .remove(&order("a"))
        .await
        .expect("removed");
    assert_eq!(side.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_operation_that_never_ends_is_waited_for_and_not_repeated() {
    let mut side = Side::new().await;
    side.provider = open_at(&side.fake, SOON).await;
    side.fake.meet(Fault::NeverOver(Verb::Insert));
    for _ in 0..3 {
        let error = side.ensure("a").await.expect_err("it takes long");
        assert!(
            told(&error).contains("it is not over yet"),
            "{}",
            told(&error)
        );
        assert_eq!(error.cause(), FailureCause::ProviderDown);
    }
    assert_eq!(side.names().len(), 1);
    side.provider = open(&side.fake).await;
    side.remove("a").await.expect("removed");
    assert_eq!(side.names(), Vec::<String>::new());
    is_in_googles_words(&side);
}

#[tokio::test]
async fn an_old_answer_is_not_taken_for_a_new_one() {
    let side = Side::new().await;
    for _ in 0..4 {
        side.ensure("a").await.expect("made");
        assert_eq!(
            side.listed().await.expect("listed"),
            [("a".to_owned(), true)]
        );
        side.remove("a").await.expect("removed");
        assert_eq!(side.names(), Vec::<String>::new());
    }
    // A failed removal is tried anew, and not remembered for ever.
    side.ensure("a").await.expect("made");
    side.fake
        .meet(Fault::Fails(Verb::Delete, "INTERNAL_ERROR", "not now"));
    side.remove("a").await.expect_err("not now");
    side.remove("a").await.expect("now");
    assert_eq!(side.names(), Vec::<String>::new());
    is_in_googles_words(&side);
}

#[tokio::test]
async fn the_name_of_an_older_claim_is_freed_and_one_of_this_claim_is_enough() {
    let side = Side::new().await;
    let newer = LaunchRequest {
        fence: 4,
        ..wanted("a", |_| {})
    };
    side.ensure("a").await.expect("made");
    // It is not in listings yet, as right after a restart.
    let name = owner().machine(&order("a"));
    side.fake.hide(&[&name]);
    let next = open(&side.fake).await;
    next.ensure(&wanted("a", |_| {}))
        .await
        .expect("it is there");
    assert_eq!(side.names().len(), 1);
    let last = open(&side.fake).await;
    last.ensure(&newer)
        .await
        .expect_err("the older one is in the way, and goes");
    side.fake.hide(&[]);
    last.ensure(&newer).await.expect("made");
    let machines = side.fake.machines();
    assert_eq!(machines.len(), 1);
    assert_eq!(machines[0]["labels"]["easyenclave-fence"], "4");
    is_in_googles_words(&side);
}

#[tokio::test]
async fn a_listing_that_lacks_a_machine_which_is_there_is_no_listing() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    let name = owner().machine(&order("a"));
    side.fake.hide(&[&name]);
    let error = side.listed().await.expect_err("it is there");
    assert!(told(&error).contains("which is there"), "{}", told(&error));
    side.fake.hide(&[]);
    assert_eq!(side.listed().await.expect("listed").len(), 1);
    side.remove("a").await.expect("removed");
    assert_eq!(side.listed().await.expect("listed"), []);
}

#[tokio::test]
async fn a_machine_that_was_asked_for_a_moment_ago_is_listed_before_listings_show_it() {
    let side = Side::new().await;
    side.fake.hide(&[&owner().machine(&order("a"))]);
    side.fake.meet(Fault::LostAnswer(Verb::Insert));
    side.ensure("a").await.expect_err("nobody heard");
    let listed = side.listed().await.expect("listed");
    assert_eq!(listed, [("a".to_owned(), true)]);
    // From now on a listing without it is none.
    side.listed().await.expect_err("it is there");
    side.fake.heal();
    side.remove("a").await.expect("removed");
    assert_eq!(side.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_listing_has_every_page_or_is_an_error() {
    let side = Side::new().await;
    for name in ["a", "b", "c"] {
        side.ensure(name).await.expect("made");
    }
    side.provider
        .ensure(&wanted("d", |machine| {
            machine.zone = ZONES[1].parse().expect("a name")
        }))
        .await
        .expect("made");
    side.fake.set_page(1);
    let expected: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| (name.to_owned(), true))
        .into();
    assert_eq!(side.listed().await.expect("listed"), expected);
    for fault in [
        Fault::Refused(Verb::List, 503, "backendError", "later"),
        Fault::LostAnswer(Verb::List),
        Fault::Refused(Verb::List, 403, "forbidden", "compute.instances.list"),
    ] {
        side.fake.meet(fault);
        side.listed().await.expect_err("not all of it");
    }
    is_in_googles_words(&side);
}

#[tokio::test]
async fn what_google_repeats_of_the_token_is_not_told() {
    let side = Side::new().await;
    let mut request = wanted("a", |_| {});
    request.bootstrap_token = easyenclave_schemas::Secret::new("ab".repeat(32));
    let message = "Invalid value for field 'resource.metadata': 'abababababababababababababababababababababababababababababababab'";
    side.fake
        .meet(Fault::Refused(Verb::Insert, 400, "invalid", message));
    let error = side.provider.ensure(&request).await.expect_err("refused");
    assert!(
        told(&error).contains("<secret>") && !told(&error).contains("abab"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn a_protected_machine_is_told_and_stays() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    let mut machine = side.fake.machines().remove(0);
    machine["deletionProtection"] = json!(true);
    side.fake.put(ZONES[0], machine);
    let error = side.remove("a").await.expect_err("protected");
    assert!(told(&error).contains("protected"), "{}", told(&error));
    assert_eq!(side.names().len(), 1);
    is_in_googles_words(&side);
}

#[tokio::test]
async fn a_machine_whose_labels_were_taken_away_is_not_taken_for_gone() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    side.listed().await.expect("listed");
    let name = owner().machine(&order("a"));
    let machine = side.fake.machines().remove(0);
    side.fake.set_labels(&name, &json!({}));
    let error = side.listed().await.expect_err("it may serve");
    let said = told(&error);
    assert!(
        said.contains(&name) && said.contains("not ours any more"),
        "{said}"
    );
    side.fake.set_labels(&name, &machine["labels"]);
    assert_eq!(side.listed().await.expect("listed").len(), 1);
    is_in_googles_words(&side);
}
