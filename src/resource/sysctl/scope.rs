//! Which sysctls a network namespace has of its own.

use super::SysctlKey;

/// What a sysctl below `net` is, besides a setting of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each namespace has its own.
    Namespace,
    /// One for the whole machine; other namespaces do not have it, or cannot write it.
    Machine,
    /// It starts an action, and cannot be read.
    Action,
    /// It only reports something.
    ReadOnly,
}

/// Sysctls in net/core that each namespace has; all others there are the machine's.
const CORE_OF_NAMESPACES: [&str; 9] = [
    "optmem_max",
    "rps_default_mask",
    "somaxconn",
    "tstamp_allow_data",
    "txrehash",
    "xfrm_acq_expires",
    "xfrm_aevent_etime",
    "xfrm_aevent_rseqth",
    "xfrm_larval_drop",
];

/// Sysctls in net/ipv4 and net/ipv6 that only the initial namespace has.
const OF_MACHINE: [&str; 25] = [
    "net/ipv4/cipso_cache_bucket_size",
    "net/ipv4/cipso_cache_enable",
    "net/ipv4/cipso_rbm_optfmt",
    "net/ipv4/cipso_rbm_strictvalid",
    "net/ipv4/fib_sync_mem",
    "net/ipv4/inet_peer_maxttl",
    "net/ipv4/inet_peer_minttl",
    "net/ipv4/inet_peer_threshold",
    "net/ipv4/ipfrag_secret_interval",
    "net/ipv4/tcp_allowed_congestion_control",
    "net/ipv4/tcp_available_ulp",
    "net/ipv4/tcp_low_latency",
    "net/ipv4/tcp_max_orphans",
    "net/ipv4/tcp_mem",
    "net/ipv4/udp_mem",
    "net/ipv6/calipso_cache_bucket_size",
    "net/ipv6/calipso_cache_enable",
    "net/ipv6/ip6frag_secret_interval",
    "net/ipv6/mld_max_msf",
    "net/ipv6/mld_qrv",
    "net/netfilter/nf_log_all_netns",
    "net/netfilter/nf_conntrack_buckets",
    "net/netfilter/nf_conntrack_expect_max",
    "net/netfilter/nf_conntrack_max",
    "net/nf_conntrack_max",
];

/// Sysctls in net/ipv4/route that each namespace has; all others there are the machine's.
const ROUTE_OF_NAMESPACES: [&str; 4] = ["flush", "min_adv_mss", "min_pmtu", "mtu_expires"];

const READ_ONLY: [&str; 4] = [
    "net/ipv4/tcp_available_congestion_control",
    "net/ipv4/tcp_ehash_entries",
    "net/ipv4/udp_hash_entries",
    "net/netfilter/nf_conntrack_count",
];

impl SysctlKey {
    /// Returns what the sysctl belongs to.
    pub fn scope(&self) -> Scope {
        match self.words().as_slice() {
            ["net", _, "route", "flush"] => Scope::Action,
            ["net", "core", name] if !CORE_OF_NAMESPACES.contains(name) => Scope::Machine,
            ["net", "ipv4", "route", name] if !ROUTE_OF_NAMESPACES.contains(name) => Scope::Machine,
            ["net", _, "neigh", "default", _] => Scope::Machine,
            _ if OF_MACHINE.contains(&self.path()) => Scope::Machine,
            _ if READ_ONLY.contains(&self.path()) => Scope::ReadOnly,
            _ => Scope::Namespace,
        }
    }
}
