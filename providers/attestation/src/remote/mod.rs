//! What all who ask another service share: which addresses may be asked, who is left alone for now, and how much of
//! an answer is read.

mod address;
mod pace;

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

pub(crate) use address::under;
pub(crate) use pace::{Entry, Failure, Held, Pace};

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
