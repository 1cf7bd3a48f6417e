//! Values of processes: signals, capabilities, users and ports.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::name::escape;
use crate::scalar;
use crate::value_schema::{any_case, port_pattern, value_schema};
use crate::yaml::suggest::closest;

/// Serialises a value as it is written.
macro_rules! written {
    ($($type:ty),+) => {
        $(impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })+
    };
}
written!(Signal, Capability, User, Port);

/// A signal by its name without `SIG`, signal(7). Numbers depend on the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(&'static str);

impl Signal {
    /// Asks a process to end.
    pub const TERM: Self = Self("TERM");
    /// Asks a daemon to read its configuration again.
    pub const HUP: Self = Self("HUP");
    /// The signals that Linux has on all architectures.
    pub const NAMES: [&'static str; 30] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
        "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];

    fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let known = Self::NAMES.into_iter().find(|known| *known == name);
        known.map(Self).ok_or_else(|| {
            let meant = closest(&name.to_ascii_uppercase(), Self::NAMES).unwrap_or("TERM");
            format!("`{}` is not a signal; write its name, such as `{meant}`", escape(text))
        })
    }

    /// Returns whether processes end by it, unless they handle it otherwise.
    pub fn may_end(self) -> bool {
        !["CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH"].contains(&self.0)
    }

    /// Returns the name without `SIG`.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
scalar!(
    Signal,
    "a signal",
    |number: i128| Err(format!("`{number}` is not a signal; write its name, such as `TERM`")),
    Signal::parse
);

value_schema!(Signal, "Signal", "A signal by its name, with or without `SIG`.", {
    "type": "string",
    "enum": Signal::NAMES.iter().map(|name| (*name).to_owned()).chain(Signal::NAMES.iter().map(|name| format!("SIG{name}"))).collect::<Vec<_>>(),
});

/// A capability, capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// The names without `CAP_`, in the order of their numbers.
    pub const NAMES: [&'static str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];

    fn parse(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = Self::NAMES.iter().position(|known| *known == name).and_then(|number| u8::try_from(number).ok());
        number.map(Self).ok_or_else(|| {
            let meant = closest(name, Self::NAMES).unwrap_or("NET_ADMIN");
            format!("`{}` is not a capability; write its name, such as `{meant}`", escape(text))
        })
    }

    /// Returns the number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[usize::from(self.0)])
    }
}
scalar!(
    Capability,
    "a capability",
    |number: i128| Err(format!("`{number}` is not a capability; write its name, such as `NET_ADMIN`")),
    Capability::parse
);

value_schema!(Capability, "Capability", "A capability by its name in capabilities(7), with or without `CAP_`.", {
    "anyOf": [
        { "type": "string", "enum": Capability::NAMES[..] },
        { "type": "string", "pattern": format!("^([Cc][Aa][Pp]_)?({})$", any_case(&Capability::NAMES)) },
    ],
});

/// A user and a group of the node, by name or by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub user: String,
    /// The group; `None` for those that the user has in /etc/passwd and /etc/group.
    pub group: Option<String>,
}

impl User {
    fn parse(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        // The last number stands for "do not change" in the system calls.
        let is_id = |part: &str| part.parse::<u32>().is_ok_and(|id| id != u32::MAX);
        let is_name =
            |part: &str| part.len() <= 63 && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b',');
        let is_valid = |part: &str| !part.is_empty() && if is_number(part) { is_id(part) } else { is_name(part) };
        if is_valid(user) && group.is_none_or(|group| is_valid(group) && !group.contains(':')) {
            return Ok(Self { user: user.to_owned(), group: group.map(str::to_owned) });
        }
        Err(format!("`{}` is not a user; write a name or a number, with a group if needed: `daemon`, `1000:1000`", escape(text)))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}
scalar!(User, "a user", |number: i128| User::parse(&number.to_string()), User::parse);

value_schema!(User, "User", "A user of the node by name or number, with its group if needed.", {
    "type": ["string", "integer"],
    "pattern": r"^[!-+\-.0-9;-~]+(:[!-+\-.0-9;-~]+)?$",
    "patternErrorMessage": "Not a user; write a name or a number, with a group if needed: `daemon`, `1000:1000`.",
    "maximum": u32::MAX - 1,
    "examples": ["frr", 1000, "frr:frrvty"],
});

/// A port, of one address or of any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The address; `None` for any address of any family.
    pub address: Option<IpAddr>,
    /// The number, which is not 0.
    pub number: u16,
}

impl Port {
    fn numbered(number: i128) -> Result<Self, String> {
        let number = u16::try_from(number).ok().filter(|number| *number > 0);
        number.map(|number| Self { address: None, number }).ok_or_else(|| "port is out of range (1 to 65535)".to_owned())
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map_err(|_| text.to_owned()).and_then(Self::numbered);
        }
        let socket: SocketAddr = text.parse().map_err(|_| {
            format!("`{}` is not a port; write it like `80`, `10.0.0.1:80` or `\"[2001:db8::1]:80\"`", escape(text))
        })?;
        Ok(Self { address: Some(socket.ip()), ..Self::numbered(socket.port().into())? })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.number)),
            None => write!(f, "{}", self.number),
        }
    }
}
scalar!(Port, "a port", Port::numbered, Port::parse);

value_schema!(Port, "Port", "A port of any address, or of one: 1 to 65535.", {
    "type": ["string", "integer"],
    "pattern": port_pattern(),
    "patternErrorMessage": "Not a port; write it like `80`, `10.0.0.1:80` or `\"[2001:db8::1]:80\"`.",
    "minimum": 1,
    "maximum": 65535,
    "examples": [80, "10.0.0.1:80", "[2001:db8::1]:80"],
});
