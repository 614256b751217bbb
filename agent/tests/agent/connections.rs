//! What connections may take of a server: real sockets that are slow, silent, or too many.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use easyenclave_agent::serve::{Bounds, serve};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::routes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Forget, Reconciler, SOON, Script, config, copy};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";
const HALF: &[u8] = b"GET / HTTP/1.1\r\nhost: he";
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

/// A server that ends with the set, and its port.
async fn server(bounds: Bounds) -> (JoinSet<()>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let router = Router::new().route("/", get(|| async { "here" }));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { match serve(listener, router, bounds).await {} });
    (tasks, port)
}

/// A connection on which this was said.
async fn say(port: u16, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connected");
    stream.write_all(words).await.expect("sent");
    stream
}

/// Reads an answer that ends with this.
async fn answer(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("an answer");
            read.extend(byte);
        }
    };
    timeout(SOON, reading).await.expect("answered in time");
    String::from_utf8(read).expect("text")
}

/// Waits until the server has closed a connection, without a word.
async fn closed(mut stream: TcpStream) {
    let mut said = Vec::new();
    let end = timeout(SOON, stream.read_to_end(&mut said)).await;
    end.expect("it is closed").expect("it is closed well");
    assert_eq!(String::from_utf8_lossy(&said), "");
}

#[tokio::test]
async fn half_a_header_holds_nothing_for_ever() {
    let bounds = Bounds {
        connections: 8,
        header: SHORT,
        life: LONG,
    };
    let (_server, port) = server(bounds).await;
    closed(say(port, HALF).await).await;
    closed(say(port, b"").await).await;
    let mut kept = say(port, REQUEST).await;
    assert!(answer(&mut kept, "here").await.starts_with("HTTP/1.1 200"));
    closed(kept).await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let bounds = Bounds {
        connections: 2,
        header: LONG,
        life: LONG,
    };
    let (_server, port) = server(bounds).await;
    let (first, second) = (say(port, HALF).await, say(port, HALF).await);
    let mut waiting: Vec<_> = vec![say(port, REQUEST).await, say(port, REQUEST).await];
    let mut byte = [0];
    let early = timeout(SHORT, waiting[0].read(&mut byte)).await;
    assert!(early.is_err(), "both places are taken");
    drop((first, second));
    for stream in &mut waiting {
        assert!(answer(stream, "here").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_life() {
    let bounds = Bounds {
        connections: 2,
        header: LONG,
        life: SHORT,
    };
    let (_server, port) = server(bounds).await;
    let mut stream = say(port, REQUEST).await;
    answer(&mut stream, "here").await;
    closed(stream).await;
}

#[tokio::test]
async fn connections_end_with_their_server() {
    let (server, port) = server(Bounds::of(8)).await;
    let mut stream = say(port, REQUEST).await;
    answer(&mut stream, "here").await;
    drop(server);
    closed(stream).await;
}

/// The agent's own program, where the system gives it few open files.
#[tokio::test]
async fn a_flood_past_what_the_system_allows_passes() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&reconciler.url, &key.public(), folder.path());
    let _forget = Forget(config.order_id.clone());
    let path = folder.path().join("config.json");
    std::fs::write(&path, serde_json::to_vec(&config).expect("plain data")).expect("written");
    let program = env!("CARGO_BIN_EXE_easyenclave-agent");
    let log = std::fs::File::create(folder.path().join("log")).expect("a file");
    let mut agent = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 40; exec \"$0\" --config \"$1\"",
            program,
            &path.display().to_string(),
        ])
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let beat = |script: &Script| Some(script.beats.first()?.address.clone());
    let address = reconciler.until("it reports", beat).await;
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let mut flood = Vec::new();
    for _ in 0..60 {
        flood.push(say(port, HALF).await);
    }
    let told = || std::fs::read_to_string(folder.path().join("log")).expect("a log");
    let deadline = Instant::now() + SOON;
    while !told().contains("no connection can be accepted") {
        assert!(Instant::now() < deadline, "{}", told());
        sleep(Duration::from_millis(10)).await;
    }
    drop(flood);
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n",
        routes::AGENT_HEALTH
    );
    let mut stream = say(port, request.as_bytes()).await;
    assert!(answer(&mut stream, "}").await.starts_with("HTTP/1.1 200"));
    assert!(agent.try_wait().expect("asked").is_none(), "it goes on");
    let lines = told().matches("no connection can be accepted").count();
    assert!(lines < 5, "{lines} lines about one flood");
    agent.kill().await.expect("killed");
}
