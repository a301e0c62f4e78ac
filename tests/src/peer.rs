//! A client that says exactly what it is told, well-formed or not, and reads messages as they come.

use crate::{ROOT_PASSWORD, Server};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub tag: char,
    /// Its body.
    pub body: Vec<u8>,
}

impl Message {
    /// The field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, name: char) -> Option<String> {
        let fields = self.body.split(|byte| *byte == 0);
        let found = fields.filter(|field| field.first() == Some(&(name as u8))).map(|field| &field[1..]).next();
        found.map(|text| String::from_utf8_lossy(text).into_owned())
    }
    /// A text body without its zero byte: a command tag.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.strip_suffix(&[0]).unwrap_or(&self.body)).into_owned()
    }
    /// A message in a transcript: its type, and what tells it from others of its type.
    pub fn shown(&self) -> String {
        match self.tag {
            'C' => format!("C {}", self.text()),
            'Z' => format!("Z {}", self.body.first().map_or('?', |status| *status as char)),
            'E' => format!("E {}", self.field('C').unwrap_or_default()),
            'D' => format!("D {}", cells(&self.body).join("|")),
            other => other.to_string(),
        }
    }
}

pub(crate) fn cells(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut cells = Vec::new();
    while rest.len() >= 4 {
        let length = i32::from_be_bytes(rest[..4].try_into().expect("four bytes"));
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                cells.push(String::from_utf8_lossy(&rest[..length]).into_owned());
                rest = &rest[length..];
            }
            Err(_) => cells.push("NULL".to_owned()),
        }
    }
    cells
}

/// A connection.
pub struct Peer {
    /// The socket.
    pub stream: TcpStream,
    /// BackendKeyData's body: process and secret, as a cancel request wants them.
    pub key: Vec<u8>,
}

impl Peer {
    /// Connects and says nothing.
    pub fn connect(server: &Server) -> Self {
        Self::connect_to(server.address())
    }

    /// Connects to any server that speaks the protocol, and says nothing.
    pub fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the port is open");
        stream.set_read_timeout(Some(ANSWER_MAX)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, key: Vec::new() }
    }

    /// Connects and logs in as root, up to the first ReadyForQuery.
    pub fn root(server: &Server) -> Self {
        Self::login(server, "root", ROOT_PASSWORD)
    }

    /// Connects and logs in, up to the first ReadyForQuery.
    pub fn login(server: &Server, user: &str, password: &str) -> Self {
        Self::login_to(server.address(), user, password, "kalamdb")
    }

    /// Connects to any server and logs in, with a password where the server asks for one.
    pub fn login_to(address: SocketAddr, user: &str, password: &str, database: &str) -> Self {
        let mut peer = Self::connect_to(address);
        peer.send(&startup(user, database));
        let asked = peer.expect('R');
        if asked.body != 0_i32.to_be_bytes() {
            assert_eq!(asked.body[..4], 10_i32.to_be_bytes(), "SASL is asked for");
            peer.scram(password);
        }
        let ready = peer.until('Z');
        peer.key = ready.iter().find(|message| message.tag == 'K').map(|key| key.body.clone()).unwrap_or_default();
        peer
    }

    /// Goes through SCRAM-SHA-256.
    pub fn scram(&mut self, password: &str) {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        self.send(&sasl_initial("SCRAM-SHA-256", scram.message()));
        let challenge = self.expect('R');
        scram.update(&challenge.body[4..]).expect("a challenge");
        self.send(&message('p', scram.message()));
        let last = self.expect('R');
        scram.finish(&last.body[4..]).expect("the server knows the password too");
        assert_eq!(self.expect('R').body, 0_i32.to_be_bytes(), "AuthenticationOk");
    }

    /// Sends bytes. A server that has closed already is found out when reading.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// The next message; `None` when the connection was closed.
    pub fn next(&mut self) -> Option<Message> {
        match self.try_next() {
            Ok(message) => Some(message),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => None,
            Err(error) => panic!("no answer came: {error}"),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// When the connection was closed, or nothing came in time.
    pub fn try_next(&mut self) -> std::io::Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        let mut body = vec![0; length - 4];
        // A message that ends early is another thing than a connection that ends between two.
        self.stream.read_exact(&mut body).map_err(|error| std::io::Error::other(format!("a message ends: {error}")))?;
        Ok(Message { tag: head[0] as char, body })
    }

    /// The next byte, as an answer to SSLRequest is one.
    pub fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.fill(&mut byte).then_some(byte[0])
    }

    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read_exact(buffer) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => false,
            Err(error) => panic!("no answer came: {error}"),
        }
    }

    /// The next message, which must be of this type.
    pub fn expect(&mut self, tag: char) -> Message {
        match self.next() {
            Some(message) if message.tag == tag => message,
            other => panic!("expected {tag}, found {:?}", other.map(|message| message.shown())),
        }
    }

    /// Messages up to one of this type, which is the last.
    pub fn until(&mut self, tag: char) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().unwrap_or_else(|| panic!("closed before {tag}: {}", transcript(&messages)));
            let last = message.tag == tag;
            messages.push(message);
            if last {
                return messages;
            }
        }
    }

    /// Sends, and gives the transcript up to ReadyForQuery.
    pub fn ask(&mut self, bytes: &[u8]) -> String {
        self.send(bytes);
        transcript(&self.until('Z'))
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Messages in one line. Parameter and notice messages may come at any time and are left out.
pub fn transcript(messages: &[Message]) -> String {
    let told = messages.iter().filter(|message| !matches!(message.tag, 'S' | 'N' | 'K'));
    told.map(Message::shown).collect::<Vec<_>>().join(", ")
}

/// A message with its length.
pub fn message(tag: char, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a small message");
    [&[tag as u8][..], &length.to_be_bytes(), body].concat()
}

/// A text with the zero byte that ends it.
pub fn cstring(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A startup packet with a code.
pub fn untagged(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).expect("a small packet");
    [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

/// StartupMessage, protocol 3.0.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let parameters = [cstring("user"), cstring(user), cstring("database"), cstring(database), vec![0]].concat();
    untagged(196_608, &parameters)
}

/// SASLInitialResponse.
pub fn sasl_initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a small message").to_be_bytes();
    message('p', &[&cstring(mechanism)[..], &length, data].concat())
}

/// Query.
pub fn query(sql: &str) -> Vec<u8> {
    message('Q', &cstring(sql))
}

/// Parse, with declared types.
pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let count = u16::try_from(types.len()).expect("few types").to_be_bytes();
    let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    message('P', &[cstring(name), cstring(sql), count.to_vec(), types].concat())
}

/// Bind, all in text.
pub fn bind(portal: &str, statement: &str, values: &[Option<&str>]) -> Vec<u8> {
    let mut body = [cstring(portal), cstring(statement), vec![0, 0]].concat();
    body.extend(u16::try_from(values.len()).expect("few values").to_be_bytes());
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend(u32::try_from(text.len()).expect("a short value").to_be_bytes());
                body.extend(text.as_bytes());
            }
        }
    }
    body.extend([0, 0]);
    message('B', &body)
}

/// Describe of a statement (`S`) or portal (`P`).
pub fn describe(kind: char, name: &str) -> Vec<u8> {
    message('D', &[vec![kind as u8], cstring(name)].concat())
}

/// Close of a statement (`S`) or portal (`P`).
pub fn close(kind: char, name: &str) -> Vec<u8> {
    message('C', &[vec![kind as u8], cstring(name)].concat())
}

/// Execute, with a row limit (0: none).
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message('E', &[cstring(portal), rows.to_be_bytes().to_vec()].concat())
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message('S', &[])
}
