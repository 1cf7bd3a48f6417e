//! The way out, by pasta or slirp4netns, where they are installed.

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};

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
            user.topo(&["apply", "--uplink", &file]).ok();
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
