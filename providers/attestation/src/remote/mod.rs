//! What all who ask another service share: which addresses may be asked, who is left alone for now, and how much of
//! an answer is read.

mod address;
mod pace;

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;

pub(crate) use address::under;
pub(crate) use pace::{Entry, Failure, Held, Pace};

/// Follows no redirect, and waits no longer than this for any call.
pub(crate) fn client(deadline: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(deadline)
        .connect_timeout(deadline)
        .redirect(Policy::none())
        .build()
}

/// Why a call under this deadline has no answer, without addresses.
pub(crate) fn broken(error: &reqwest::Error, deadline: Duration) -> String {
    if error.is_timeout() {
        format!("no answer within {} s", deadline.as_secs_f32())
    } else if error.is_connect() {
        "it cannot be reached".into()
    } else {
        "the connection broke off".into()
    }
}

/// The body up to `longest` bytes, and whether that is all of it.
pub(crate) async fn read(
    answer: &mut Response,
    longest: usize,
) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = longest - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

/// How long a service wants to be left alone; zero when it does not say, or says it as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers.get(RETRY_AFTER);
    let seconds = value.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}
