//! Processes in the lab file.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Capability, Policy, Port, ProcessName, Signal, User};
use crate::string_or_map;
use crate::value::Duration;
use crate::value_schema::{Argument, EnvironmentValue, FilePath, value_schema};

/// A process that the node's init starts and watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// The program and its arguments as a list, or a text for `/bin/sh -c`.
    pub command: CommandSpec,
    /// Variables of the environment, in addition to those of the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, EnvironmentValue>")]
    pub env: BTreeMap<String, String>,
    /// The working directory, an absolute path; default `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The user and the group that it runs as: `frr`, `1000`, `frr:frrvty`. Default: root in the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The processes of the node that must be ready before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ProcessName>,
    /// When it is ready. Default: when it has run for 50 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadySpec>,
    /// Whether it is started again when it ends: `no` (default), `on-failure`, `always`, or a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartSpec>,
    /// How it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopSpec>,
    /// How it is asked to read its configuration again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadSpec>,
    /// It runs once, and is done when it succeeds. What comes after it waits for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub oneshot: bool,
    /// The capabilities that it keeps, such as `[NET_BIND_SERVICE]`, or `none`; all others are dropped. Default: all of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<CapabilitiesSpec>,
    /// The text that it reads from its standard input; default `null`, which is /dev/null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<StdinSpec>,
    /// Files of the node whose change makes it reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<FilePath>")]
    pub reload_on: Vec<String>,
    /// Files of the node whose change restarts it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<FilePath>")]
    pub restart_on: Vec<String>,
}

/// The condition under which a process is ready: exactly one, and how long it may take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReadySpec {
    /// `true`: it sends `READY=1` to the socket in `NOTIFY_SOCKET`, sd_notify(3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<bool>,
    /// A TCP socket listens on this port, or on this address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Port>,
    /// A UDP socket is bound to this port, or to this address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<Port>,
    /// A Unix socket is bound to this absolute path, or to this abstract name: `@name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<String>,
    /// This file exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its log contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// This command succeeds: a list, or a text for `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<CommandSpec>,
    /// The time after which it has failed; default `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The longest time between two checks; default `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// Whether a process is started again when it ends: a policy, or a map with `policy` and delays.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RestartSpec {
    /// The policy alone.
    Short(Policy),
    /// The policy with delays.
    Long(LongRestart),
}
string_or_map!(RestartSpec, "`no`, `on-failure`, `always` or a map", RestartSpec::Short, RestartSpec::Long);

/// The restarts of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongRestart {
    /// After which ends it is started again.
    pub policy: Policy,
    /// The time before the first restart, which doubles with each further one; default `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// The limit of that time; default `30s`. A process that ran for longer starts with `delay` again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Duration>,
    /// The number of restarts in a row after which it has failed; default any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u32>,
}

/// How a process is ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopSpec {
    /// The signal that asks it to end; default `TERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// The time after which it is killed; default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// How a process is asked to read its configuration again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadSpec {
    /// The signal; default `HUP`.
    pub signal: Signal,
}

/// Implements `Deserialize` for a text or a list.
macro_rules! text_or_list {
    ($type:ty, $expecting:literal, $text:expr, $list:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Visitor<'de> for Either {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $text(text).map_err(E::custom)
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<$type, A::Error> {
                        Deserialize::deserialize(SeqAccessDeserializer::new(list)).map($list)
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

/// A command: the program and its arguments, or a text for `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CommandSpec {
    /// A text for the shell.
    Shell(String),
    /// The program and its arguments.
    Arguments(#[schemars(with = "Vec<Argument>")] Vec<String>),
}
text_or_list!(
    CommandSpec,
    "a list, or a text for the shell",
    |text: &str| Ok::<_, String>(CommandSpec::Shell(text.to_owned())),
    CommandSpec::Arguments
);

/// The capabilities that a process keeps: a list, or `none`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CapabilitiesSpec {
    /// None at all.
    None(NoCapabilities),
    /// These.
    Kept(Vec<Capability>),
}

/// The word `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoCapabilities {
    /// The word.
    None,
}
text_or_list!(
    CapabilitiesSpec,
    "a list of capabilities, or `none`",
    |text: &str| match text {
        "none" => Ok(CapabilitiesSpec::None(NoCapabilities::None)),
        _ => Err("the capabilities are a list such as `[NET_BIND_SERVICE]`, or `none`"),
    },
    CapabilitiesSpec::Kept
);

/// The standard input of a process: a text, or `null` for /dev/null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StdinSpec(pub Option<String>);

impl<'de> Deserialize<'de> for StdinSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = StdinSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, in quotes if it is a number, or `null`")
            }
            fn visit_unit<E: Error>(self) -> Result<StdinSpec, E> {
                Ok(StdinSpec(None))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<StdinSpec, E> {
                Ok(StdinSpec(Some(text.to_owned())))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

value_schema!(StdinSpec, "Standard input", "A text, or `null` for /dev/null.", { "type": ["string", "null"] });
