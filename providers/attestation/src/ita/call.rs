//! One call: with a deadline, a bound on its answer, and a number that both sides know it by. The key goes into one
//! header of calls to the API and nowhere else.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use super::error::{ItaError, NO_KEY, Said};
use crate::remote::{Entry, Failure, Held, Pace, broken, client, read, retry_after};

/// The header that carries the key.
const API_KEY: &str = "x-api-key";

/// The header that numbers a call.
const REQUEST_ID: &str = "request-id";

/// The longest answer that is read for what it says of a refusal, in bytes.
const REFUSAL: usize = 4096;

/// Calls, and what is remembered between them.
pub(super) struct Caller {
    http: reqwest::Client,
    key: Option<HeaderValue>,
    deadline: Duration,
    pace: Pace,
    random: SystemRandom,
}

/// What is asked.
pub(super) struct Call {
    pub(super) url: Url,
    /// The body of a `POST`; a `GET` has none.
    pub(super) body: Option<Vec<u8>>,
    /// Whether the key goes with it.
    pub(super) keyed: bool,
    /// Whether a refusal is about evidence.
    pub(super) shows_evidence: bool,
    /// The longest answer, in bytes.
    pub(super) longest: usize,
}

/// How a call ended without an answer that counts.
enum Failed {
    /// It has to be left alone for a while.
    Later(ItaError, Failure),
    /// It has answered, with this.
    Now(ItaError),
}

/// A call that nobody has an answer of yet. Whoever waits for it may give up before its deadline.
struct Open<'a> {
    caller: &'a Caller,
    address: &'a str,
    since: Instant,
    chance: u8,
    entry: Entry,
    answered: bool,
}

impl Drop for Open<'_> {
    /// An address that was silent for half of a deadline has failed. One that was given up sooner has not: whoever hangs
    /// up at once must not close it for others.
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let Caller { pace, deadline, .. } = self.caller;
        if self.since.elapsed() >= *deadline / 2 {
            let failure = Failure::because("it did not answer in time".into());
            pace.failed(self.address, failure, self.chance);
        } else if self.entry == Entry::Trial {
            pace.left(self.address);
        }
    }
}

impl Caller {
    pub(super) fn new(key: Option<HeaderValue>, deadline: Duration) -> reqwest::Result<Self> {
        Ok(Self {
            http: client(deadline)?,
            key,
            deadline,
            pace: Pace::default(),
            random: SystemRandom::new(),
        })
    }

