//! HTTP connections with bounds: how many at a time, how long for a header and for a body, and none for ever.
//! Whoever connects and says nothing costs one place for a while, and never decides for how long.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The longest body that is read, in bytes. A quote is the largest thing that anybody sends.
pub const BODY: usize = 256 * 1024;

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// So much of a connection is kept in memory until somebody reads it, in bytes; a header fits in it.
const BUFFER: usize = 32 * 1024;

/// How long a connection whose life is over may take to end the request that it is in. Longer than the longest
/// wait that a caller can ask for.
const LEAVE: Duration = Duration::from_secs(60);

/// The pause after the system has refused a connection, such as when there are too many open files.
const REFUSED: Duration = Duration::from_millis(500);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So many are open at a time; further ones wait with the system until one has ended.
    pub connections: usize,
    /// How long a request's header may take, counted from the end of the last answer.
    pub header: Duration,
    /// After this long a connection ends with the request that it is in: a caller that does not read its answers
    /// can hold no place for ever.
    pub life: Duration,
}

impl Bounds {
    /// The usual times for so many connections.
    pub fn of(connections: usize) -> Self {
        Self {
            connections,
            header: Duration::from_secs(20),
            life: Duration::from_secs(600),
        }
    }
}

/// Serves connections for as long as it is polled; they end when it is dropped. What the system refuses is
/// tried again.
pub async fn serve(listener: TcpListener, routes: Router, bounds: Bounds) -> Infallible {
    let hold = |stream| hold(stream, routes.clone(), bounds);
    each(listener, bounds.connections, hold).await
}

/// Takes connections, at most so many at a time, and has each of them held.
pub(crate) async fn each<F>(
    listener: TcpListener,
    most: usize,
    hold: impl Fn(TcpStream) -> F,
) -> Infallible
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    let mut refused = false;
    loop {
        while open.len() >= most.max(1) {
            open.join_next().await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                refused = false;
                open.spawn(hold(stream));
            }
            Err(error) if is_about_one(&error) => {}
            Err(error) => {
                if !refused {
                    tracing::error!(error = %error, "no connection can be accepted at the moment");
                }
                refused = true;
                sleep(REFUSED).await;
            }
        }
    }
}

/// Serves one connection. What is wrong with it is its caller's concern.
async fn hold(stream: TcpStream, routes: Router, bounds: Bounds) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    if timeout(bounds.life, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        // Past this it is dropped, in whatever it is.
        let _ = timeout(LEAVE, connection).await;
    }
}

/// Whether an error is one caller's, and says nothing about the next.
fn is_about_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It broke off, or is too long.
    #[error("the body broke off, or is longer than {0} bytes")]
    TooLong(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
}

/// Reads a whole body of at most `most` bytes.
///
/// # Errors
/// When it is longer, breaks off, or takes longer than ten seconds.
pub async fn read(body: Body, most: usize) -> Result<Bytes, BodyError> {
    // What announces itself as too long is not waited for.
    if body.size_hint().lower() > most as u64 {
        return Err(BodyError::TooLong(most));
    }
    match timeout(ARRIVAL, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(BodyError::TooLong(most)),
        Err(_) => Err(BodyError::TooSlow),
    }
}
