//! `hello-tdx`: the example workload. A small web page that answers with the verdict of the agent that
//! runs it, asked anew for each request.

use std::env;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long the agent may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// The most bytes read of the agent's answer.
const ANSWER: u64 = 64 * 1024;

/// What the agent told this workload when it started it.
#[derive(Debug, Clone)]
struct Surroundings {
    agent_url: String,
    deployment: String,
}

/// Serves on `PORT` until the process is told to end.
///
/// # Errors
/// When the surroundings are missing, or the port cannot be used.
pub async fn run() -> anyhow::Result<()> {
    let read = |name: &'static str| env::var(name).with_context(|| format!("{name} is not set"));
    let port: u16 = read("PORT")?.parse().context("PORT is not a port")?;
    let surroundings = Surroundings {
        agent_url: read("EASYENCLAVE_AGENT_URL")?,
        deployment: read("EASYENCLAVE_DEPLOYMENT").unwrap_or_default(),
    };
    let app = Router::new()
        .route("/", get(page))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(surroundings);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("the workload's port")?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        _ = terminate.recv() => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Format(bool);

impl Format {
    fn of(headers: &HeaderMap, query: &[(String, String)]) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let asked = query.iter().any(|(key, value)| key == "format" && value == "json");
        Self(asked || accept.is_some_and(|accept| accept.contains("application/json")))
    }
}

async fn page(
    State(surroundings): State<Surroundings>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let Format(as_json) = Format::of(&headers, &query);
    let health = timeout(DEADLINE, health(&surroundings.agent_url)).await;
    let verdict = match health {
        Ok(Ok(health)) if !health["verdict"].is_null() => health,
        _ => {
            let body = json!({ "error": "the agent shows no verdict at the moment" });
            return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
        }
    };
    let answer = json!({
        "deployment": surroundings.deployment,
        "agent": verdict["agent_id"],
        "verdict": verdict["verdict"],
    });
    if as_json { Json(answer).into_response() } else { Html(html(&answer)).into_response() }
}

/// One GET over a connection of its own: the agent is on this machine and speaks plain HTTP.
async fn health(agent_url: &str) -> anyhow::Result<Value> {
    let address = agent_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /api/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}

fn html(answer: &Value) -> String {
    let verdict = &answer["verdict"];
    let simulated = verdict["simulated"].as_bool().unwrap_or(false);
    let title = if simulated { "attested, on a simulated platform" } else { "attested" };
    let root: String = text(&verdict["trustRoot"]).chars().take(16).collect();
    let rows = [
        ("deployment", text(&answer["deployment"])),
        ("agent", text(&answer["agent"])),
        ("TCB status", text(&verdict["tcbStatus"])),
        ("trust root", format!("{root}…")),
        ("trusted until", text(&verdict["trustedUntil"])),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escape(value)))
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>hello-tdx</title>\
         <style>body{{font:16px/1.5 sans-serif;margin:3em auto;max-width:40em}}\
         th{{text-align:left;padding-right:2em;font-weight:normal;color:#666}}</style></head>\
         <body><h1>Hello, I am {title}</h1><table>{rows}</table></body></html>\n"
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_shows_the_agents_verdict_and_nothing_without_one() {
        let agent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let agent_url = format!("http://{}", agent.local_addr().expect("bound"));
        let with = json!({ "agent_id": "a<b", "verdict": { "simulated": true, "tcbStatus": "UpToDate" } });
        let routes = Router::new().route("/api/health", get(|| async { Json(with) }));
        tokio::spawn(async { axum::serve(agent, routes).await });
        let surroundings = Surroundings { agent_url, deployment: "acme/web".into() };
        let ask = |surroundings: &Surroundings| {
            page(State(surroundings.clone()), Query(Vec::new()), HeaderMap::new())
        };
        let answer = ask(&surroundings).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let page = html(&json!({ "agent": "a<b", "verdict": { "simulated": true } }));
        assert!(page.contains("simulated platform") && page.contains("a&lt;b"), "{page}");
        let gone = Surroundings { agent_url: "http://127.0.0.1:1".into(), ..surroundings };
        assert_eq!(ask(&gone).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