    /// What `read` makes of a good answer; an answer that it cannot read is a failure like any other.
    ///
    /// # Errors
    /// When there is none, in terms of who has to do something about it.
    pub(super) async fn call<T>(
        &self,
        call: Call,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, ItaError> {
        let address = call.url.to_string();
        let entered = self.pace.enter(&address, self.deadline);
        let entry = entered.map_err(|held| ItaError::Unavailable(held.into()))?;
        let number = self.random_bytes();
        let mut open = Open {
            caller: self,
            address: &address,
            since: Instant::now(),
            chance: number[0],
            entry,
            answered: false,
        };
        let sent = self.send(call, &hex::encode(number)).await;
        open.answered = true;
        match sent.and_then(|body| read(&body).map_err(|why| unreadable(why.into()))) {
            Ok(read) => {
                self.pace.answered(&address);
                Ok(read)
            }
            Err(Failed::Now(error)) => {
                self.pace.answered(&address);
                Err(error)
            }
            Err(Failed::Later(error, failure)) => {
                self.pace.failed(&address, failure, number[0]);
                Err(error)
            }
        }
    }

    async fn send(&self, call: Call, number: &str) -> Result<Vec<u8>, Failed> {
        let (longest, shows_evidence) = (call.longest, call.shows_evidence);
        let request = self.request(call, number).map_err(Failed::Now)?;
        let mut answer = request.send().await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        if status.is_success() {
            return match read(&mut answer, longest).await {
                Ok((body, true)) => Ok(body),
                Ok((_, false)) => Err(unreadable(
                    format!("it is longer than {longest} bytes").into(),
                )),
                Err(error) => Err(self.broken(&error)),
            };
        }
        let known_by = known_by(answer.headers(), number);
        if later(status) {
            return Err(unavailable(status, answer.headers(), &known_by));
        }
        if is_about_evidence(status) && shows_evidence {
            let read = read(&mut answer, REFUSAL).await;
            let said = self.said(&read.map(|(body, _)| body).unwrap_or_default());
            return Err(Failed::Now(ItaError::Refused(format!(
                "{said} ({known_by})"
            ))));
        }
        Err(unreadable(answered(status, &known_by)))
    }

    fn request(&self, call: Call, number: &str) -> Result<reqwest::RequestBuilder, ItaError> {
        let request = match call.body {
            None => self.http.get(call.url),
            Some(body) => {
                let post = self.http.post(call.url).body(body);
                post.header(CONTENT_TYPE, "application/json")
            }
        };
        let request = request
            .header(ACCEPT, "application/json")
            .header(REQUEST_ID, number);
        match &self.key {
            _ if !call.keyed => Ok(request),
            Some(key) => Ok(request.header(API_KEY, key.clone())),
            None => Err(ItaError::Key(NO_KEY.into())),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Failed {
        let why = broken(error, self.deadline);
        let failure = Failure::because(why.clone());
        Failed::Later(ItaError::Unavailable(why.into()), failure)
    }

    /// What a refusal says, in a line. It is shown to the agent and kept, so it must not repeat our key.
    fn said(&self, body: &[u8]) -> String {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = answer.get("error").or_else(|| answer.get("message"));
        let text = text.and_then(|text| text.as_str()).unwrap_or_default();
        let key = self.key.as_ref().and_then(|key| key.to_str().ok());
        if text.is_empty() || key.is_some_and(|key| text.contains(key)) {
            return "it gives no reason".into();
        }
        line(text, 200)
    }

    fn random_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // Nothing rests on the number: without randomness calls are merely numbered alike.
        self.random.fill(&mut bytes).unwrap_or_default();
        bytes
    }
}

impl From<Held> for Said {
    fn from(held: Held) -> Self {
        Self {
            detail: format!("; it is not asked again for {} s", held.seconds),
            words: held.why,
        }
    }
}

/// It answers, and not as the protocol has it: asking again at once would not help.
fn unreadable(said: Said) -> Failed {
    let failure = Failure::because(said.words.clone());
    Failed::Later(ItaError::Answer(said), failure)
}

fn answered(status: StatusCode, known_by: &str) -> Said {
    Said {
        words: format!("it answered {}", status.as_u16()),
        detail: format!(" ({known_by})"),
    }
}

/// Answers after which an address is left alone for a while. A key that is not taken will not be taken in the next
/// moment either.
fn later(status: StatusCode) -> bool {
    status.is_server_error()
        || [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status)
}

fn is_about_evidence(status: StatusCode) -> bool {
    [
        StatusCode::BAD_REQUEST,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNPROCESSABLE_ENTITY,
    ]
    .contains(&status)
}

fn unavailable(status: StatusCode, headers: &HeaderMap, known_by: &str) -> Failed {
    let said = answered(status, known_by);
    let failure = Failure {
        why: said.words.clone(),
        too_often: status == StatusCode::TOO_MANY_REQUESTS,
        asks_for: retry_after(headers),
    };
    let error = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ItaError::Key(Said {
            words: format!("it does not take our key: {}", said.words),
            ..said
        }),
        _ => ItaError::Unavailable(said),
    };
    Failed::Later(error, failure)
}

/// The numbers by which its operators find a call.
fn known_by(headers: &HeaderMap, number: &str) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let trace = header("trace-id").map(|trace| format!(", trace-id {}", line(trace, 64)));
    format!("request-id {number}{}", trace.unwrap_or_default())
}

fn line(text: &str, longest: usize) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(longest).collect()
}
