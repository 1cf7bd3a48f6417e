//! The way out, by pasta or slirp4netns, where they are installed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::harness::programs::{explain_missing, find};
use super::super::harness::tools::inside;
use super::super::harness::{User, eventually, sh, skip, with_users};
use super::PAIR;

/// Is a name server to which every name is that of 203.0.113.7, and none has an IPv6 address (RFC 1035, section 4).
fn answer_queries(socket: &UdpSocket) {
    const HEADER: usize = 12;
    let mut buffer = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let name = buffer[HEADER..length].iter().position(|byte| *byte == 0).unwrap() + 1;
        let question = &buffer[HEADER..HEADER + name + 4];
        let is_a = question[name..name + 2] == [0, 1];
        let mut answer = buffer[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
        answer.extend(question);
        if is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
        }
        socket.send_to(&answer, client).unwrap();
    }
}

#[test]
fn without_a_program_the_remedy_is_told() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let mut command = user.command("env");
        command.arg("PATH=/nowhere").arg(user.program());
        let output = command.args(["apply", "--uplink", &file]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1), "{stderr}");
        assert!(stderr.contains("hint: install passt (which includes pasta) or slirp4netns"), "{stderr}");
        user.topo(&["apply", "--uplink=carrier-pigeon", &file]).exits(1).says("pasta");
        user.assert_nothing_left();
    });
}

#[test]
fn a_release_of_pasta_that_breaks_tcp_is_not_taken() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let pasta = user.file("pasta", "#!/bin/sh\necho pasta unknown version\n");
        fs::set_permissions(&pasta, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = user.command("env");
        command.arg(format!("PATH={}", user.home.display())).arg(user.program());
        let output = command.args(["apply", "--uplink", &file]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1), "{stderr}");
        assert!(stderr.contains("pasta is too old") && stderr.contains("hint: install slirp4netns, or passt 2024"), "{stderr}");
        user.assert_nothing_left();
    });
}

/// One way through the delay line.
const DELAY: Duration = Duration::from_millis(20);

/// An Ethernet interface whose frames a program reads and writes.
fn tap(name: &str) -> File {
    nix::ioctl_write_ptr_bad!(set_interface, 0x4004_54ca, nix::libc::ifreq);
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: an ifreq of zeros is valid.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = nix::libc::IFF_TAP | nix::libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap();
    // SAFETY: TUNSETIFF reads a name, which ends with a zero, and flags from an ifreq.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }.unwrap();
    file
}

/// Passes on frames in one direction until the test ends.
fn delay(mut from: File, mut to: File) {
    let (sender, frames) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 70_000];
        while let Ok(length) = from.read(&mut buffer) {
            sender.send((Instant::now() + DELAY, buffer[..length].to_vec())).unwrap();
        }
    });
    std::thread::spawn(move || {
        for (due, frame) in frames {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // An interface that is down takes none.
            let _ = to.write(&frame);
        }
    });
}

/// Is a server that reads all that a client has to say, then tells how much that was, and says as much.
fn count(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received);
            let _ = stream.write_all(format!("{}\n", received.len()).as_bytes());
            let _ = stream.write_all(&received);
        });
    }
}

fn echo(socket: &UdpSocket) {
    let mut buffer = [0; 2000];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], client);
    }
}

