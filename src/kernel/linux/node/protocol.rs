//! The messages between a command and an init: a header in JSON, and bytes. Both are preceded by their lengths.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kernel::Errno;
use crate::resource::node::Node;
use crate::resource::node::file::{LIMIT, Mode, NodePath, Owner};
use crate::resource::node::process::{Process, ProcessName, ProcessStatus, Settled};

/// The longest header, and the longest sequence of bytes. A description contains the bytes of all files.
const HEADER_LIMIT: usize = 16 << 20;
const BYTES_LIMIT: usize = 64 * LIMIT;

/// A request to an init.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Describe the node and its parts.
    Describe,
    /// Set the host name and the domain name.
    SetNames {
        /// The host name.
        hostname: Option<String>,
        /// The domain name; `None` for none.
        domainname: Option<String>,
    },
    /// Write a file, with the bytes of the message.
    PutFile {
        /// Where.
        path: NodePath,
        /// Its permissions.
        mode: Mode,
        /// Its owner.
        owner: Owner,
    },
    /// Remove a file. What the machine has there comes back.
    RemoveFile(NodePath),
    /// Mount the source of a bind. The clone of its mounts follows as a descriptor.
    PutBind {
        /// Where.
        target: NodePath,
        /// Its path on the machine.
        source: String,
        /// Whether it is read-only.
        readonly: bool,
    },
    /// Unmount a bind.
    RemoveBind(NodePath),
    /// Make a process run with this definition. The answer comes at once.
    PutProcess {
        /// Its name.
        name: ProcessName,
        /// The definition.
        definition: Box<Process>,
        /// Whether it must read its configuration again.
        reload: bool,
    },
    /// Start, stop or restart a process, or end it and forget it. The answer comes at once.
    Process(ProcessName, Verb),
    /// Answer when the last request for a process is done.
    Await(ProcessName),
    /// Answer with [`Reply::Done`] whenever a process begins, ends or becomes ready.
    Follow,
    /// End all processes of the node, and then the init itself.
    End,
}

/// What can be done with a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Start it.
    Start,
    /// End it, until it is started.
    Stop,
    /// End it, and start it.
    Restart,
    /// End it and forget it.
    Remove,
}

/// An answer of an init.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The node and its files. The bytes are those of the files, one after the other.
    Description {
        /// The node.
        node: Node,
        /// The device and the inode of its network namespace.
        network: (u64, u64),
        /// The files that were put, as they are now.
        files: Vec<FoundFile>,
        /// The binds that were put, as far as they are there.
        #[serde(default)]
        binds: Vec<FoundBind>,
        /// The processes.
        #[serde(default)]
        processes: Vec<ProcessStatus>,
    },
    /// The last request for a process is done, or has failed.
    Settled(Settled),
    /// There is no such process, or it does not run.
    Refused(String),
    /// The system refused.
    Failed(Refusal),
}

/// A file as an init finds it.
#[derive(Debug, Serialize, Deserialize)]
pub struct FoundFile {
    /// Where.
    pub path: NodePath,
    /// Its permissions.
    pub mode: Mode,
    /// Its owner.
    pub owner: Owner,
    /// Its length in bytes; `None` if it is gone, or no regular file.
    pub length: Option<usize>,
}

/// A bind as an init finds it.
#[derive(Debug, Serialize, Deserialize)]
pub struct FoundBind {
    /// Where.
    pub target: NodePath,
    /// The path on the machine.
    pub source: String,
    /// Whether it is read-only.
    pub readonly: bool,
    /// The device and the inode of what is mounted.
    pub identity: (u64, u64),
}

/// What the system refused inside of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// The step as a phrase: `mount /proc`.
    pub step: String,
    /// The error number.
    pub number: i32,
}

impl Refusal {
    /// Returns what the system refused.
    pub fn new(step: impl Into<String>, error: &io::Error) -> Self {
        Self { step: step.into(), number: Errno::from(error).number }
    }
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        Self { number: refusal.number, message: Some(format!("cannot {}", refusal.step)) }
    }
}

/// Sends a message.
///
/// # Errors
/// Fails if the other side does not take it.
pub fn send(mut socket: impl Write, header: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let mut message = Vec::with_capacity(8 + header.len());
    for part in [header.as_slice(), bytes] {
        message.extend(u32::try_from(part.len()).map_err(io::Error::other)?.to_ne_bytes());
    }
    message.extend(header);
    socket.write_all(&message)?;
    socket.write_all(bytes)
}

/// Receives a message; `None` at the end of the connection.
///
/// # Errors
/// Fails if the message is malformed, too long, or does not come.
pub fn receive<T: DeserializeOwned>(mut socket: impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0; 8];
    match socket.read_exact(&mut lengths) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = |at: usize, limit: usize| {
        let length = lengths.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
        usize::try_from(length).ok().filter(|length| *length <= limit).ok_or_else(|| io::Error::other("the message is too long"))
    };
    let mut header = vec![0; length(0, HEADER_LIMIT)?];
    let mut bytes = vec![0; length(4, BYTES_LIMIT)?];
    socket.read_exact(&mut header)?;
    socket.read_exact(&mut bytes)?;
    Ok(Some((serde_json::from_slice(&header)?, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole() {
        let mut wire = Vec::new();
        send(&mut wire, &Request::RemoveFile("/etc/motd".parse().unwrap()), b"abc").unwrap();
        let (request, bytes) = receive::<Request>(wire.as_slice()).unwrap().unwrap();
        assert!(matches!(request, Request::RemoveFile(path) if path.as_str() == "/etc/motd"));
        assert_eq!(bytes, b"abc");
        assert!(receive::<Request>(&wire[..wire.len() - 1]).is_err());
        assert!(receive::<Request>(&[][..]).unwrap().is_none());
        assert!(receive::<Request>(&[0xff; 8][..]).is_err());
    }
}
