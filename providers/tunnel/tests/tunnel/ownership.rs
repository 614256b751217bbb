//! Nothing of anybody else is ever touched, however much it looks like ours.

use std::collections::BTreeSet;

use easyenclave_tunnel::testing::conformance::hostname;
use easyenclave_tunnel::testing::server::{Fault, Verb};
use easyenclave_tunnel::{Hostname, Next, Tunnels};
use serde_json::json;

use crate::stand::{Side, mark, target};

/// Calls every verb, again and again, and expects that these are as they were.
async fn stays(side: &Side, ids: &[&str]) {
    let ids: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    let before = side.server.shown(&ids);
    assert_eq!(before.lines().count(), ids.len());
    let from = side.server.said().len();
    for _ in 0..2 {
        for name in ["a", "b", "a-2"] {
            let _ = side.ensure(name).await;
        }
        for (label, to) in [("app", "a"), ("app", "b"), ("a", "b"), ("web", "a")] {
            let _ = side.point(label, to).await;
        }
        let _ = side.list().await;
        for label in ["app", "a", "web"] {
            let _ = side.unpoint(label).await;
        }
        for name in ["a", "b", "a-2"] {
            let _ = side.remove(name).await;
        }
    }
    assert_eq!(side.server.shown(&ids), before);
    // It was not only put back.
    for said in &side.server.said()[from..] {
        let touches = said.is_change() && ids.iter().any(|id| said.path.contains(id.as_str()));
        assert!(!touches, "{} {}", said.method, said.path);
    }
}

/// Nothing at all was asked to be changed by these calls.
async fn no_change(side: &Side, next: Next) {
    let (ended, changes) = side.changes_of(side.ensure("a")).await;
    assert_eq!(ended.expect_err("it is in the way").next, next);
    assert_eq!(changes, [] as [&str; 0]);
    let (ended, changes) = side.changes_of(side.remove("a")).await;
    assert_eq!(ended.expect_err("it is in the way").next, next);
    assert_eq!(changes, [] as [&str; 0]);
}

