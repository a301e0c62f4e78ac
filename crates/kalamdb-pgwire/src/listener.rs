//! The door itself: accepts connections, and brings each from its first byte to its end.
//!
//! A connection that has not logged in holds little memory, has little time, and is one of a bounded number. What goes
//! wrong in one connection, a panic included, ends that connection and no other.

use crate::connection::{Connection, shutting_down};
use crate::startup::{self, Encryption, Opening};
use crate::tls::{Socket, Tls};
use crate::wire::{End, Wire};
use futures::FutureExt;
use kalamdb_commons::SqlError;
use kalamdb_core::{Database, Peer, Session};
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections may be logging in at once. Beyond it new ones are closed: a flood must not eat the memory.
const LOGINS_MAX: usize = 1_000;
/// How long the last words of a connection may take to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// Before the first keep-alive probe, between probes, and how many: a dead subscriber is found in two minutes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);
/// How long sent data may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(120);
/// How much the kernel takes ahead of what the peer has room for: enough to keep the line busy, little enough that an
/// error or a cancelled query's end is not behind megabytes of rows.
const UNSENT_KERNEL_BYTES_MAX: u32 = 128 * 1024;
/// How long to wait after a failed accept (no file descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A port that is ours. It answers from `serve` on: who finds it open finds a server that is ready.
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
}

/// An open port.
pub struct Listener {
    listener: TcpListener,
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What every connection needs.
struct House {
    database: Database,
    tls: Option<Tls>,
    logins: Semaphore,
    login_timeout: Duration,
    stop: Stop,
    tasks: TaskTracker,
}

/// Ends a listener and its connections.
#[derive(Clone, Default)]
pub struct Stop {
    gentle: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    /// No new connections; idle ones end, the others when their transaction has.
    pub fn gently(&self) {
        self.gentle.cancel();
    }

    /// All connections end.
    pub fn at_once(&self) {
        self.gentle.cancel();
        self.hard.cancel();
    }
}

impl Port {
    /// Takes a port.
    ///
    /// # Errors
    /// The operating system's: mostly that the port is in use.
    pub fn bind(address: SocketAddr) -> io::Result<Port> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As the standard library's listeners do: a port that was just closed can be opened again.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Port { socket, address })
    }

    /// Where it listens: the port that was given, when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens it.
    ///
    /// # Errors
    /// The operating system's: that the port is in use.
    pub fn listen(self) -> io::Result<Listener> {
        Ok(Listener { listener: self.socket.listen(BACKLOG)? })
    }
}

