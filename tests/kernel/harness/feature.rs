//! What this kernel can do, found by trying.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;

use nix::sched::{CloneFlags, unshare};

use super::programs::{self, explain_missing, find, missing_in};

/// Something that not every kernel is built with.
#[derive(Debug, Clone, Copy)]
pub enum Feature {
    /// Bridges.
    Bridge,
    /// VLAN filtering of bridges.
    BridgeVlanFiltering,
    /// Dummy links.
    Dummy,
    /// Geneve links.
    Geneve,
    /// IPv6.
    Ipv6,
    /// Ifb links.
    Ifb,
    /// Ipvlan links.
    Ipvlan,
    /// Ipvtap links.
    Ipvtap,
    /// Macvlan links.
    Macvlan,
    /// Macvtap links.
    Macvtap,
    /// Routes with several next hops.
    Multipath,
    /// The queueing discipline netem.
    Netem,
    /// VLAN links.
    Vlan,
    /// VRFs.
    Vrf,
    /// Vxlan links.
    Vxlan,
}

impl Feature {
    /// What only works with the feature, in a fresh network namespace that has a veth pair `p0`, `p1`.
    fn probe(self) -> &'static str {
        match self {
            Self::Bridge => "ip link add probe type bridge",
            Self::BridgeVlanFiltering => "ip link add probe type bridge vlan_filtering 1",
            Self::Dummy => "ip link add probe type dummy",
            Self::Ipv6 => "ip -6 address add 2001:db8::1/64 dev p0",
            Self::Geneve => "ip link add probe type geneve id 42 remote 192.0.2.1",
            Self::Ifb => "ip link add probe type ifb",
            Self::Ipvlan => "ip link add probe link p0 type ipvlan mode l3s",
            Self::Ipvtap => "ip link add probe link p0 type ipvtap",
            Self::Macvlan => "ip link add probe link p0 type macvlan mode bridge",
            Self::Macvtap => "ip link add probe link p0 type macvtap mode bridge",
            Self::Multipath => {
                "ip link set p0 up && ip link set p1 up && ip address add 192.0.2.1/24 dev p0 && \
                 ip route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3"
            }
            Self::Netem => "tc qdisc add dev p0 root netem delay 1ms",
            Self::Vlan => "ip link add probe link p0 type vlan id 10",
            Self::Vrf => "ip link add probe type vrf table 10",
            Self::Vxlan => "ip link add probe type vxlan id 42 dstport 4789",
        }
    }

    fn lacking(self) -> bool {
        let script = format!("ip link add p0 type veth peer name p1 && {}", self.probe());
        let mut command;
        if nix::unistd::geteuid().is_root() {
            command = programs::command("sh");
            // SAFETY: a single system call between fork and exec.
            unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)) };
        } else {
            command = programs::command("unshare");
            command.args(["-Urn", "sh"]);
        }
        command.args(["-c", &script]);
        let output = command.output().expect("sh can be run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let unsupported =
            ["Unknown device type", "qdisc kind is unknown", "not supported", "No such file or directory", "Invalid argument"];
        assert!(
            output.status.success() || unsupported.iter().any(|text| stderr.contains(text)),
            "probing for {self:?} failed in an unexpected way: {stderr}{}",
            missing_in(&script)
        );
        !output.status.success()
    }
}

/// Whether the kernel is of that release or a later one.
pub fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Whether the kernel lacks it. Where nothing may be skipped that is a failure.
pub fn lacks(feature: Feature) -> bool {
    !needs(&[feature])
}

/// Whether the kernel has all of it. Where it has not, says so, and fails where nothing may be skipped.
#[must_use]
#[track_caller]
pub fn needs(features: &[Feature]) -> bool {
    let lacking: Vec<_> = features.iter().filter(|feature| feature.lacking()).map(|feature| format!("{feature:?}")).collect();
    if lacking.is_empty() {
        return true;
    }
    skip(&format!("this kernel lacks {}", lacking.join(", ")));
    false
}

/// Whether all of the programs are installed. Where one is not, says so, and fails where nothing may be skipped.
#[must_use]
#[track_caller]
pub fn needs_programs(programs: &[&str]) -> bool {
    let missing: Vec<_> =
        programs.iter().filter(|program| find(program).is_none()).map(|program| explain_missing(program)).collect();
    if missing.is_empty() {
        return true;
    }
    skip(&missing.join("; "));
    false
}

/// Says why a test, or a part of it, does not run. Where nothing may be skipped that is a failure.
#[track_caller]
pub fn skip(reason: &str) {
    let required = std::env::var("TOPO_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    assert!(!required, "{reason}, and TOPO_REQUIRE_KERNEL=1 says that nothing may be skipped");
    writeln!(io::stderr(), "skipped: {reason}").expect("standard error can be written to");
}
