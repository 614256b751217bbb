//! With the store lost, history goes on from what status says was in force.

use super::*;

impl Place {
    /// A start without a store.
    fn lose_the_store(&mut self, reported: Option<CommitId>) {
        self.reader = open(&self.dir, None);
        self.reader.reported = reported;
    }
}

#[test]
fn a_history_that_was_rewritten_is_refused_also_with_the_store_lost() {
    let (mut place, good) = Place::example();
    let other = place.begin_anew();
    place.lose_the_store(Some(good));
    let Seen::Resumed(revision, trouble) = place.reader.look() else {
        panic!("what status says was in force is in force again");
    };
    assert_eq!(
        (trouble.reason, &revision.commit),
        ("HistoryRewritten", &other)
    );
    assert_eq!(revision.effective, good.to_string());
    // It is kept, so that the next start knows it without status.
    let (revision, reason) = place.resumed();
    assert_eq!(
        (reason, revision.effective),
        ("HistoryRewritten", good.to_string())
    );
    // The way out is the same, too.
    place.git(&["update-ref", "refs/heads/main", &good.to_string()]);
    let next = place.commit(&[("notes.md", Some("on top"))]);
    let Seen::New(revision) = place.reader.look() else {
        panic!("it descends");
    };
    assert_eq!(revision.effective, next.to_string());
}

#[test]
fn where_the_commit_that_was_in_force_is_nowhere_nothing_is_in_force_without_people() {
    let (mut place, _) = Place::example();
    let nowhere = "1".repeat(40).parse().expect("a commit");
    place.lose_the_store(Some(nowhere));
    for _ in 0..2 {
        let (Seen::Trouble(trouble) | Seen::Same(Some(trouble))) = place.reader.look() else {
            panic!("another history");
        };
        assert_eq!(trouble.reason, "HistoryRewritten");
    }
    // People who begin anew remove the clone of the status branch as well.
    place.lose_the_store(None);
    assert!(matches!(place.reader.look(), Seen::New(_)));
}

#[tokio::test]
async fn what_was_in_force_elsewhere_is_known_as_soon_as_it_is_fetched() {
    let (mut place, good) = Place::example();
    place.commit(&[("policies/simulated.yaml", Some("kind: ["))]);
    let elsewhere = format!("file://{}", place.location());
    place.reader = open_at(&elsewhere, &place.dir, None);
    place.reader.reported = Some(good);
    let Seen::Same(Some(trouble)) = place.reader.look() else {
        panic!("nothing was fetched yet");
    };
    assert_eq!(trouble.reason, UNREADABLE);
    let fetched = place.reader.git.fetch(Duration::from_secs(60)).await;
    fetched.expect("fetched");
    let Seen::New(revision) = place.reader.look() else {
        panic!("the others are in force");
    };
    let names: Vec<_> = revision.policies.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["simulated"], "as it was read last");
    assert_eq!(revision.desired.frozen, BTreeMap::new());
}
