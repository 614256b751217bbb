//! A listing is all that there is or an error, whatever is made and removed while it is read.

use easyenclave_tunnel::testing::conformance::hostname;
use easyenclave_tunnel::testing::server::Verb;
use easyenclave_tunnel::{Next, Seen};

use crate::stand::{Side, mark, target};

/// The agents whose tunnels were listed.
fn agents(ours: &[Seen]) -> Vec<&str> {
    let there = ours.iter().filter(|seen| seen.tunnel.is_some());
    there.map(|seen| seen.agent.as_str()).collect()
}

#[tokio::test]
async fn who_is_made_while_a_listing_is_read_has_no_remains() {
    let side = Side::new().await;
    let mut held = side.server.hold(Verb::ListRecords, 1);
    let meanwhile = async {
        held.arrived().await;
        side.ensure("a").await.expect("made");
        drop(held);
    };
    let (listed, ()) = tokio::join!(side.list(), meanwhile);
    let error = listed.expect_err("its record was heard of, and its tunnel was not");
    assert_eq!(error.next, Next::Retry);
    assert_eq!(
        error.to_string(),
        "listing the tunnels of prod: the listing is not complete: it changed while it was read"
    );
    let listing = side.list().await.expect("listed");
    assert_eq!(agents(&listing.ours), ["a"]);
    assert!(listing.ours[0].left.is_empty());
}

#[tokio::test]
async fn what_moves_to_a_page_that_was_read_is_not_missed() {
    let side = Side::new().await;
    side.server.set_page(2);
    let gone = side.server.put_tunnel(&mark("a"));
    for name in ["b", "c"] {
        side.server.put_tunnel(&mark(name));
    }
    // As many as before are there when the second page is read, and `c` is on the first.
    let mut held = side.server.hold(Verb::ListTunnels, 2);
    let meanwhile = async {
        held.arrived().await;
        side.server.delete_tunnel(&gone);
        side.server.put_tunnel(&mark("d"));
        drop(held);
    };
    let (listed, ()) = tokio::join!(side.list(), meanwhile);
    let error = listed.expect_err("`c` was on neither page");
    assert_eq!(error.next, Next::Retry);
    let listing = side.list().await.expect("listed");
    assert_eq!(agents(&listing.ours), ["b", "c", "d"]);
}

#[tokio::test]
async fn a_name_that_somebody_has_taken_off_the_edge_is_told_and_mended() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    side.point("app", "a").await.expect("pointed");
    for record in side.server.records() {
        let id = record["id"].as_str().expect("an id");
        side.server.set_record(id, "proxied", false.into());
    }
    let seen = async || side.list().await.expect("listed").ours.remove(0);
    let names = |labels: &[&str]| labels.iter().copied().map(hostname).collect();
    let listed = seen().await;
    assert_eq!(listed.hostnames, names(&["a", "app"]), "they lead there");
    assert_eq!(listed.dead, names(&["a", "app"]));
    side.ensure("a").await.expect("ensured");
    assert_eq!(seen().await.dead, names(&["app"]));
    side.point("app", "a").await.expect("pointed");
    assert_eq!(seen().await.dead, names(&[]));
}

/// Tunnels of so many agents are made with two names each, and deleted by somebody.
async fn remains(count: usize) -> Side {
    let side = Side::new().await;
    for number in 0..count {
        let mark = mark(&format!("a{number}"));
        let id = side.server.put_tunnel(&mark);
        for name in [format!("a{number}"), format!("web{number}")] {
            let name = format!("{name}.example.com");
            side.server
                .put_record("CNAME", &name, &target(&id), Some(&mark));
        }
        side.server.delete_tunnel(&id);
    }
    side
}

#[tokio::test]
async fn remains_are_all_told_and_each_tunnel_is_looked_at_once() {
    let side = remains(60).await;
    let listing = side.list().await.expect("listed");
    assert_eq!(listing.strange, [] as [&str; 0]);
    assert_eq!(listing.ours.len(), 60);
    assert!(listing.ours.iter().all(|seen| seen.left.len() == 2));
    // Its records come in two pages, which are read twice.
    assert_eq!(side.server.said().len(), 1 + 4 + 60);
}

#[tokio::test]
async fn more_remains_than_are_looked_at_are_an_error() {
    let side = remains(201).await;
    let error = side.list().await.expect_err("too many");
    assert_eq!(error.next, Next::NeedsPerson);
    assert_eq!(
        error.to_string(),
        "listing the tunnels of prod: its records lead to more than 200 tunnels that are gone: remove some"
    );
}