#[tokio::test]
async fn tunnels_whose_names_begin_like_ours_stay() {
    let side = Side::new().await;
    let names = [
        "ee.prod-2.a",
        "ee.prod-2.b",
        "ee.prod.a.b",
        "ee.prod.A",
        "ee.prod.",
        "ee.prod",
        "ee.staging.a",
        "prod.a",
        "ee.prod.a ",
        "control-plane",
    ];
    let ids = names.map(|name| side.server.put_tunnel(name));
    stays(&side, &ids.each_ref().map(String::as_str)).await;
    side.server.set_deaf(true);
    stays(&side, &ids.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn another_fleets_records_stay() {
    let side = Side::new().await;
    let other = side.server.put_tunnel("ee.prod-2.a");
    let to = target(&other);
    let ids = [
        // As the other fleet makes them.
        side.server
            .put_record("CNAME", "app.example.com", &to, Some("ee.prod-2.a")),
        // A comment of ours that somebody has copied, and one of theirs on a name of ours.
        side.server
            .put_record("CNAME", "a.example.com", &to, Some(&mark("a"))),
        side.server
            .put_record("CNAME", "b.example.com", &to, Some("ee.prod-2.b")),
        other,
    ];
    stays(&side, &ids.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn a_record_with_our_name_and_a_strangers_content_stays() {
    for comment in [None, Some("ee.prod.a"), Some("somebody else's")] {
        let side = Side::new().await;
        side.ensure("a").await.expect("made");
        let ids = [
            side.server
                .put_record("CNAME", "app.example.com", "shop.example.net", comment),
            side.server
                .put_record("A", "web.example.com", "192.0.2.7", comment),
            side.server.put_record(
                "CNAME",
                "b.example.com",
                &target("f70ff985-a4ef-4643-bbbc-4a0ed4fc8415"),
                comment,
            ),
        ];
        let error = side.point("app", "a").await.expect_err("it is not ours");
        assert_eq!(error.next, Next::NotOurs);
        assert_eq!(
            error.to_string(),
            "pointing app.example.com at a: it has a record that is not ours"
        );
        stays(&side, &ids.each_ref().map(String::as_str)).await;
    }
}

#[tokio::test]
async fn our_record_that_somebody_has_changed_is_not_ours_any_more() {
    for (field, value) in [
        ("comment", "mine"),
        ("content", "shop.example.net"),
        ("type", "TXT"),
    ] {
        let side = Side::new().await;
        side.ensure("a").await.expect("made");
        side.point("app", "a").await.expect("pointed");
        let record = side.server.records().pop().expect("a record");
        let id = record["id"].as_str().expect("an id").to_owned();
        side.server.set_record(&id, field, value.into());
        stays(&side, &[&id]).await;
        let strange = side.list().await.expect("listed").strange;
        assert_eq!(strange.is_empty(), field == "comment", "{strange:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_ours_any_more_and_leads_to_us_is_not_said_to_be_gone() {
    let side = with_a_name().await;
    let id = side.server.records()[1]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    side.server.set_record(&id, "comment", "mine".into());
    let (ended, changes) = side.changes_of(side.unpoint("app")).await;
    let error = ended.expect_err("it leads to the agent still");
    assert_eq!(error.next, Next::NotOurs);
    assert_eq!(
        error.to_string(),
        "removing app.example.com: it has a record that is not ours, and leads to a tunnel of ours"
    );
    assert_eq!(changes, [] as [&str; 0]);
}

#[tokio::test]
async fn an_agents_own_name_is_not_taken_from_it_while_its_tunnel_is_there() {
    let side = Side::new().await;
    for name in ["a", "b"] {
        side.ensure(name).await.expect("made");
    }
    let (ended, changes) = side.changes_of(side.point("b", "a")).await;
    let error = ended.expect_err("it is b's");
    assert_eq!(error.next, Next::NotOurs);
    assert_eq!(
        error.to_string(),
        "pointing b.example.com at a: it is the own name of agent b"
    );
    assert_eq!(changes, [] as [&str; 0]);
    // Remains of one that is gone are a name like others.
    let gone = side.server.tunnel_id(&mark("b")).expect("a tunnel");
    side.server.delete_tunnel(&gone);
    side.unpoint("b").await.expect("removed");
    assert_eq!(
        side.server.summary(),
        ["a.example.com -> ee.prod.a", "tunnel ee.prod.a"]
    );
}

#[tokio::test]
async fn what_somebody_adds_to_a_tunnels_configuration_is_taken_away() {
    for (field, value) in [
        ("warp-routing", json!({"enabled": true})),
        ("originRequest", json!({"noTLSVerify": true})),
    ] {
        let side = Side::new().await;
        side.ensure("a").await.expect("made");
        let id = side.server.tunnel_id(&mark("a")).expect("a tunnel");
        let before = side.server.tunnels()[0]["config"].clone();
        side.server.set_config(&id, field, value);
        side.ensure("a").await.expect("ensured");
        assert_eq!(side.server.tunnels()[0]["config"], before);
    }
}

#[tokio::test]
async fn a_tunnel_that_somebodys_record_leads_to_is_closed_and_stays() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    side.point("app", "a").await.expect("pointed");
    let tunnel = side.server.tunnel_id(&mark("a")).expect("a tunnel");
    let record = side.server.put_record(
        "CNAME",
        "vanity.example.com",
        &target(&tunnel),
        Some("marketing"),
    );
    let error = side.remove("a").await.expect_err("somebody uses it");
    assert_eq!(error.next, Next::NotOurs);
    assert_eq!(
        side.server.summary(),
        ["tunnel ee.prod.a", "vanity.example.com -> ee.prod.a"]
    );
    let rules = serde_json::json!({"ingress": [{"service": "http_status:404"}]});
    assert_eq!(side.server.tunnels()[0]["config"], rules);
    stays(&side, &[&record]).await;
}

#[tokio::test]
async fn names_of_ours_go_where_a_protected_name_leads_to_the_same_tunnel() {
    let side = Side::with(|settings| {
        settings.protected.insert("api.example.com".into());
    })
    .await;
    side.ensure("a").await.expect("made");
    side.point("app", "a").await.expect("pointed");
    let tunnel = side.server.tunnel_id(&mark("a")).expect("a tunnel");
    side.server.connect(&mark("a"), true);
    let (to, comment) = (target(&tunnel), mark("a"));
    let put = |name: &str, comment: Option<&str>| {
        let name = format!("{name}.example.com");
        side.server.put_record("CNAME", &name, &to, comment)
    };
    // With our mark as well, it is protected all the same.
    let ids = [
        tunnel.clone(),
        put("api", Some(&comment)),
        put("vanity", Some("marketing")),
    ];
    let shown = side.server.shown(&ids.clone().into());
    let (ended, changes) = side.changes_of(side.remove("a")).await;
    assert_eq!(ended.expect_err("it is protected").next, Next::NotOurs);
    assert!(
        changes.len() == 2 && changes.iter().all(|change| change.starts_with("DELETE")),
        "{changes:?}"
    );
    assert_eq!(
        side.server.summary(),
        [
            "api.example.com -> ee.prod.a",
            "tunnel ee.prod.a",
            "vanity.example.com -> ee.prod.a"
        ]
    );
    let kept = side.server.shown(&ids.into());
    assert_eq!(kept, shown, "its rules and connections, too");
}

#[tokio::test]
async fn two_tunnels_of_one_name_are_a_persons_business() {
    let side = Side::new().await;
    let ids = [
        side.server.put_tunnel("ee.prod.a"),
        side.server.put_tunnel("ee.prod.a"),
    ];
    side.server
        .put_record("CNAME", "a.example.com", &target(&ids[0]), Some(&mark("a")));
    no_change(&side, Next::NeedsPerson).await;
    let (ended, changes) = side.changes_of(side.point("app", "a")).await;
    assert_eq!(ended.expect_err("which?").next, Next::NeedsPerson);
    assert_eq!(changes, [] as [&str; 0]);
    stays(&side, &ids.each_ref().map(String::as_str)).await;
    assert_eq!(
        side.list().await.expect("listed").strange,
        ["another tunnel ee.prod.a"]
    );
}

#[tokio::test]
async fn a_tunnel_that_is_kept_on_its_machine_is_not_changed() {
    let side = Side::new().await;
    let id = side.server.put_local_tunnel("ee.prod.a");
    let (ended, changes) = side.changes_of(side.ensure("a")).await;
    let error = ended.expect_err("it has its own rules");
    assert_eq!(error.next, Next::NeedsPerson);
    assert_eq!(changes, [] as [&str; 0]);
    // It has our name, so that it goes when it is told to.
    side.remove("a").await.expect("removed");
    assert_eq!(side.server.tunnel_id(&mark("a")), None, "{id}");
}

#[tokio::test]
async fn a_deleted_tunnel_is_not_there_and_proves_whose_its_records_are() {
    for deaf in [false, true] {
        let side = Side::new().await;
        side.ensure("a").await.expect("made");
        side.point("app", "a").await.expect("pointed");
        let old = side.server.tunnel_id(&mark("a")).expect("a tunnel");
        side.server.delete_tunnel(&old);
        side.server.set_deaf(deaf);
        let seen = async || side.list().await.expect("listed").ours.remove(0);
        let names = |labels: &[&str]| labels.iter().copied().map(hostname).collect();
        let listed = seen().await;
        assert_eq!((listed.tunnel, listed.left), (None, names(&["a", "app"])));
        side.ensure("a").await.expect("made anew");
        let new = side.server.tunnel_id(&mark("a")).expect("a tunnel");
        assert_ne!(old, new);
        // What still leads to the old one is told, moved and removed.
        let listed = seen().await;
        assert_eq!(
            (listed.hostnames, listed.left),
            (names(&["a"]), names(&["app"]))
        );
        side.point("app", "a").await.expect("pointed");
        let listed = seen().await;
        assert_eq!(
            (listed.hostnames, listed.left),
            (names(&["a", "app"]), names(&[]))
        );
        side.server.delete_tunnel(&new);
        side.remove("a").await.expect("removed");
        assert_eq!(side.server.summary(), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn a_record_of_a_tunnel_that_nobody_knows_stays() {
    let side = Side::new().await;
    let unknown = target("00000000-0000-4000-8000-000000000000");
    let id = side
        .server
        .put_record("CNAME", "a.example.com", &unknown, Some(&mark("a")));
    stays(&side, &[&id]).await;
    // Nor does one that could not be looked at.
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    let tunnel = side.server.tunnel_id(&mark("a")).expect("a tunnel");
    side.server.delete_tunnel(&tunnel);
    side.server.meet(Fault::Refused(Verb::GetTunnel, 500, 0));
    let (ended, changes) = side.changes_of(side.remove("a")).await;
    assert_eq!(ended.expect_err("it is not known").next, Next::Retry);
    assert_eq!(changes, [] as [&str; 0]);
}

#[tokio::test]
async fn what_is_protected_stays_by_name_by_id_and_by_where_it_leads() {
    // Ids are counted: whoever does the same has the same.
    let side = with_a_name().await;
    let tunnel = side.server.tunnel_id(&mark("a")).expect("a tunnel");
    let records = side.server.records();
    let id = |at: usize| records[at]["id"].as_str().expect("an id").to_owned();
    for (protected, kept) in [
        (mark("a"), vec![tunnel.clone(), id(0), id(1)]),
        (tunnel.clone(), vec![tunnel.clone(), id(0), id(1)]),
        ("app.example.com".into(), vec![tunnel.clone(), id(1)]),
        ("a.example.com".into(), vec![tunnel.clone(), id(0)]),
        (id(1), vec![tunnel.clone(), id(1)]),
    ] {
        let mut side = with_a_name().await;
        side.reopen(|settings| {
            settings.protected.insert(protected);
        });
        stays(&side, &kept.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

/// A fleet with an agent and a name for it.
async fn with_a_name() -> Side {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    side.point("app", "a").await.expect("pointed");
    side
}

#[tokio::test]
async fn names_that_are_not_directly_below_the_zone_are_refused() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    for wrong in [
        "example.com",
        "a.b.example.com",
        "app.example.net",
        "app.badexample.com",
    ] {
        let name = Hostname::new(wrong).expect("a name");
        let agent = "a".parse().expect("a name");
        let (ended, changes) = side.changes_of(side.client.point(&name, &agent)).await;
        assert_eq!(ended.expect_err(wrong).next, Next::NeedsPerson);
        assert_eq!(changes, [] as [&str; 0]);
    }
}
