//! What goes wrong, what is said of it, and that nothing is changed on the strength of it.

use std::time::Duration;

use easyenclave_tunnel::testing::server::{Fault, Verb};
use easyenclave_tunnel::{Next, Pace, TunnelError};

use crate::stand::{Side, mark, pace};

fn pause(seconds: u64) -> Next {
    Next::WaitUntil(Duration::from_secs(seconds))
}

/// A fleet with two agents, each with a name, and an entry a page.
async fn two() -> Side {
    let side = Side::new().await;
    for (name, label) in [("a", "app"), ("b", "web")] {
        side.ensure(name).await.expect("made");
        side.point(label, name).await.expect("pointed");
    }
    side.server.set_page(1);
    side
}

const BOTH: [&str; 6] = [
    "a.example.com -> ee.prod.a",
    "app.example.com -> ee.prod.a",
    "b.example.com -> ee.prod.b",
    "tunnel ee.prod.a",
    "tunnel ee.prod.b",
    "web.example.com -> ee.prod.b",
];

/// Every verb with this fault before it: none changes anything, and each says what happens next.
async fn nothing_changes(fault: impl Fn(Verb) -> Fault, verbs: [Verb; 2], next: Next) {
    for verb in verbs {
        for call in 0..5 {
            let side = two().await;
            side.server.meet(fault(verb));
            let (ended, mut changes) = side.changes_of(one(&side, call)).await;
            // Who is to be removed may be cut off meanwhile.
            changes.retain(|change| call != 0 || !change.ends_with("/connections"));
            match ended {
                Err(error) => assert_eq!(error.next, next, "{call} {error}"),
                // It has not asked for that.
                Ok(()) => assert!(verb == Verb::ListTunnels && call == 2, "{verb:?} {call}"),
            }
            if call != 2 || verb == Verb::ListRecords {
                assert_eq!(changes, [] as [&str; 0], "{verb:?} {call}");
                assert_eq!(side.server.summary(), BOTH);
            }
        }
    }
}

async fn one(side: &Side, call: usize) -> Result<(), TunnelError> {
    match call {
        0 => side.remove("a").await,
        1 => side.point("app", "b").await,
        2 => side.unpoint("app").await,
        3 => side.ensure("a").await.map(drop),
        _ => side.list().await.map(drop),
    }
}

const LISTS: [Verb; 2] = [Verb::ListTunnels, Verb::ListRecords];

#[tokio::test]
async fn a_listing_that_may_lack_something_changes_nothing() {
    nothing_changes(Fault::Short, LISTS, Next::Retry).await;
    nothing_changes(Fault::Garbage, LISTS, Next::Retry).await;
}

