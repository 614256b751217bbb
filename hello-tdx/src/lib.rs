//! `hello-tdx`: the example workload. A small web page that answers with the verdict of the agent that runs it,
//! asked anew for each request. It judges nothing itself, and shows no page when there is no verdict.

mod config;

use std::time::Duration;

use anyhow::{Context, bail};
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

use config::Surroundings;

/// How long the agent may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// The most bytes read of the agent's answer.
const ANSWER: u64 = 64 * 1024;

/// Serves on `PORT` until the process is told to end.
///
/// # Errors
/// When the surroundings are missing, or the port cannot be used.
pub async fn run() -> anyhow::Result<()> {
    let surroundings = Surroundings::of_process()?;
    let address = ("127.0.0.1", surroundings.port);
    let listener = TcpListener::bind(address)
        .await
        .context("the port in PORT")?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, router(surroundings)) => Ok(served?),
        _ = terminate.recv() => Ok(()),
    }
}

fn router(surroundings: Surroundings) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(surroundings)
}

async fn page(
    State(surroundings): State<Surroundings>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let asked = timeout(DEADLINE, health(&surroundings.agent_url)).await;
    let health = match asked {
        Ok(Ok(health)) if health["verdict"].is_object() => health,
        _ => {
            let body = json!({ "error": "the agent shows no verdict at the moment" });
            return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
        }
    };
    let answer = json!({
        "deployment": surroundings.deployment,
        "agent": health["agent_id"],
        "verdict": health["verdict"],
    });
    match wants_json(&headers, &query) {
        true => Json(answer).into_response(),
        false => Html(html(&answer)).into_response(),
    }
}

fn wants_json(headers: &HeaderMap, query: &[(String, String)]) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
        || query
            .iter()
            .any(|(key, value)| key == "format" && value == "json")
}

/// One GET over a connection of its own: the agent is on this machine and speaks plain HTTP.
async fn health(agent_url: &str) -> anyhow::Result<Value> {
    let address = agent_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /api/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of headers")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the agent does not answer with 200");
    }
    Ok(serde_json::from_str(body)?)
}

fn html(answer: &Value) -> String {
    let verdict = &answer["verdict"];
    let title = match verdict["simulated"].as_bool() {
        Some(false) => "attested",
        _ => "attested, on a simulated platform",
    };
    let root: String = text(&verdict["trust_root"]).chars().take(16).collect();
    let rows = [
        ("deployment", text(&answer["deployment"])),
        ("agent", text(&answer["agent"])),
        ("TCB status", text(&verdict["tcb_status"])),
        ("trust root", format!("{root}…")),
        ("trusted until", text(&verdict["trusted_until"])),
    ];
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th>{name}</th><td>{}</td></tr>", escape(value))
    };
    let rows: String = rows.iter().map(row).collect();
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
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn serve(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    }

    /// The page of a workload whose agent says this of itself.
    async fn workload(health: Value) -> String {
        let agent = Router::new().route("/api/health", get(|| async { Json(health) }));
        let agent_url = format!("http://{}", serve(agent).await);
        serve(router(Surroundings {
            port: 0,
            agent_url,
            deployment: "acme/web".into(),
        }))
        .await
    }

    async fn ask(address: &str, target: &str, accept: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    fn verdict(simulated: bool) -> Value {
        let verdict = json!({
            "simulated": simulated,
            "trust_root": "ab".repeat(48),
            "tcb_status": "UpToDate",
            "trusted_until": "2026-01-31T12:00:00Z",
        });
        json!({ "agent_id": "tiny-<1>", "phase": "running", "verdict": verdict })
    }

    #[tokio::test]
    async fn people_see_a_page_and_programs_get_json() {
        let address = workload(verdict(true)).await;
        let page = ask(&address, "/", "text/html").await;
        let parts = [
            "HTTP/1.1 200",
            "text/html",
            "on a simulated platform",
            "acme/web",
            "tiny-&lt;1&gt;",
            "UpToDate",
            "abababababababab…",
            "2026-01-31T12:00:00Z",
        ];
        for part in parts {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        for (target, accept) in [("/", "application/json"), ("/?format=json", "*/*")] {
            let answer = ask(&address, target, accept).await;
            let body = answer.split_once("\r\n\r\n").expect("a body").1;
            let body: Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body["verdict"], verdict(true)["verdict"]);
            assert_eq!(body["deployment"], "acme/web");
        }
        assert!(
            ask(&address, "/healthz", "*/*")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }

    #[tokio::test]
    async fn only_a_verdict_that_says_so_is_not_simulated() {
        let real = ask(&workload(verdict(false)).await, "/", "*/*").await;
        assert!(real.contains("I am attested<"), "{real}");
        let mut silent = verdict(false);
        silent["verdict"]["simulated"] = Value::Null;
        let silent = ask(&workload(silent).await, "/", "*/*").await;
        assert!(silent.contains("simulated platform"), "{silent}");
    }

    #[tokio::test]
    async fn there_is_no_page_without_a_verdict() {
        let registering = json!({ "agent_id": "tiny-1", "phase": "registering" });
        let answer = ask(&workload(registering).await, "/", "*/*").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let agent_url = "http://127.0.0.1:1".into();
        let gone = Surroundings {
            port: 0,
            agent_url,
            deployment: "acme/web".into(),
        };
        let answer = ask(&serve(router(gone)).await, "/", "*/*").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let broken = Router::new().route("/api/health", get(|| async { StatusCode::BAD_GATEWAY }));
        let agent_url = format!("http://{}", serve(broken).await);
        let error = health(&agent_url).await.expect_err("not 200");
        assert_eq!(error.to_string(), "the agent does not answer with 200");
    }
}
