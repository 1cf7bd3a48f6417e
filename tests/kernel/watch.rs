//! `topo watch`: drift is told as it happens, and put right if the user wants that.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::harness::tools::{PATIENCE, TOPO};
use super::harness::{
    Feature, User, apply, assert_no_changes, destroy, eventually, in_namespaces, ip, lab, needs, settled_fingerprint, sh, topo,
    with_users,
};

const LAB: &str = r#"
name: watched
namespaces:
  blue: { sysctls: { net.ipv4.ip_forward: 1 } }
  red: { routes: [{ to: 10.9.0.0/16, via: 10.0.0.1 }, { to: "2001:db8:9::/48", via: "2001:db8::1" }] }
links:
  - endpoints:
      - { interface: "blue:eth0", addresses: [10.0.0.1/24, "2001:db8::1/64"] }
      - { interface: "red:eth0", addresses: [10.0.0.2/24, "2001:db8::2/64"] }
"#;

/// A running `topo watch --json`.
struct Watch {
    child: Child,
    events: Receiver<Value>,
}

impl Watch {
    /// Starts it, and waits until it watches.
    fn start(arguments: &[&str]) -> Self {
        Self::run(Command::new(TOPO).args(["watch", "--json", "--interval", "200ms"]).args(arguments))
    }

    fn run(command: &mut Command) -> Self {
        // SAFETY: a single system call between fork and exec.
        unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let schema = serde_json::from_str(include_str!("../../schemas/watch.schema.json")).expect("the schema is JSON");
            let schema = jsonschema::validator_for(&schema).expect("the schema is one");
            lines.map_while(Result::ok).try_for_each(|line| {
                let event = serde_json::from_str(&line).expect("a line is an object");
                // Not a panic: that of a thread would be lost.
                let problem = schema.validate(&event).err().map(|error| serde_json::json!({ "event": error.to_string() }));
                sender.send(problem.unwrap_or(event))
            })
        });
        let watch = Self { child, events };
        watch.expect("watching");
        watch
    }

    /// Returns the next event, which must be of this sort.
    #[track_caller]
    fn expect(&self, word: &str) -> Value {
        let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event `{word}`"));
        assert_eq!(event["event"], word, "{event}");
        event
    }

    /// Returns the addresses of as many resources as the next events of this sort name. What happens at a distance is told apart.
    #[track_caller]
    fn resources(&self, word: &str, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            let event = self.expect(word);
            let changes = event["changes"].as_array().into_iter().flatten().map(|change| &change["address"]);
            let addresses = changes.chain(event["resources"].as_array().into_iter().flatten());
            found.extend(addresses.map(|address| address.as_str().expect("an address is text").to_owned()));
        }
        assert_eq!(found.len(), count, "{found:?}");
        found
    }

    /// Damages a lab in several ways, and waits until each is put right.
    #[track_caller]
    fn heals(&self, file: &str, damages: &[&str]) {
        for damage in damages {
            sh(damage);
            self.expect("drift");
            // A namespace that goes takes its links along a moment later.
            while self.events.recv_timeout(PATIENCE).unwrap()["event"] != "healed" {}
            eventually(&format!("the repair after `{damage}`"), || topo(&["plan", file]).ok().stdout.contains("No changes."));
        }
    }

    /// Ends it by a signal. Nothing else may have been told.
    #[track_caller]
    fn end(mut self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(self.events.recv().ok(), None);
    }
}