#[tokio::test]
async fn a_listing_without_its_second_page_changes_nothing() {
    for verb in LISTS {
        let side = two().await;
        // All there is comes for each question, one at a time.
        side.server.set_deaf(true);
        for call in 0..5 {
            side.server.meet(Fault::NoSecondPage(verb));
            let (ended, mut changes) = side.changes_of(one(&side, call)).await;
            changes.retain(|change| call != 0 || !change.ends_with("/connections"));
            if call == 2 && verb == Verb::ListTunnels {
                continue;
            }
            assert_eq!(ended.expect_err("it broke off").next, Next::Retry);
            assert_eq!(changes, [] as [&str; 0], "{verb:?} {call}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_there_were_too_many_changes_nothing() {
    nothing_changes(|verb| Fault::TooMany(verb, None), LISTS, pause(300)).await;
    nothing_changes(|verb| Fault::TooMany(verb, Some(7)), LISTS, pause(7)).await;
}

#[tokio::test]
async fn an_answer_that_is_a_failure_changes_nothing() {
    nothing_changes(|verb| Fault::Refused(verb, 500, 0), LISTS, Next::Retry).await;
    nothing_changes(|verb| Fault::Refused(verb, 200, 7), LISTS, Next::Retry).await;
    nothing_changes(
        |verb| Fault::Refused(verb, 403, 10000),
        LISTS,
        Next::NeedsPerson,
    )
    .await;
}

#[tokio::test]
async fn after_an_answer_that_there_were_too_many_nothing_is_asked() {
    let side = two().await;
    side.server.meet(Fault::TooMany(Verb::ListTunnels, None));
    let error = side.remove("a").await.expect_err("too many");
    assert_eq!(error.next, pause(300));
    let asked = side.server.said().len();
    for call in 0..5 {
        let error = one(&side, call).await.expect_err("it rests");
        let Next::WaitUntil(rest) = error.next else {
            panic!("{error:?}");
        };
        assert!(
            rest <= Duration::from_secs(300) && rest > Duration::from_secs(200),
            "{rest:?}"
        );
    }
    assert_eq!(side.server.said().len(), asked, "nothing was asked");
}

#[tokio::test]
async fn a_rest_that_the_answer_names_is_kept_to_and_ends() {
    let side = two().await;
    side.server.meet(Fault::TooMany(Verb::ListTunnels, Some(1)));
    let error = side.list().await.expect_err("too many");
    assert_eq!(error.next, pause(1));
    let error = side.list().await.expect_err("it rests");
    let Next::WaitUntil(rest) = error.next else {
        panic!("{error:?}");
    };
    tokio::time::pause();
    tokio::time::advance(rest).await;
    tokio::time::resume();
    side.list().await.expect("it has rested");
}

#[tokio::test]
async fn nobody_is_asked_more_often_than_is_allowed() {
    let pace = Pace {
        calls: 12,
        kept: 0,
        ..pace()
    };
    let side = Side::with(|settings| settings.pace = pace).await;
    // One request more, and the server would say so.
    side.server.set_limit(Some(12));
    let mut waits = 0;
    for name in ["a", "b", "c", "d", "e"] {
        if let Err(error) = side.ensure(name).await {
            assert!(matches!(error.next, Next::WaitUntil(_)), "{error}");
            waits += 1;
        }
    }
    assert!(waits >= 2);
    let said = side.server.said();
    assert_eq!(said.len(), 12);
    assert!(said.iter().all(|said| said.status == 200));
}

#[tokio::test]
async fn a_tunnel_with_connections_is_deleted_by_a_later_call() {
    let side = two().await;
    side.server.connect_stubbornly(&mark("a"), 2);
    for _ in 0..2 {
        let (ended, changes) = side.changes_of(side.remove("a")).await;
        let error = ended.expect_err("it has connections");
        assert_eq!(error.next, pause(10));
        assert_eq!(
            error.to_string(),
            "removing the tunnel of a: it answered 400: Cannot delete tunnel because it has active connections. (1022)"
        );
        let deletes = changes
            .iter()
            .filter(|change| change.starts_with("DELETE") && change.contains("cfd_tunnel"));
        assert_eq!(
            deletes.count(),
            2,
            "its connections once, and itself once: {changes:?}"
        );
        // It lets nobody in already, and no name leads to it.
        let names = side.server.summary();
        assert!(
            !names.iter().any(|line| line.ends_with("-> ee.prod.a")),
            "{names:?}"
        );
        let tunnels = side.server.tunnels();
        let rules = serde_json::json!({"ingress": [{"service": "http_status:404"}]});
        assert_eq!(tunnels[0]["config"], rules);
    }
    side.remove("a").await.expect("removed");
    assert_eq!(
        side.server.summary(),
        [
            "b.example.com -> ee.prod.b",
            "tunnel ee.prod.b",
            "web.example.com -> ee.prod.b"
        ]
    );
}

#[tokio::test]
async fn a_tunnel_lets_nobody_in_while_its_names_cannot_be_removed() {
    let side = two().await;
    side.server.meet(Fault::Refused(Verb::DeleteRecord, 500, 0));
    let error = side.remove("a").await.expect_err("a name is left");
    assert_eq!(error.next, Next::Retry);
    assert_eq!(side.server.summary(), BOTH, "all is there still");
    let rules = serde_json::json!({"ingress": [{"service": "http_status:404"}]});
    assert_eq!(side.server.tunnels()[0]["config"], rules);
    side.server.heal();
    side.remove("a").await.expect("removed");
}

#[tokio::test]
async fn who_is_connected_is_cut_off_while_records_cannot_be_read() {
    let side = two().await;
    side.server.meet(Fault::Refused(Verb::ListRecords, 500, 0));
    let (ended, changes) = side.changes_of(side.remove("a")).await;
    assert_eq!(ended.expect_err("it cannot be removed").next, Next::Retry);
    let id = side.server.tunnel_id(&mark("a")).expect("it is there");
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert!(
        change.ends_with(&format!("/cfd_tunnel/{id}/connections")),
        "{change}"
    );
    assert_eq!(side.server.summary(), BOTH, "all is there still");
}

#[tokio::test]
async fn a_tunnel_is_removed_when_nothing_else_may_be_asked() {
    let pace = Pace {
        calls: 20,
        kept: 12,
        ..pace()
    };
    let side = Side::with(|settings| settings.pace = pace).await;
    side.ensure("a").await.expect("made");
    let error = loop {
        if let Err(error) = side.list().await {
            break error;
        }
    };
    assert!(matches!(error.next, Next::WaitUntil(_)), "{error}");
    side.remove("a").await.expect("removed");
    assert_eq!(side.server.summary(), [] as [&str; 0]);
}

#[tokio::test]
async fn what_was_made_and_not_heard_of_is_found() {
    for verb in [
        Verb::MakeTunnel,
        Verb::SetRules,
        Verb::MakeRecord,
        Verb::Token,
    ] {
        let side = Side::new().await;
        side.server.meet(Fault::LostAnswer(verb));
        if verb != Verb::Token {
            let error = side.ensure("a").await.expect_err("nobody heard of it");
            assert_eq!(error.next, Next::Retry, "{error}");
        }
        side.ensure("a").await.expect("made");
        assert_eq!(
            side.server.summary(),
            ["a.example.com -> ee.prod.a", "tunnel ee.prod.a"]
        );
    }
    for verb in [
        Verb::DeleteRecord,
        Verb::SetRules,
        Verb::DropConnections,
        Verb::DeleteTunnel,
    ] {
        let side = two().await;
        side.server.meet(Fault::LostAnswer(verb));
        side.remove("a").await.expect_err("nobody heard of it");
        side.remove("a").await.expect("removed");
        assert_eq!(
            side.server.summary(),
            [
                "b.example.com -> ee.prod.b",
                "tunnel ee.prod.b",
                "web.example.com -> ee.prod.b"
            ]
        );
    }
    let side = two().await;
    side.server.meet(Fault::LostAnswer(Verb::ChangeRecord));
    side.point("app", "b")
        .await
        .expect_err("nobody heard of it");
    side.point("app", "b").await.expect("pointed");
    assert!(
        side.server
            .summary()
            .contains(&"app.example.com -> ee.prod.b".to_owned())
    );
}

#[tokio::test]
async fn a_tunnel_that_exists_all_the_same_is_looked_for_again() {
    for status in [400, 409] {
        let side = Side::new().await;
        side.server
            .meet(Fault::Refused(Verb::MakeTunnel, status, 1013));
        assert_eq!(
            side.ensure("a").await.expect_err("it exists").next,
            Next::Retry
        );
        side.ensure("a").await.expect("made");
    }
}

#[tokio::test]
async fn a_name_moves_by_one_change() {
    let side = two().await;
    let (ended, changes) = side.changes_of(side.point("app", "b")).await;
    ended.expect("pointed");
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("PATCH /zones/"), "{changes:?}");
    let (ended, changes) = side.changes_of(side.point("app", "b")).await;
    ended.expect("pointed");
    assert_eq!(changes, [] as [&str; 0]);
}

#[tokio::test]
async fn who_is_ensured_again_is_only_looked_at() {
    let side = two().await;
    let before = side.server.said().len();
    let (ended, changes) = side.changes_of(side.ensure("a")).await;
    ended.expect("ensured");
    assert_eq!(changes, [] as [&str; 0]);
    assert_eq!(side.server.said().len() - before, 3);
}

#[tokio::test]
async fn no_token_is_in_an_error() {
    let side = Side::with(|settings| {
        settings.token = easyenclave_schemas::Secret::new("wrong-0123456789".into())
    })
    .await;
    let error = side.ensure("a").await.expect_err("it is unknown");
    assert_eq!(error.next, Next::NeedsPerson);
    assert_eq!(
        error.to_string(),
        "looking for the tunnel of a: it answered 401: Authentication error (10000)"
    );
    assert!(!format!("{error:?}").contains("wrong-0123456789"));
    let side = two().await;
    side.server.meet(Fault::Garbage(Verb::Token));
    let error = side.token("a").await.expect_err("it is none");
    assert_eq!(
        error.to_string(),
        "reading the token of a: it answers in another form"
    );
}

#[tokio::test]
async fn a_cloudflare_that_is_away_is_said_to_be() {
    let mut side = two().await;
    side.reopen(|settings| settings.api = "http://127.0.0.1:1/client/v4".into());
    let error = side.list().await.expect_err("nobody is there");
    assert_eq!(error.next, Next::Retry);
    assert_eq!(
        error.to_string(),
        "listing the tunnels of prod: Cloudflare cannot be reached"
    );
}
