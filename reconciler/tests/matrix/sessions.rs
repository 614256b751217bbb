//! API: heartbeats in a session: who gets one, what it is good for, and when it ends.

use std::time::Duration;

use easyenclave::api::WINDOW;
use easyenclave::clock::Clock;
use easyenclave_schemas::Generation;
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::signature::{
    Keypair, PublicKey, Session, SessionOffer, Signs, sign_request, verify_response,
};
use easyenclave_schemas::wire::{CallRefusals, HeartbeatRequest, routes};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::api::{NONCE, Served, deliver, send, serve};
use crate::place::{Agent, Place};

fn beat(sequence: u64, offer: Option<&SessionOffer>) -> HeartbeatRequest {
    HeartbeatRequest {
        sequence,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation(0),
        workload: None,
        refusals: CallRefusals::default(),
        session: offer.map(|offer| offer.public().to_owned()),
        connector: None,
        runtimes: None,
    }
}

/// An agent that was taken in, and its heartbeats.
struct Heart {
    served: Served,
    place: Place,
    agent: Agent,
}

impl Heart {
    async fn new() -> Self {
        let place = Place::new(&json!({}));
        let served = serve(&place).await;
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
        Self {
            served,
            place,
            agent,
        }
    }

    async fn send(&self, key: &impl Signs, beat: &HeartbeatRequest) -> (u16, HeaderMap, Vec<u8>) {
        let path = routes::heartbeat(&self.agent.order.agent());
        send(&self.served, key, &path, beat).await
    }

    /// Sends a heartbeat. Answers the status and the body.
    async fn told(&self, key: &impl Signs, beat: &HeartbeatRequest) -> (u16, Value) {
        let (status, _, body) = self.send(key, beat).await;
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    /// Asks for a session with the agent's own key.
    async fn session(&self, sequence: u64) -> Session {
        let offer = SessionOffer::new().expect("randomness");
        let (status, body) = self
            .told(&self.agent.key, &beat(sequence, Some(&offer)))
            .await;
        assert_eq!(status, 200, "{body}");
        let answer = body["session"].as_str().expect("half of the exchange");
        let session = offer.asked(answer, &self.agent.key.public());
        session.expect("a session")
    }

    fn heard(&self) -> u64 {
        let heard = self.place.world.presence.heard(&self.agent.order.agent());
        heard.expect("heard").sequence
    }
}

#[tokio::test]
async fn a_heartbeat_in_a_session_is_answered_in_it() {
    let heart = Heart::new().await;
    let session = heart.session(1).await;
    let (status, headers, body) = heart.send(&session, &beat(2, None)).await;
    assert_eq!((status, heart.heard()), (200, 2));
    let (now, window) = (heart.place.clock.now(), Duration::from_secs(60));
    let own = heart.place.world.keypair.public();
    verify_response(&session, 200, &body, &headers, NONCE, now, window).expect("of the session");
    verify_response(&own, 200, &body, &headers, NONCE, now, window).expect_err("not of the key");
    let (status, headers, body) = heart.send(&heart.agent.key, &beat(3, None)).await;
    assert_eq!((status, heart.heard()), (200, 3), "the own key is as good");
    verify_response(&own, 200, &body, &headers, NONCE, now, window).expect("of the key");
}

#[tokio::test]
async fn nothing_but_the_agents_own_key_opens_a_session() {
    let heart = Heart::new().await;
    let (session, offer) = (
        heart.session(1).await,
        SessionOffer::new().expect("randomness"),
    );
    let (status, body) = heart.told(&session, &beat(2, Some(&offer))).await;
    assert_eq!((status, body.get("session")), (200, None), "{body}");
    let stranger = Keypair::generate().expect("randomness");
    let (status, body) = heart.told(&stranger, &beat(3, Some(&offer))).await;
    assert_eq!((status, body.get("session")), (401, None), "{body}");
    let again = heart.told(&heart.agent.key, &beat(2, Some(&offer))).await;
    assert_ne!(again.0, 200, "it was seen before");
    let (status, body) = heart.told(&session, &beat(4, None)).await;
    assert_eq!(status, 200, "the session is still the one: {body}");
}

#[tokio::test]
async fn a_session_that_is_over_or_of_somebody_else_is_unknown_and_no_fault() {
    let heart = Heart::new().await;
    let first = heart.session(1).await;
    let second = heart.session(2).await;
    let made_up = other_session(&heart.agent.key.public());
    for session in [&first, &made_up] {
        let (status, body) = heart.told(session, &beat(9, None)).await;
        assert_eq!((status, &body["code"]), (401, &json!("session_unknown")));
    }
    heart.place.world.presence.retain(|_| false);
    let (status, body) = heart.told(&second, &beat(9, None)).await;
    assert_eq!((status, &body["code"]), (401, &json!("session_unknown")));
    assert!(heart.place.world.refusals.list().is_empty());
}

#[tokio::test]
async fn a_session_is_good_for_heartbeats_only_and_not_twice() {
    let heart = Heart::new().await;
    let session = heart.session(1).await;
    assert_eq!(heart.told(&session, &beat(2, None)).await.0, 200);
    let (status, body) = heart.told(&session, &beat(2, None)).await;
    assert_eq!(
        (status, &body["code"]),
        (401, &json!("EE-ATT-034")),
        "{body}"
    );
    let path = routes::attest(&heart.agent.order.agent());
    let (status, _, body) = send(&heart.served, &session, &path, &json!({})).await;
    assert_eq!(status, 401, "{}", String::from_utf8_lossy(&body));
}

/// Who stands between reads the name of a session, and guesses.
#[tokio::test]
async fn what_is_wrong_in_a_session_that_is_known_is_told_as_any_refusal() {
    for (wrong, code) in [
        ("tag", ReasonCode::SignatureInvalid),
        ("body", ReasonCode::SignatureInvalid),
        ("age", ReasonCode::MessageReplayed),
    ] {
        let heart = Heart::new().await;
        let session = heart.session(1).await;
        let agent = heart.agent.order.agent();
        let (path, now) = (routes::heartbeat(&agent), heart.place.clock.now());
        let mut body = serde_json::to_vec(&beat(2, None)).expect("plain data");
        let of = if wrong == "tag" {
            "/another"
        } else {
            path.as_str()
        };
        let signed = sign_request(&session, "POST", of, &body, now, NONCE);
        match wrong {
            "body" => body.push(b' '),
            "age" => heart.place.clock.forward(2 * WINDOW),
            _ => {}
        }
        let (status, _, _) = deliver(&heart.served, &path, signed, body).await;
        assert_eq!((status, heart.heard()), (401, 1), "{wrong}");
        let told = heart.place.world.refusals.list().into_iter();
        let told: Vec<_> = told.map(|told| (told.code, told.subject)).collect();
        let expected = (code.code().to_owned(), agent.to_string());
        assert_eq!(told, [expected], "{wrong}");
    }
}

fn other_session(agent: &PublicKey) -> Session {
    let [ask, answer] = [(); 2].map(|()| SessionOffer::new().expect("randomness"));
    answer.answered(ask.public(), agent).expect("a session")
}
