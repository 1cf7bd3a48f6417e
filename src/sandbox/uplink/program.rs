//! The programs that connect a sandbox to the outside: how they are started, and which of them work.

use std::fmt;
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};

use super::{INTERFACE, UplinkError};

/// A program that connects a sandbox to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Part of passt. IPv4 and IPv6 with the machine's own addresses.
    Pasta,
    /// IPv4 in 10.0.2.0/24 and IPv6 in `fd00::/64`. Does not forward ping over IPv6.
    Slirp4netns,
}

/// The first release of pasta over which TCP works, as year, month and day. Earlier ones send a segment without any flag if only the
/// window changes. Connection tracking considers it invalid and does not translate its address, so that the sandbox answers it with a
/// reset, and masqueraded connections end. They also repeat data after one side has closed its direction, and stall in long uploads.
const FIRST_SOUND_PASTA: u32 = 20_241_121;

/// The address of the interface in the network of slirp4netns.
const SLIRP_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
/// The gateway in the network of slirp4netns.
const SLIRP_GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

impl Program {
    /// All programs, in order of preference.
    pub const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    /// The name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Chooses the preferred program among those that are installed and work.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn choose() -> Result<Self, UplinkError> {
        let mut installed = Self::ALL.into_iter().filter(|program| program.is_installed()).peekable();
        let error = if installed.peek().is_some() { UplinkError::Outdated } else { UplinkError::Missing };
        installed.find(|program| !program.is_outdated()).ok_or(error)
    }

    /// The address at which it forwards DNS queries to the machine's name server.
    pub fn name_server(self) -> &'static str {
        match self {
            Self::Pasta => "169.254.1.1",
            Self::Slirp4netns => "10.0.2.3",
        }
    }

    /// The IPv6 address and gateway of the interface, if the program does not set them.
    pub(super) fn inet6(self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        match self {
            Self::Pasta => None,
            // It sends router advertisements, but a sandbox that forwards ignores them.
            Self::Slirp4netns => Some((SLIRP_ADDRESS, SLIRP_GATEWAY)),
        }
    }

    /// The arguments that connect a holder's sandbox. The machine cannot be reached from the sandbox, and vice versa.
    pub(super) fn arguments(self, holder: i32) -> Vec<String> {
        let holder = holder.to_string();
        let words: Vec<&str> = match self {
            Self::Pasta => {
                let mut words = vec!["--config-net", "--foreground", "--quiet", "--no-map-gw", "--dns-forward"];
                words.extend([self.name_server(), "--ns-ifname", INTERFACE]);
                words.extend(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
                if nix::unistd::geteuid().is_root() {
                    // By default it runs as nobody, who may not enter root's sandbox.
                    words.extend(["--runas", "0:0"]);
                }
                words.push(&holder);
                words
            }
            // Its IPv6 segments are as large as its MTU allows, whatever the other side can receive. So the MTU is the one of links.
            Self::Slirp4netns => {
                vec!["--configure", "--mtu=1500", "--enable-ipv6", "--disable-host-loopback", &holder, INTERFACE]
            }
        };
        words.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn is_installed(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(self.name()).is_file())
    }

    /// Whether the installed release is one over which TCP does not work.
    pub fn is_outdated(self) -> bool {
        match self {
            Self::Pasta => {
                let output = Command::new(self.name()).arg("--version").stdin(Stdio::null()).output();
                let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
                // The release of Debian 12, of 2023, does not know its version.
                release_date(&text).is_none_or(|date| date < FIRST_SOUND_PASTA)
            }
            Self::Slirp4netns => false,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The date in the first line of `pasta --version`: `pasta 2024_11_21.238c69f`, or in packages such as `pasta 0.0~git20250503.587980c-2`.
fn release_date(text: &str) -> Option<u32> {
    let line = text.lines().next()?.replace('_', "");
    let mut numbers = line.split(|character: char| !character.is_ascii_digit());
    numbers.find(|number| number.len() == 8 && number.starts_with("20"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_found_by_its_name() {
        for program in Program::ALL {
            assert_eq!(Program::from_name(program.name()), Some(program));
            assert!(program.arguments(12).contains(&"12".to_owned()));
        }
    }

    #[test]
    fn the_release_of_pasta_is_its_date() {
        assert_eq!(release_date("pasta 2024_11_21.238c69f\nCopyright Red Hat\n"), Some(20_241_121));
        assert_eq!(release_date("pasta 0.0~git20250503.587980c-2\n"), Some(20_250_503));
        assert_eq!(release_date("pasta 0^20240220.g1e6f92b-1.fc39\n"), Some(20_240_220));
        assert_eq!(release_date("pasta unknown version\n"), None);
        assert_eq!(release_date(""), None);
    }
}
