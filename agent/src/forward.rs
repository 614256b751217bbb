//! The door to a workload from outside its machine: connections to one port of the machine are carried to the port of
//! 127.0.0.1 on which the workload listens now. It looks at nothing that passes.

use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::serve;

/// So many connections are open at a time; further ones wait with the system until one has ended.
const CONNECTIONS: usize = 256;

/// How long the workload may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection on which nothing has passed for so long, either way, is ended.
const IDLE: Duration = Duration::from_secs(600);

/// So much is carried at a time, in bytes.
const BUFFER: usize = 16 * 1024;

/// The side of a door that the runtime has.
#[derive(Debug)]
pub(crate) struct Door {
    /// Where others reach it.
    pub(crate) address: String,
    port: watch::Sender<Option<u16>>,
}

impl Door {
    /// A door that is closed.
    pub(crate) fn new(address: String) -> Self {
        let port = watch::Sender::default();
        Self { address, port }
    }

    /// From now on it leads to this port.
    pub(crate) fn open(&self, port: u16) {
        self.port.send_replace(Some(port));
    }

    /// From now on it leads nowhere.
    pub(crate) fn close(&self) {
        self.port.send_replace(None);
    }

    /// What [`forward`] follows.
    pub(crate) fn port(&self) -> watch::Receiver<Option<u16>> {
        self.port.subscribe()
    }
}

/// Carries connections for as long as it is polled; they end when it is dropped. One that comes while the door is
/// closed, or while nobody listens behind it, is hung up on.
pub(crate) async fn forward(
    listener: TcpListener,
    port: watch::Receiver<Option<u16>>,
) -> Infallible {
    let carry = |visitor| {
        let port = *port.borrow();
        async move {
            // What is wrong with one connection is its visitor's concern.
            if let Some(port) = port {
                let _ = carry(visitor, port, IDLE).await;
            }
        }
    };
    serve::each(listener, CONNECTIONS, carry).await
}

async fn carry(visitor: TcpStream, port: u16, idle: Duration) -> io::Result<()> {
    let connecting = TcpStream::connect(("127.0.0.1", port));
    let workload = timeout(CONNECT, connecting).await??;
    let _ = (visitor.set_nodelay(true), workload.set_nodelay(true));
    let (mut from_visitor, mut to_visitor) = visitor.into_split();
    let (mut from_workload, mut to_workload) = workload.into_split();
    let passed = Passed::new();
    let both = async {
        // Either may end its own side and go on listening to the other.
        tokio::try_join!(
            pump(&mut from_visitor, &mut to_workload, &passed),
            pump(&mut from_workload, &mut to_visitor, &passed),
        )
    };
    tokio::select! {
        result = both => result.map(|_| ()),
        () = passed.nothing_for(idle) => Ok(()),
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    passed: &Passed,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        passed.now();
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        passed.now();
    }
}

/// When something passed last.
struct Passed(Mutex<Instant>);

impl Passed {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has passed for so long.
    async fn nothing_for(&self, idle: Duration) {
        loop {
            let due = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A door to whatever listens where it is opened.
    struct House {
        door: Door,
        outside: u16,
        _tasks: JoinSet<Infallible>,
    }

    impl House {
        async fn new() -> Self {
            let (listener, outside) = listen().await;
            let door = Door::new("http://127.0.0.1:9".into());
            let mut tasks = JoinSet::new();
            tasks.spawn(forward(listener, door.port()));
            Self {
                door,
                outside,
                _tasks: tasks,
            }
        }

        async fn visit(&self) -> TcpStream {
            let visitor = TcpStream::connect(("127.0.0.1", self.outside)).await;
            visitor.expect("the door answers")
        }
    }

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        (listener, port)
    }

    /// All that is said to a visitor until the end.
    async fn heard(visitor: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Hanging up may look like a reset.
        let read = timeout(SOON, visitor.read_to_end(&mut bytes)).await;
        let _ = read.expect("it is hung up");
        bytes
    }

    #[tokio::test]
    async fn each_side_may_end_its_own_half() {
        let house = House::new().await;
        let (workload, port) = listen().await;
        house.door.open(port);
        let mut visitor = house.visit().await;
        visitor.write_all(b"question").await.expect("said");
        visitor.shutdown().await.expect("said all");
        let (mut inside, _) = workload.accept().await.expect("a visitor");
        assert_eq!(heard(&mut inside).await, b"question");
        inside.write_all(b"answer").await.expect("said");
        drop(inside);
        assert_eq!(heard(&mut visitor).await, b"answer");
    }

    #[tokio::test]
    async fn a_closed_door_and_a_workload_that_is_down_hang_up() {
        let house = House::new().await;
        assert_eq!(heard(&mut house.visit().await).await, b"");
        let (workload, port) = listen().await;
        drop(workload);
        house.door.open(port);
        assert_eq!(heard(&mut house.visit().await).await, b"");
        house.door.close();
        assert_eq!(heard(&mut house.visit().await).await, b"");
    }

    #[tokio::test]
    async fn no_more_are_carried_at_a_time_than_are_allowed() {
        let house = House::new().await;
        let (workload, port) = listen().await;
        house.door.open(port);
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let visitor = house.visit().await;
            let (inside, _) = workload.accept().await.expect("carried");
            open.push((visitor, inside));
        }
        let mut waiting = house.visit().await;
        waiting
            .write_all(b"last")
            .await
            .expect("the system takes it");
        let mut bytes = [0; 4];
        drop(open.pop());
        let (mut inside, _) = timeout(SOON, workload.accept())
            .await
            .expect("its turn")
            .expect("carried");
        inside.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, b"last");
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_passes_is_ended() {
        let (workload, port) = listen().await;
        let (outside, front) = listen().await;
        let _visitor = TcpStream::connect(("127.0.0.1", front)).await.expect("in");
        let (visitor, _) = outside.accept().await.expect("a visitor");
        let carried = carry(visitor, port, Duration::from_millis(20));
        timeout(SOON, carried).await.expect("ended").expect("idle");
        let (mut inside, _) = workload.accept().await.expect("it was there");
        assert_eq!(heard(&mut inside).await, b"");
    }
}