#[test]
fn vlans_of_bridges_are_watched() {
    in_namespaces(|| {
        if !needs(&[Feature::BridgeVlanFiltering]) {
            return;
        }
        let file = lab("
name: watched
namespaces:
  s:
    interfaces:
      br0: { bridge: { ports: [p1], vlan_filtering: true, vlans: {} } }
      p1: { bridge_port: { vlans: { pvid: 10 } } }
  g: {}
links: [{ endpoints: [s:p1, g:eth0] }]
");
        apply(&file);
        let watch = Watch::start(&[&file]);
        sh("bridge -n s vlan add dev p1 vid 20");
        let event = watch.expect("drift");
        assert_eq!(event["changes"][0]["fields"][0]["name"], "bridge_port.vlans");
        sh("bridge -n s vlan del dev p1 vid 20");
        assert_eq!(watch.expect("cleared")["resources"][0], "s:p1");
        sh("bridge -n s vlan add dev br0 vid 20 self");
        assert_eq!(watch.resources("drift", 1), ["s:br0"]);
        apply(&file);
        watch.expect("cleared");
        watch.end();
        let watch = Watch::start(&["--heal", &file]);
        watch.heals(&file, &["bridge -n s vlan del dev p1 vid 10", "bridge -n s vlan add dev br0 vid 7 pvid self"]);
        watch.end();
        destroy("watched");
    });
}

#[test]
fn drift_is_told_with_who_has_caused_it() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let file = lab(LAB);
        apply(&file);
        let watch = Watch::start(&[&file]);
        sh("ip -n blue link set eth0 mtu 1400");
        let event = watch.expect("drift");
        assert_eq!(event["changes"][0]["fields"][0]["name"], "mtu");
        assert_eq!(event["changes"][0]["fields"][0]["before"], 1400);
        sh("ip -n blue link set eth0 mtu 1500");
        assert_eq!(watch.expect("cleared")["resources"][0], "blue:eth0");
        for address in ["10.0.0.77/24", "2001:db8::77/64"] {
            sh(&format!("ip -n red address add {address} dev eth0 nodad"));
            let event = watch.expect("drift");
            assert_eq!(event["changes"][0]["action"], "delete");
            // For addresses of IPv6, the kernel does not say who it was: then there is at most somebody who was heard in the namespace before.
            assert!(event["changes"][0]["by"][0]["pid"].is_u64() || address.contains(':'), "{event}");
            sh(&format!("ip -n red address del {address} dev eth0"));
            watch.expect("cleared");
        }
        sh("ip -n red route del 10.9.0.0/16; ip -n red -6 route del 2001:db8:9::/48");
        watch.resources("drift", 2);
        sh("ip -n red route add 10.9.0.0/16 via 10.0.0.1; ip -n red -6 route add 2001:db8:9::/48 via 2001:db8::1");
        watch.resources("cleared", 2);
        // Settings cause no notification, or one that is told at once.
        sh("ip netns exec blue sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'");
        assert_eq!(watch.resources("drift", 1), ["blue:net.ipv4.ip_forward"]);
        sh("ip netns exec blue sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'");
        watch.expect("cleared");
        // What topo itself does leaves no difference.
        apply(&file);
        watch.end();
        destroy("watched");
        super::harness::fingerprint::assert_restored(&before);
    });
}

#[test]
fn drift_is_put_right() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let file = lab(LAB);
        // The first look applies the lab.
        let watch = Watch::start(&["--heal", &file]);
        watch.expect("drift");
        watch.expect("healed");
        assert_no_changes(&file);
        watch.heals(
            &file,
            &[
                "ip -n blue link set eth0 down",
                "ip -n red address flush dev eth0",
                "ip -n red -6 route del 2001:db8:9::/48",
                "ip -n red rule add fwmark 7 table 7",
                "ip -n blue neighbor add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0",
                "ip netns exec blue sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'",
            ],
        );
        watch.end();
        // The same attribute is not damaged three times within ten seconds: that would be a fight.
        let watch = Watch::start(&["--heal", &file]);
        watch.heals(&file, &["ip -n blue link del eth0", "ip netns del red"]);
        watch.end();
        destroy("watched");
    });
}

#[test]
fn a_fight_is_told_and_ends() {
    in_namespaces(|| {
        let file = lab(LAB);
        apply(&file);
        let watch = Watch::start(&["--heal", &file]);
        let contested = "ip -n blue link set eth0 mtu 1300";
        for _ in 0..3 {
            sh(contested);
            watch.expect("drift");
            watch.expect("healed");
        }
        let event = watch.expect("left_alone");
        let told = ["resource", "attribute", "seconds"].map(|name| event[name].to_string());
        assert_eq!(told, ["\"blue:eth0\"", "\"mtu\"", "10"]);
        sh(contested);
        watch.expect("drift");
        // Others are put right meanwhile.
        sh("ip -n red address add 10.0.0.77/24 dev eth0");
        assert_eq!(watch.resources("drift", 1).len(), 1);
        let healed = watch.resources("healed", 1);
        assert!(healed.len() == 1 && healed[0].contains("10.0.0.77"), "{healed:?}");
        assert_eq!(ip(&["-n", "blue", "link", "show", "eth0"])[0]["mtu"], 1300);
        // After the pause, it is tried again.
        assert_eq!(watch.resources("healed", 1), ["blue:eth0"]);
        assert_eq!(ip(&["-n", "blue", "link", "show", "eth0"])[0]["mtu"], 1500);
        watch.end();
        destroy("watched");
    });
}

