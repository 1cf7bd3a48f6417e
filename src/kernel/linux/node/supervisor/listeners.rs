//! Looks for sockets in the tables of the network namespace, /proc/net.
//!
//! A connection would be seen by the server: in its log, as a first client, as the only one that a test server serves. And there is none
//! for UDP. The tables have all sockets, whatever address or interface they are bound to.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;

use crate::resource::node::process::Port;

/// The state of a listening TCP socket (`TCP_LISTEN`), and of a UDP socket without a peer (`TCP_CLOSE`).
const STATES: [(&str, &str); 2] = [("tcp", "0A"), ("udp", "07")];

/// Returns whether a socket listens on the port: a TCP socket, or a UDP socket without a peer. A socket of all addresses listens on each.
pub(super) fn listens(protocol: &'static str, port: Port) -> io::Result<bool> {
    let state = STATES.into_iter().find(|(name, _)| *name == protocol).map_or("", |(_, state)| state);
    for table in [protocol.to_owned(), format!("{protocol}6")] {
        let matches = |line: &str| {
            socket(line, state).is_some_and(|(address, number)| number == port.number && serves(address, port.address))
        };
        if any_line(&table, matches)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether a Unix socket is bound to the path, or to the abstract name after `@`, and listens if it is a stream.
pub(super) fn unix(path: &str) -> io::Result<bool> {
    let wanted = identity(path);
    any_line("unix", |line| {
        let bound = unix_path(line);
        bound.is_some_and(|bound| bound == path || !bound.starts_with('@') && wanted.is_some() && identity(bound) == wanted)
    })
}

/// Identifies the file. A socket may be bound by another path, through a symbolic link.
fn identity(path: &str) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|status| (status.dev(), status.ino()))
}

fn any_line(table: &str, matches: impl Fn(&str) -> bool) -> io::Result<bool> {
    let file = match File::open(format!("/proc/self/net/{table}")) {
        // A kernel without IPv6 has no tables for it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => return Ok(false),
        other => other?,
    };
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if matches(String::from_utf8_lossy(&line).trim_end_matches('\n')) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

/// Returns whether a socket that is bound to an address can be reached by the one wanted; `None` is any.
fn serves(bound: IpAddr, wanted: Option<IpAddr>) -> bool {
    match (bound, wanted) {
        (_, None) => true,
        (bound, Some(wanted)) if bound.to_canonical() == wanted.to_canonical() => true,
        (IpAddr::V4(bound), Some(wanted)) => bound.is_unspecified() && wanted.is_ipv4(),
        // Also serves IPv4, unless it has the option IPV6_V6ONLY, which the table does not show.
        (IpAddr::V6(bound), Some(_)) => bound.is_unspecified(),
    }
}

/// Parses the local address of a line of proc_net(5) if the socket has the state.
fn socket(line: &str, state: &str) -> Option<(IpAddr, u16)> {
    let mut fields = line.split_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != state {
        return None;
    }
    Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Parses an address: 32-bit words in the order of the machine.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut bytes = [0; 16];
    for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(index * 8)?);
    }
    Some(Ipv6Addr::from(bytes).into())
}

/// Parses the path of a line of the table of Unix sockets, unless it is a stream that does not listen.
fn unix_path(line: &str) -> Option<&str> {
    const DATAGRAM: &str = "0002";
    const LISTENS: u32 = 1 << 16;
    let mut rest = line;
    let mut fields = [""; 7];
    for field in &mut fields {
        (*field, rest) = rest.trim_start_matches(' ').split_once(' ')?;
    }
    let flags = u32::from_str_radix(fields[3], 16).ok()?;
    (fields[4] == DATAGRAM || flags & LISTENS != 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn addresses_are_read_and_all_addresses_include_each() {
        let wanted = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let bound = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(serves(bound("10.0.0.1"), None));
        assert!(serves(bound("0.0.0.0"), wanted("10.0.0.1")) && serves(bound("::"), wanted("10.0.0.1")));
        assert!(serves(bound("::ffff:10.0.0.1"), wanted("10.0.0.1")) && serves(bound("::"), wanted("2001:db8::1")));
        assert!(!serves(bound("0.0.0.0"), wanted("::1")) && !serves(bound("10.0.0.2"), wanted("10.0.0.1")));
    }

    #[test]
    fn the_sockets_of_this_process_are_found() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let tcp = TcpListener::bind(address).unwrap();
            let number = tcp.local_addr().unwrap().port();
            assert!(listens("tcp", Port { address: None, number }).unwrap());
            assert!(listens("tcp", Port { address: Some([127, 0, 0, 1].into()), number }).unwrap());
            drop(tcp);
            // The child of another test has the socket, too, until it executes a program.
            let begin = std::time::Instant::now();
            while listens("tcp", Port { address: None, number }).unwrap() {
                assert!(begin.elapsed().as_secs() < 60);
                std::thread::yield_now();
            }
            let udp = UdpSocket::bind(address).unwrap();
            let number = udp.local_addr().unwrap().port();
            assert!(listens("udp", Port { address: None, number }).unwrap());
        }
    }

    #[test]
    fn a_stream_counts_when_it_listens() {
        let line = |flags: &str, kind: &str| format!("0000000000000000: 00000002 00000000 {flags} {kind} 01 35229 /run/a b");
        assert_eq!(unix_path(&line("00010000", "0001")), Some("/run/a b"));
        assert_eq!(unix_path(&line("00000000", "0001")), None);
        assert_eq!(unix_path(&line("00000000", "0002")), Some("/run/a b"));
        assert_eq!(unix_path("Num       RefCount Protocol Flags    Type St Inode Path"), None);
        assert_eq!(unix_path("0000000000000000: 00000002 00000000 00010000 0001 01 35229"), None);
    }
}
