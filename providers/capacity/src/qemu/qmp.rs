//! QEMU's control protocol, as far as it is needed: lines of JSON over a socket in the unit's folder. The server speaks
//! first, takes one client at a time, and sends events whenever it likes; nobody needs them here. Every step has a
//! deadline and every line a bound.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// The longest line, in bytes.
const LINE: u64 = 64 * 1024;

/// So many events may come before an answer.
const EVENTS: usize = 1000;

/// Why a machine could not be talked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// Nobody listens, or the connection broke.
    #[error("the control socket")]
    Socket(#[from] io::Error),
    /// Nothing was heard in time. Somebody else may hold the connection.
    #[error("no answer to {0} in time")]
    Late(String),
    /// It says what the protocol does not have.
    #[error("{0}")]
    Garbled(&'static str),
    /// It refuses a command.
    #[error("{command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// Why.
        reason: String,
    },
}

/// A connection, ready for commands.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The number of the last command.
    last: u64,
    /// How long each command may take.
    patience: Duration,
}

impl Qmp {
    /// Connects to a socket, reads the greeting and makes the connection ready.
    ///
    /// # Errors
    /// When nobody listens, or no one answers in time as the protocol says.
    pub(super) async fn connect(socket: &Path, patience: Duration) -> Result<Self, QmpError> {
        let connecting = async {
            let short = Short::of(socket)?;
            UnixStream::connect(short.path).await
        };
        let stream = in_time("the connection", patience, connecting).await??;
        let (reader, writer) = stream.into_split();
        let mut qmp = Self {
            reader: BufReader::new(reader),
            writer,
            last: 0,
            patience,
        };
        let greeting = in_time("the greeting", patience, line(&mut qmp.reader)).await??;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Garbled("it does not greet as QEMU does"));
        }
        qmp.execute("qmp_capabilities").await?;
        Ok(qmp)
    }

    /// Carries out a command without arguments. Answers what it returns.
    ///
    /// # Errors
    /// When it is refused, or not answered in time.
    pub(super) async fn execute(&mut self, command: &str) -> Result<Value, QmpError> {
        self.last += 1;
        let patience = self.patience;
        in_time(command, patience, self.exchange(command)).await?
    }

    async fn exchange(&mut self, command: &str) -> Result<Value, QmpError> {
        let request = json!({"execute": command, "id": self.last});
        let text = format!("{request}\n");
        self.writer.write_all(text.as_bytes()).await?;
        for _ in 0..EVENTS {
            let mut answer = line(&mut self.reader).await?;
            // An event, or the answer to a command that was given up.
            if answer.get("id") != Some(&self.last.into()) {
                continue;
            }
            if let Some(error) = answer.get("error") {
                let reason = error.get("desc").and_then(Value::as_str);
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    reason: reason.unwrap_or("no reason is given").to_owned(),
                });
            }
            return Ok(answer["return"].take());
        }
        Err(QmpError::Garbled("it sends events and no answer"))
    }
}

async fn in_time<T>(
    what: &str,
    patience: Duration,
    step: impl Future<Output = T>,
) -> Result<T, QmpError> {
    let late = |_| QmpError::Late(what.to_owned());
    timeout(patience, step).await.map_err(late)
}

async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Value, QmpError> {
    let mut bytes = Vec::new();
    let read = reader.take(LINE).read_until(b'\n', &mut bytes).await?;
    if read == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    if bytes.last() != Some(&b'\n') {
        return Err(QmpError::Garbled("a line is too long, or broke off"));
    }
    serde_json::from_slice(&bytes).map_err(|_| QmpError::Garbled("a line is no JSON"))
}

/// A path to a socket that is short enough for the system, for as long as this lives: through its open folder.
struct Short {
    path: PathBuf,
    _folder: File,
}

impl Short {
    fn of(socket: &Path) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let folder = File::open(socket.parent().ok_or_else(wrong)?)?;
        let name = socket.file_name().ok_or_else(wrong)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
        Ok(Self {
            path: path.join(name),
            _folder: folder,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;
    use tokio::task::JoinHandle;

    use super::*;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;
    const SOON: Duration = Duration::from_secs(10);

    /// A server that says the first of each pair when it has been sent the second.
    struct Server {
        folder: tempfile::TempDir,
        task: JoinHandle<()>,
    }

    impl Server {
        fn start(script: &'static [(&'static str, &'static str)]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let listener = UnixListener::bind(folder.path().join("s")).expect("listening");
            let task = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a client");
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                for (wanted, said) in script {
                    if !wanted.is_empty() {
                        let line = lines.next_line().await.expect("read").expect("a line");
                        assert!(line.contains(wanted), "{line}, not {wanted}");
                    }
                    let said = format!("{said}\n");
                    writer.write_all(said.as_bytes()).await.expect("written");
                }
                // Silent and open.
                let _ = lines.next_line().await;
            });
            Self { folder, task }
        }

        async fn connect(&self) -> Result<Qmp, QmpError> {
            Qmp::connect(&self.folder.path().join("s"), SOON).await
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    #[tokio::test]
    async fn events_before_an_answer_are_passed_over() {
        let server = Server::start(&[
            ("", GREETING),
            ("qmp_capabilities", r#"{"return": {}, "id": 1}"#),
            (
                "query-status",
                "{\"event\": \"RESUME\"}\n{\"return\": {}, \"id\": 1}\n{\"return\": {\"status\": \"running\"}, \"id\": 2}",
            ),
        ]);
        let mut qmp = server.connect().await.expect("connected");
        let status = qmp.execute("query-status").await.expect("an answer");
        assert_eq!(status["status"], "running");
    }

    #[tokio::test]
    async fn a_refusal_is_said_in_its_own_words() {
        let server = Server::start(&[
            ("", GREETING),
            ("qmp_capabilities", r#"{"return": {}, "id": 1}"#),
            (
                "quit",
                r#"{"error": {"class": "GenericError", "desc": "not now"}, "id": 2}"#,
            ),
        ]);
        let mut qmp = server.connect().await.expect("connected");
        let error = qmp.execute("quit").await.expect_err("refused");
        assert_eq!(error.to_string(), "quit: not now");
    }

    #[tokio::test]
    async fn what_does_not_greet_is_not_qemu() {
        let server = Server::start(&[("", r#"{"hello": 1}"#)]);
        let error = server.connect().await.expect_err("no greeting");
        assert!(matches!(error, QmpError::Garbled(_)), "{error:?}");
        let server = Server::start(&[("", "SSH-2.0")]);
        assert!(server.connect().await.is_err());
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).expect("listening");
        let flood = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        let error = Qmp::connect(&socket, SOON).await.expect_err("too long");
        assert!(matches!(error, QmpError::Garbled(_)), "{error:?}");
        flood.await.expect("it was hung up on");
    }

    #[tokio::test]
    async fn a_second_client_waits_and_gives_up() {
        let server = Server::start(&[
            ("", GREETING),
            ("qmp_capabilities", r#"{"return": {}, "id": 1}"#),
        ]);
        let _first = server.connect().await.expect("connected");
        let socket = server.folder.path().join("s");
        let second = Qmp::connect(&socket, Duration::from_millis(50)).await;
        let error = second.expect_err("nobody answers");
        assert_eq!(error.to_string(), "no answer to the greeting in time");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_at_once_however_long_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("made");
        let socket = deep.join("s");
        let error = Qmp::connect(&socket, SOON).await.expect_err("nobody");
        let QmpError::Socket(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