#[test]
fn bursts_are_put_right_even_if_notifications_are_lost() {
    in_namespaces(|| {
        let file = lab(LAB);
        apply(&file);
        let watch = Watch::start(&["--heal", &file]);
        // While it is stopped, its buffer overflows.
        let pid = Pid::from_raw(watch.child.id().try_into().unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        sh("(for i in $(seq 20000); do echo link set eth0 mtu $((1280 + i % 2)); done) | ip -n red -batch -");
        sh("ip -n blue link set eth0 mtu 1300");
        kill(pid, Signal::SIGCONT).unwrap();
        eventually("the repair", || topo(&["plan", &file]).ok().stdout.contains("No changes."));
        // The order of the two does not matter: settings are looked at without a notification.
        let mut missing = vec!["lost", "healed"];
        while !missing.is_empty() {
            let event = watch.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event {missing:?}"));
            missing.retain(|word| event["event"] != *word);
        }
        watch.end();
        destroy("watched");
    });
}

#[test]
fn a_changed_file_is_not_applied_by_the_watch() {
    in_namespaces(|| {
        let file = lab(LAB);
        apply(&file);
        let watch = Watch::start(&["--heal", &file]);
        std::fs::write(&file, LAB.replace("10.9.0.0/16", "10.8.0.0/16")).unwrap();
        watch.expect("reloaded");
        watch.resources("drift", 2);
        sh("ip -n blue link set eth0 mtu 1300");
        assert_eq!(watch.resources("drift", 1), ["blue:eth0"]);
        apply(&file);
        assert_eq!(watch.expect("cleared")["resources"].as_array().unwrap().len(), 3);
        sh("ip -n blue link set eth0 mtu 1300");
        watch.expect("drift");
        watch.expect("healed");
        // A file that is not valid is told, and the last one stays.
        std::fs::write(&file, "name: [").unwrap();
        watch.expect("failed");
        sh("ip -n blue link set eth0 mtu 1300");
        watch.expect("drift");
        watch.expect("healed");
        watch.end();
        destroy("watched");
    });
}

#[test]
fn processes_that_end_are_started_again() {
    with_users(|| {
        let user = User::new();
        let file = user.file(
            "lab.yaml",
            "name: watched\nnamespaces: { a: { files: { /etc/x: { content: one } }, processes: { main: { command: [sleep, '1000'] } } } }\n",
        );
        user.topo(&["apply", &file]).ok();
        let mut command = user.command(user.program().to_str().unwrap());
        let watch = Watch::run(command.args(["watch", "--json", "--interval", "200ms", "--heal", &file]));
        user.topo(&["exec", "a", "--", "pkill", "-x", "sleep"]).ok();
        assert_eq!(watch.resources("drift", 1), ["a:main"]);
        assert_eq!(watch.resources("healed", 1), ["a:main"]);
        user.topo(&["ps"]).ok().says("main     running");
        user.topo(&["exec", "a", "--", "sh", "-c", "echo two > /etc/x"]).ok();
        assert_eq!(watch.resources("drift", 1), ["a:/etc/x"]);
        assert_eq!(watch.resources("healed", 1), ["a:/etc/x"]);
        watch.end();
        user.topo(&["destroy", "watched"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn a_command_is_run_on_drift_and_a_service_manager_is_told() {
    in_namespaces(|| {
        let file = lab(LAB);
        apply(&file);
        let socket = std::os::unix::net::UnixDatagram::bind("/run/notify").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let told = || {
            let mut text = [0; 100];
            let length = socket.recv(&mut text).unwrap();
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let mut command = Command::new(TOPO);
        command.args(["watch", "--json", "--exec", "cat > /run/event; echo $TOPO_LAB > /run/lab", &file]);
        let watch = Watch::run(command.env("NOTIFY_SOCKET", "/run/notify"));
        assert_eq!(told(), "READY=1");
        sh("ip -n blue link set eth0 mtu 1400");
        let event = watch.expect("drift");
        eventually("the command", || std::fs::read_to_string("/run/lab").is_ok_and(|text| text == "watched\n"));
        let passed: Value = serde_json::from_str(&std::fs::read_to_string("/run/event").unwrap()).unwrap();
        assert_eq!(passed["changes"], event["changes"]);
        watch.end();
        assert_eq!(told(), "STOPPING=1");
        destroy("watched");
    });
}