/// Talks to the servers at an address; a failure is the result.
fn talk(address: &str) -> std::io::Result<()> {
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(15));
    let mut stream = TcpStream::connect(format!("{address}:80"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(PATIENCE)?;
    stream.set_write_timeout(PATIENCE)?;
    // While small segments wait for their acknowledgement, only the window changes.
    for _ in 0..100 {
        stream.write_all(&[1; 600])?;
        std::thread::sleep(Duration::from_millis(1));
    }
    stream.write_all(&vec![2; 2_000_000])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert!(answer.starts_with(b"2060000\n") && answer.len() == 2_060_008, "{} bytes", answer.len());
    let socket = UdpSocket::bind(if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" })?;
    socket.set_read_timeout(PATIENCE)?;
    socket.send_to(b"hello", format!("{address}:7"))?;
    let mut buffer = [0; 10];
    let length = socket.recv(&mut buffer)?;
    assert_eq!(&buffer[..length], b"hello");
    Ok(())
}

const ROUTER: &str = "name: router\n\
    namespaces:\n  \
      host:\n    \
        interfaces: { v0: { addresses: [10.9.0.1/24, 'fd09::1/64'] } }\n    \
        sysctls: { net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1 }\n  \
      a:\n    \
        interfaces: { eth0: { addresses: [10.9.0.2/24, 'fd09::2/64'] } }\n    \
        routes: [{ to: default, via: 10.9.0.1 }, { to: default, via: 'fd09::1' }]\n\
    links:\n  - endpoints: [host:v0, a:eth0]\n";

const MASQUERADE: &str = "table inet nat {\n  chain out {\n    type nat hook postrouting priority 100\n    \
    oifname uplink masquerade\n  }\n}\n";

#[test]
fn namespaces_behind_masquerade_reach_out_over_both_families() {
    with_users(|| {
        let user = User::new();
        if user.needs_number().is_none() {
            return;
        }
        sh("mknod /tmp/tun c 10 200 && chmod 666 /tmp/tun && mount --bind /tmp/tun /dev/net/tun");
        if File::options().read(true).write(true).open("/dev/net/tun").is_err() {
            skip("there is no /dev/net/tun");
            return;
        }
        sh("ip netns add internet; echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range");
        let (near, far) = (tap("eth0"), inside(Some("internet"), || tap("eth0")));
        delay(near.try_clone().unwrap(), far.try_clone().unwrap());
        delay(far, near);
        sh("ip address add 198.51.100.2/24 dev eth0 && ip address add 2001:db8::2/64 dev eth0 nodad && ip link set eth0 up && \
            ip -n internet address add 198.51.100.1/24 dev eth0 && ip -n internet address add 2001:db8::1/64 dev eth0 nodad && \
            ip -n internet link set eth0 up && ip route add default via 198.51.100.1 && ip route add default via 2001:db8::1");
        for address in ["198.51.100.1", "[2001:db8::1]"] {
            let listener = inside(Some("internet"), || TcpListener::bind(format!("{address}:80")).unwrap());
            std::thread::spawn(move || count(&listener));
            let socket = inside(Some("internet"), || UdpSocket::bind(format!("{address}:7")).unwrap());
            std::thread::spawn(move || echo(&socket));
        }
        let names = inside(Some("internet"), || UdpSocket::bind("198.51.100.1:53").unwrap());
        std::thread::spawn(move || answer_queries(&names));
        sh("echo nameserver 198.51.100.1 > /tmp/resolv.conf && mount --bind /tmp/resolv.conf /etc/resolv.conf");
        let (file, rules) = (user.file("lab.yaml", ROUTER), user.file("rules", MASQUERADE));
        let outcome = user.topo(&["apply", "--uplink", "--wait", &file]);
        if outcome.stderr.contains("hint: install") {
            skip(&explain_missing("slirp4netns"));
            return;
        }
        outcome.ok().says("connected to the outside by");
        if user.topo(&["exec", "host", "--", "nft", "-f", &rules]).status != 0 {
            skip("nft cannot masquerade here");
        } else {
            from_namespace(&user);
        }
        user.topo(&["destroy", "router"]).ok();
        user.assert_nothing_left();
        sh("ip netns del internet");
    });
}

/// Insists that namespace `a` reaches the servers, a name server, and an address that answers pings.
fn from_namespace(user: &User) {
    let mut inhabitant = user.start(&["exec", "a", "--", "sleep", "1000"]);
    let namespace = format!("/proc/{}/ns/net", inhabitant.id());
    eventually("a process in the namespace", || {
        fs::read_to_string(format!("/proc/{}/comm", inhabitant.id())).unwrap() == "sleep\n"
    });
    let talk_inside = |address| {
        nix::sched::setns(File::open(&namespace).unwrap(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        talk(address)
    };
    for address in ["198.51.100.1", "[2001:db8::1]"] {
        std::thread::scope(|scope| scope.spawn(|| talk_inside(address)).join())
            .unwrap()
            .unwrap_or_else(|error| panic!("{address}: {error}"));
    }
    user.topo(&["exec", "a", "--", "ping", "-n", "-c", "1", "-W", "5", "198.51.100.1"]).ok();
    user.topo(&["exec", "a", "--", "getent", "ahostsv4", "www.example.test"]).ok().says("203.0.113.7");
    inhabitant.kill().unwrap();
    inhabitant.wait().unwrap();
}

#[test]
fn host_reaches_out_and_nothing_reaches_in() {
    with_users(|| {
        let user = User::new();
        let Some(number) = user.needs_number() else { return };
        // The device as most systems have it.
        sh("mknod /tmp/tun c 10 200 && chmod 666 /tmp/tun && mount --bind /tmp/tun /dev/net/tun");
        // A machine with a way to a server.
        sh("ip netns add internet && ip link add eth0 type veth peer eth0 netns internet && \
            ip address add 198.51.100.2/24 dev eth0 && ip link set eth0 up && \
            ip -n internet address add 198.51.100.1/24 dev eth0 && ip -n internet link set eth0 up && \
            ip route add default via 198.51.100.1");
        let listener = inside(Some("internet"), || TcpListener::bind("198.51.100.1:80").unwrap());
        std::thread::spawn(move || listener.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"welcome\n"))));
        let own = TcpListener::bind("127.0.0.1:81").unwrap();
        std::thread::spawn(move || own.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"secret\n"))));
        let names = inside(Some("internet"), || UdpSocket::bind("198.51.100.1:53").unwrap());
        std::thread::spawn(move || answer_queries(&names));
        sh("echo nameserver 198.51.100.1 > /tmp/resolv.conf && mount --bind /tmp/resolv.conf /etc/resolv.conf");
        let file = user.file("lab.yaml", PAIR);
        let tun = std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok();
        for program in ["pasta", "slirp4netns"] {
            if find(program).is_none() {
                skip(&explain_missing(program));
                continue;
            }
            if !tun {
                skip("there is no /dev/net/tun");
                continue;
            }
            let uplink = format!("--uplink={program}");
            user.topo(&["apply", &uplink, &file]).ok().says(&format!("connected to the outside by {program}"));
            user.topo(&["sandbox", "list"]).ok().says(program);
            let fetch = |address: &str, port: u16| {
                user.topo(&[
                    "exec",
                    "host",
                    "--",
                    "timeout",
                    "2",
                    "bash",
                    "-c",
                    &format!("exec 3<>/dev/tcp/{address}/{port}; cat <&3"),
                ])
            };
            eventually("an answer", || fetch("198.51.100.1", 80).stdout == "welcome\n");
            for address in ["127.0.0.1", "198.51.100.2", "10.0.2.2"] {
                let answer = fetch(address, 81).stdout;
                assert!(!answer.contains("secret"), "{program}: the machine's own server answers at {address}");
            }
            user.topo(&["exec", "host", "--", "getent", "ahostsv4", "www.example.test"]).ok().says("203.0.113.7");
            assert_eq!(user.sandbox_processes().len(), 2);
            // As if the first command had been killed before it set up the name server.
            user.topo(&["exec", "host", "--", "umount", "/etc/resolv.conf"]).ok();
            user.topo(&["apply", "--uplink", &file]).ok();
            user.topo(&["exec", "host", "--", "getent", "ahostsv4", "www.example.test"]).ok().says("203.0.113.7");
            assert_eq!(user.sandbox_processes().len(), 2, "one uplink is enough");
            user.topo(&["destroy", "pair"]).ok();
            eventually("the end of the program", || {
                !super::super::harness::text("ps", &["-eo", "comm,uid"])
                    .lines()
                    .any(|line| line.starts_with(program) && line.ends_with(&number.to_string()))
            });
            user.assert_nothing_left();
        }
        sh("ip netns del internet");
    });
}
