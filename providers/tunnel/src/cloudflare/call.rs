//! One call: a request with a deadline, an answer with a bound, its envelope looked into also when the status says that all is
//! well. The token is in the header and nowhere else.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use easyenclave_schemas::Secret;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::budget::{Budget, Cause};
use super::fault::{Complaint, Fault, Refusal};
use crate::{Next, TunnelError};

/// The longest answer, in bytes. A page of tunnels with all their connections has about a tenth of that.
const LONGEST: usize = 4 << 20;

/// How Cloudflare is asked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest that one call may take.
    pub deadline: Duration,
    /// The most calls within a window. Cloudflare counts all of a user together, 1,200 in five minutes: the rest is for people
    /// in the dashboard, and for a process that has just been started and does not know of the calls of the one before.
    pub calls: usize,
    /// So many of them are for taking away alone.
    pub kept: usize,
    /// That window.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(20),
            calls: 1000,
            kept: 200,
            window: Duration::from_secs(300),
        }
    }
}

/// What every answer is wrapped in.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) success: bool,
    #[serde(default = "Vec::new")]
    pub(crate) errors: Vec<Complaint>,
    #[serde(default = "none")]
    pub(crate) result: Option<T>,
    #[serde(default)]
    pub(crate) result_info: Option<Info>,
}

fn none<T>() -> Option<T> {
    None
}

/// Which part of a listing a page is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Info {
    pub(crate) page: Option<usize>,
    pub(crate) count: Option<usize>,
    pub(crate) total_count: Option<usize>,
}

/// One request.
pub(crate) struct Ask<'a> {
    /// What it is for, in words.
    pub(crate) what: &'a str,
    pub(crate) method: Method,
    /// Below the base, from `/` on.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, path: String, what: &'a str) -> Self {
        Self {
            what,
            method,
            path,
            query: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// Where Cloudflare answers, and who asks.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    base: Url,
    token: Secret<String>,
    pace: Pace,
    budget: Arc<Mutex<Budget>>,
    cause: Cause,
}

impl Api {
    /// # Errors
    /// When nothing is sent to such an address.
    pub(crate) fn new(base: &str, token: Secret<String>, pace: Pace) -> Result<Self, TunnelError> {
        let refuse = |why: String| TunnelError::person("the address of Cloudflare's API", why);
        let http = Client::builder()
            .timeout(pace.deadline)
            .connect_timeout(pace.deadline)
            .redirect(Policy::none())
            .build()
            .map_err(|_| refuse("there is no TLS to be had".into()))?;
        Ok(Self {
            http,
            base: address(base).map_err(|why| refuse(why.into()))?,
            token,
            pace,
            budget: Arc::new(Mutex::new(Budget::new(pace.calls, pace.kept, pace.window))),
            cause: Cause::Other,
        })
    }

    /// The same, for taking something away.
    pub(crate) fn for_removal(&self) -> Self {
        Self {
            cause: Cause::Removal,
            ..self.clone()
        }
    }

    /// Asks, and gives what is in the envelope.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        ask: Ask<'_>,
    ) -> Result<Envelope<T>, Fault> {
        let what = ask.what.to_owned();
        self.take(&what)?;
        let (status, retry_after, body) = self.send(ask).await?;
        let envelope = serde_json::from_slice::<Envelope<T>>(&body).ok();
        if let Some(envelope) = envelope.filter(|it| it.success && (200..300).contains(&status)) {
            return Ok(envelope);
        }
        // What does not fit the result may still say what is wrong.
        let said = serde_json::from_slice::<Envelope<Value>>(&body).ok();
        let is_good = (200..300).contains(&status);
        if is_good && said.as_ref().is_none_or(|said| said.success) {
            return Err(TunnelError::retry(what, "it answers in another form").into());
        }
        let refusal = Refusal {
            status,
            retry_after,
            complaints: said.map(|said| said.errors).unwrap_or_default(),
        };
        if let Some(rest) = refusal.rest() {
            self.budget().hold(Instant::now(), rest);
        }
        let mut fault = refusal.fault(&what);
        fault.error.why = self.token.hide_in(&fault.error.why);
        Err(fault)
    }

    /// Asks for something that has to be there.
    pub(crate) async fn get<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Fault> {
        let what = ask.what.to_owned();
        let envelope = self.ask(ask).await?;
        let missing = || TunnelError::retry(what, "it answers without a result").into();
        envelope.result.ok_or_else(missing)
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, what: &str) -> Result<(), TunnelError> {
        let taken = self.budget().take(self.cause, Instant::now());
        taken.map_err(|rest| {
            let why = format!(
                "Cloudflare is not asked for another {} s",
                rest.as_secs() + 1
            );
            TunnelError::new(Next::WaitUntil(rest), what, why)
        })
    }

    async fn send(&self, ask: Ask<'_>) -> Result<(u16, Option<u64>, Vec<u8>), TunnelError> {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}{}",
            self.base.path().trim_end_matches('/'),
            ask.path
        ));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let request = self
            .http
            .request(ask.method, url)
            .bearer_auth(self.token.reveal());
        let request = match &ask.body {
            Some(body) => request.json(body),
            None => request,
        };
        let broken = |error: reqwest::Error| TunnelError::retry(ask.what, self.broken(&error));
        let mut answer = request.send().await.map_err(broken)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        match read(&mut answer).await.map_err(broken)? {
            Some(body) => Ok((status, retry_after, body)),
            None => Err(TunnelError::retry(ask.what, "the answer is too long")),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            format!("no answer within {} s", self.pace.deadline.as_secs_f32())
        } else if error.is_connect() {
            "Cloudflare cannot be reached".into()
        } else {
            "the connection broke off".into()
        }
    }
}

/// The whole body, unless it is too long.
async fn read(answer: &mut Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

/// An address that the token may be sent to: `https`, or plain `http` to this machine itself.
fn address(base: &str) -> Result<Url, &'static str> {
    let url = Url::parse(base).map_err(|_| "it is not an address")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment");
    }
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err("it is not https"),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_token_leaves_this_machine_by_https_only() {
        for good in [
            "https://api.cloudflare.com/client/v4",
            "http://127.0.0.1:1/client/v4",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.cloudflare.com/client/v4",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "https://a:b@example.com",
            "https://example.com/?a=b",
            "https://example.com/#a",
            "",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
