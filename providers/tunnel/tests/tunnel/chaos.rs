//! Any order of calls, restarts and faults: what is not ours is to the byte what it was, an agent never has two tunnels, and in the
//! end ours are as they should be, and then gone.

use std::collections::BTreeSet;

use easyenclave_tunnel::testing::server::{Fault, Verb};
use easyenclave_tunnel::{Next, TunnelError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::stand::{Side, cases, mark, target};

/// The names of `c`, and `mail`, are somebody else's.
const AGENTS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["app", "web", "mail"];

#[derive(Debug, Clone)]
enum Step {
    Ensure(usize),
    Point(usize, usize),
    Unpoint(usize),
    Remove(usize),
    List,
    Token(usize),
    /// A call that is let go when the server has heard so many requests.
    Drop(usize, usize),
    /// The process ends, and another starts.
    Restart,
    Connect(usize, bool, u32),
    /// Somebody deletes an agent's tunnel.
    Delete(usize),
    Meet(Fault),
    Page(usize),
    Deaf(bool),
    Short(bool),
}

fn fault() -> impl Strategy<Value = Fault> {
    let verbs: Vec<Verb> = Verb::USED.into_iter().chain([Verb::DeleteRecord]).collect();
    let verb = proptest::sample::select(verbs);
    let refused = [
        (500, 0),
        (400, 1022),
        (409, 1013),
        (400, 81053),
        (400, 81057),
        (200, 7),
        (403, 10000),
        (404, 1003),
    ];
    let refused = proptest::sample::select(refused.to_vec());
    (verb, refused, 0..7_usize).prop_map(|(verb, (status, code), kind)| match kind {
        0 | 1 => Fault::LostAnswer(verb),
        2 => Fault::Garbage(verb),
        3 => Fault::Short(verb),
        4 => Fault::NoSecondPage(verb),
        // A 404 about a thing that is there would be a lie about it, which no client can tell from the truth.
        _ if status == 404
            && matches!(
                verb,
                Verb::DeleteTunnel | Verb::DeleteRecord | Verb::DropConnections
            ) =>
        {
            Fault::Refused(verb, 500, 0)
        }
        _ => Fault::Refused(verb, status, code),
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Step::Ensure),
        4 => (0..3_usize, 0..3_usize).prop_map(|(name, agent)| Step::Point(name, agent)),
        2 => (0..3_usize).prop_map(Step::Unpoint),
        4 => (0..3_usize).prop_map(Step::Remove),
        2 => Just(Step::List),
        1 => (0..3_usize).prop_map(Step::Token),
        3 => (0..6_usize, 0..8_usize).prop_map(|(call, heard)| Step::Drop(call, heard)),
        1 => Just(Step::Restart),
        2 => (0..3_usize, any::<bool>(), 0..3_u32).prop_map(|(agent, on, times)| Step::Connect(agent, on, times)),
        1 => (0..3_usize).prop_map(Step::Delete),
        5 => fault().prop_map(Step::Meet),
        1 => (1..4_usize).prop_map(Step::Page),
        1 => any::<bool>().prop_map(Step::Deaf),
        1 => any::<bool>().prop_map(Step::Short),
    ]
}

/// What is not ours: much like it, and in the way of it.
fn strangers(side: &Side) -> BTreeSet<String> {
    let server = &side.server;
    let other = server.put_tunnel("ee.prod-2.a");
    let gone = server.put_tunnel("ee.prod-2.b");
    server.delete_tunnel(&gone);
    let to = target(&other);
    let ids = [
        server.put_tunnel("ee.prod.a.b"),
        server.put_tunnel("control-plane"),
        server.put_record("CNAME", "other.example.com", &to, Some("ee.prod-2.a")),
        server.put_record("CNAME", "copied.example.com", &to, Some(&mark("a"))),
        server.put_record("CNAME", "c.example.com", &to, Some(&mark("c"))),
        server.put_record("A", "mail.example.com", "192.0.2.7", Some(&mark("b"))),
        server.put_record("CNAME", "old.example.com", &target(&gone), Some(&mark("b"))),
        other,
        gone,
    ];
    ids.into_iter().collect()
}

async fn call(side: &Side, number: usize) -> Result<(), TunnelError> {
    match number {
        0 | 1 => side.ensure(AGENTS[number]).await.map(drop),
        2 => side.remove("a").await,
        3 => side.point("app", "b").await,
        4 => side.unpoint("web").await,
        _ => side.list().await.map(drop),
    }
}

async fn take(side: &mut Side, step: &Step) {
    let server = &side.server;
    match step {
        Step::Ensure(agent) => drop(side.ensure(AGENTS[*agent]).await),
        Step::Point(name, agent) => drop(side.point(NAMES[*name], AGENTS[*agent]).await),
        Step::Unpoint(name) => drop(side.unpoint(NAMES[*name]).await),
        Step::Remove(agent) => {
            let name = AGENTS[*agent];
            if side.remove(name).await.is_ok() {
                let left = side.server.summary();
                assert!(
                    !left.contains(&format!("tunnel {}", mark(name))),
                    "{left:?}"
                );
                assert!(
                    !left
                        .iter()
                        .any(|line| line.ends_with(&format!("-> {}", mark(name)))),
                    "{left:?}"
                );
            }
        }
        Step::List => {
            if let Ok(listing) = side.list().await {
                let mut there = server.summary();
                there.retain(|line| {
                    line.starts_with("tunnel ee.prod.") && line != "tunnel ee.prod.a.b"
                });
                let seen = listing.ours.iter().filter(|seen| seen.tunnel.is_some());
                let seen: Vec<String> = seen
                    .map(|seen| format!("tunnel {}", mark(seen.agent.as_str())))
                    .collect();
                assert_eq!(
                    seen, there,
                    "a listing that is answered has all that is there"
                );
            }
        }
        Step::Token(agent) => drop(side.token(AGENTS[*agent]).await),
        Step::Drop(number, heard) => {
            let until = server.said().len() + heard;
            let so_long = async {
                while server.said().len() < until {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = call(side, *number) => {}
                () = so_long => {}
            }
        }
        Step::Restart => side.reopen(|_| {}),
        Step::Connect(agent, true, times) => {
            server.connect_stubbornly(&mark(AGENTS[*agent]), *times)
        }
        Step::Connect(agent, false, _) => server.connect(&mark(AGENTS[*agent]), false),
        Step::Delete(agent) => {
            if let Some(id) = server.tunnel_id(&mark(AGENTS[*agent])) {
                server.delete_tunnel(&id);
            }
        }
        Step::Meet(fault) => server.meet(fault.clone()),
        Step::Page(size) => server.set_page(*size),
        Step::Deaf(deaf) => server.set_deaf(*deaf),
        Step::Short(short) => server.set_short(*short),
    }
}

async fn goes_well(steps: &[Step]) {
    let mut side = Side::new().await;
    let ids = strangers(&side);
    let before = side.server.shown(&ids);
    for step in steps {
        take(&mut side, step).await;
        assert_eq!(
            side.server.shown(&ids),
            before,
            "it is somebody else's: {step:?}"
        );
        for agent in AGENTS {
            let line = format!("tunnel {}", mark(agent));
            let tunnels = side.server.summary().into_iter().filter(|it| *it == line);
            assert!(tunnels.count() <= 1, "{agent} has two tunnels");
        }
    }
    side.server.heal();
    converges(&mut side).await;
    assert_eq!(side.server.shown(&ids), before, "it is somebody else's");
}

async fn converges(side: &mut Side) {
    side.reopen(|_| {});
    for agent in ["a", "b"] {
        side.ensure(agent).await.expect("ensured");
    }
    assert_eq!(
        side.ensure("c").await.expect_err("its name is taken").next,
        Next::NotOurs
    );
    side.point("app", "a").await.expect("pointed");
    side.point("web", "b").await.expect("pointed");
    assert_eq!(
        side.point("mail", "a").await.expect_err("it is taken").next,
        Next::NotOurs
    );
    assert_eq!(
        ours(side),
        [
            "a.example.com -> ee.prod.a",
            "app.example.com -> ee.prod.a",
            "b.example.com -> ee.prod.b",
            "tunnel ee.prod.a",
            "tunnel ee.prod.b",
            "tunnel ee.prod.c",
            "web.example.com -> ee.prod.b",
        ]
    );
    for agent in AGENTS {
        let mut tries = 0..10;
        while let Err(error) = side.remove(agent).await {
            assert!(
                matches!(error.next, Next::WaitUntil(_)),
                "its connector is dropped in the end: {error}"
            );
            tries.next().expect("nothing is in the way");
        }
    }
    assert_eq!(ours(side), [] as [&str; 0]);
}

/// What is there of ours.
fn ours(side: &Side) -> Vec<String> {
    let mut lines = side.server.summary();
    lines.retain(|line| line.contains("ee.prod.") && !line.contains("ee.prod.a.b"));
    lines
}

#[test]
fn whatever_happens_nothing_of_others_changes_and_ours_converges() {
    let runtime = Runtime::new().expect("a runtime");
    let steps = proptest::collection::vec(step(), 4..24);
    let ran = TestRunner::new(cases(96)).run(&steps, |steps| {
        runtime.block_on(goes_well(&steps));
        Ok(())
    });
    ran.expect("holds");
}
