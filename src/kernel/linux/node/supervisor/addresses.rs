//! Whether the addresses of the node can be used: nobody can bind to an address of IPv6 while the kernel looks for another station that
//! has it (duplicate address detection, RFC 4862).

use std::time::{Duration, Instant};

/// The flag of an address that is being checked, include/uapi/linux/if_addr.h.
const TENTATIVE: u32 = 0x40;
/// The flags of one that can be used all the same, or never: IFA_F_OPTIMISTIC, IFA_F_DADFAILED.
const DECIDED: u32 = 0x04 | 0x08;
/// The scope of addresses that belong to a link. Nobody waits for those: the lab file does not declare them.
const LINK: u32 = 0x20;
/// How long processes wait at most. One check takes up to two seconds, and begins up to a second after the link has a carrier.
const LIMIT: Duration = Duration::from_secs(5);
/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// The wait for the addresses of the node.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Since when a process waits for them, and when the next look is due.
    waiting: Option<(Instant, Instant)>,
    /// Whether a process has waited in vain. The others do not wait again.
    has_given_up: bool,
}

impl Addresses {
    /// Returns whether processes can start.
    pub(super) fn are_ready(&mut self, now: Instant) -> bool {
        let since = self.waiting.map_or(now, |(since, _)| since);
        let are_tentative = are_tentative();
        self.has_given_up = are_tentative && (self.has_given_up || now.duration_since(since) >= LIMIT);
        let is_ready = !are_tentative || self.has_given_up;
        self.waiting = (!is_ready).then_some((since, now + INTERVAL));
        is_ready
    }

    /// Takes notice that no process waits any more.
    pub(super) fn forget(&mut self) {
        self.waiting = None;
    }

    /// Returns when to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.map(|(_, next)| next)
    }
}

/// Returns whether any address is being checked on an interface with a carrier.
fn are_tentative() -> bool {
    let table = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    // Without a carrier the check does not begin.
    let has_carrier =
        |link: &str| std::fs::read_to_string(format!("/sys/class/net/{link}/carrier")).is_ok_and(|text| text == "1\n");
    table.lines().filter_map(tentative).any(has_carrier)
}

/// Returns the interface of a line of /proc/net/if_inet6 if its address is being checked.
fn tentative(line: &str) -> Option<&str> {
    let mut fields = line.split_whitespace().skip(3);
    let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
    let (scope, flags) = (number()?, number()?);
    let interface = fields.next()?;
    (scope != LINK && flags & TENTATIVE != 0 && flags & DECIDED == 0).then_some(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_being_checked_are_found() {
        let line = |scope: &str, flags: &str| format!("20010db8000000000000000000000001 02 40 {scope} {flags}     eth0");
        assert_eq!(tentative(&line("00", "c0")), Some("eth0"));
        for (scope, flags) in [("00", "80"), ("20", "c0"), ("00", "c4"), ("00", "c8")] {
            assert_eq!(tentative(&line(scope, flags)), None, "{scope} {flags}");
        }
        assert_eq!(tentative(""), None);
    }
}