impl Listener {
    /// Accepts connections until the stop, then waits for the last one to end. A client has `login_timeout` from its
    /// connect to the end of its login (PostgreSQL's authentication_timeout).
    pub async fn serve(self, database: Database, tls: Option<Tls>, login_timeout: Duration, stop: Stop) {
        let Listener { listener } = self;
        let logins = Semaphore::new(LOGINS_MAX);
        let house = Arc::new(House { database, tls, logins, login_timeout, stop, tasks: TaskTracker::new() });
        loop {
            let accepted = tokio::select! {
                () = house.stop.gentle.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    house.tasks.spawn(receive(house.clone(), stream, peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        house.tasks.close();
        house.tasks.wait().await;
    }
}

/// One connection from its first byte to its end.
async fn receive(house: Arc<House>, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = configure(&stream) {
        tracing::debug!(%error, %peer, "could not configure a socket");
    }
    let Ok(login) = house.logins.try_acquire() else {
        tracing::warn!(%peer, "too many connections are logging in; one was closed");
        return;
    };
    let entered = tokio::select! {
        biased;
        () = house.stop.gentle.cancelled() => None,
        entered = tokio::time::timeout(house.login_timeout, enter(&house, stream, peer)) => entered.ok().flatten(),
    };
    drop(login);
    if let Some((wire, session)) = entered {
        converse(&house, wire, session, peer).await;
    }
}

/// Latency first, dead peers found, little in the kernel.
fn configure(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let (idle, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_notsent_lowat(UNSENT_KERNEL_BYTES_MAX)?;
    }
    Ok(())
}

/// The connection with its session; `None` when it ended before (the client has been told why, if it can be).
async fn enter(house: &House, stream: TcpStream, peer: SocketAddr) -> Option<(Wire<Socket>, Session)> {
    let local = stream.local_addr().ok();
    let (mut wire, packet, encrypted) = opened(house, stream, peer).await?;
    let plain = ScramServerAuth::new();
    let scram = house.tls.as_ref().filter(|_| encrypted).map_or(&plain, Tls::scram);
    let peer_facts = Peer { address: Some(peer), local, encrypted };
    let login = startup::login(&mut wire, &house.database, packet, peer_facts, scram);
    let end = match AssertUnwindSafe(login).catch_unwind().await {
        Ok(Ok(session)) => return Some((wire, session)),
        Ok(Err(end)) => end,
        Err(_) => panicked(&mut wire),
    };
    part(&mut wire, end, peer).await;
    None
}

/// The connection with its startup packet, and whether it is encrypted.
async fn opened(house: &House, stream: TcpStream, peer: SocketAddr) -> Option<(Wire<Socket>, startup::Packet, bool)> {
    let mut encryption = if house.tls.is_some() { Encryption::Offered } else { Encryption::Unavailable };
    let mut socket = Socket::Plain(stream);
    if let (Socket::Plain(stream), Some(tls)) = (&mut socket, &house.tls) {
        let mut first = [0];
        stream.peek(&mut first).await.ok()?;
        if first[0] == TLS_HANDSHAKE {
            let Socket::Plain(stream) = socket else { return None };
            socket = accept(tls, stream, true, peer).await?;
            encryption = Encryption::On;
        }
    }
    let mut wire = Wire::new(socket);
    loop {
        match startup::open(&mut wire, encryption).await {
            Ok(Opening::Login(packet)) => return Some((wire, packet, encryption == Encryption::On)),
            Ok(Opening::Cancel(request)) => {
                request.carry_out(&house.database);
                return None;
            }
            Ok(Opening::Encrypt) => {
                let (Socket::Plain(stream), Some(tls)) = (wire.into_stream(), &house.tls) else { return None };
                wire = Wire::new(accept(tls, stream, false, peer).await?);
                encryption = Encryption::On;
            }
            Err(end) => {
                part(&mut wire, end, peer).await;
                return None;
            }
        }
    }
}

async fn accept(tls: &Tls, stream: TcpStream, direct: bool, peer: SocketAddr) -> Option<Socket> {
    match tls.accept(stream, direct).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::debug!(%error, %peer, "TLS handshake failed");
            None
        }
    }
}

async fn converse(house: &House, mut wire: Wire<Socket>, session: Session, peer: SocketAddr) {
    let serving = Connection::new(&mut wire, session, house.stop.gentle.clone()).serve();
    let ended = tokio::select! {
        biased;
        () = house.stop.hard.cancelled() => Ok(End::Fatal(shutting_down())),
        ended = AssertUnwindSafe(serving).catch_unwind() => ended,
    };
    let end = match ended {
        Ok(end) => end,
        Err(_) => panicked(&mut wire),
    };
    part(&mut wire, end, peer).await;
}

/// What a client is told when our code broke an invariant; the panic's own words are in the log.
fn panicked(wire: &mut Wire<Socket>) -> End {
    wire.drop_partial();
    End::Fatal(SqlError::internal("the server met an error of its own and closes this connection"))
}

/// The last words.
async fn part(wire: &mut Wire<Socket>, end: End, peer: SocketAddr) {
    if let End::Fatal(error) = &end {
        tracing::debug!(%error, %peer, "connection ended");
        startup::refuse(wire, error);
    }
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, wire.close()).await;
}
