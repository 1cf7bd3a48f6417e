//! The JSON schemas of single values: title, description, pattern and examples, for editors.
//!
//! A type of the lab file that is written as one scalar describes itself with [`value_schema!`], beside its parser. A pattern accepts
//! everything that the parser accepts, and may accept more: an editor that refuses a valid value is worse than one that misses a mistake.
//! What is true of the schema of a whole lab file is in `spec::schema`.

/// Implements [`schemars::JsonSchema`] for a value.
macro_rules! value_schema {
    ($type:ident, $title:literal, $description:literal, { $($keywords:tt)+ }) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "title": $title, "description": $description, $($keywords)+ })
            }
        }
    };
}
pub(crate) use value_schema;

/// Defines a type that only describes a text in the schema. The lab file reads it as a `String`.
macro_rules! described_text {
    ($($(#[$doc:meta])* $type:ident: $title:literal, $description:literal, { $($keywords:tt)* };)+) => {
        $($(#[$doc])* pub enum $type {} value_schema!($type, $title, $description, { $($keywords)* "type": "string" });)+
    };
}

/// Names of labs, namespaces and processes.
pub const SHARED_NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$";
/// Names of interfaces.
pub const LINK_NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$";
/// `namespace:interface`.
pub const LINK_ID: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}:[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$";
/// `interface`, or `namespace:interface`.
pub const LINK_REFERENCE: &str = "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,62}:)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$";
/// MAC addresses.
pub const MAC: &str = "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$";
/// Durations.
pub const DURATION: &str = r"^[0-9]+(\.[0-9]{1,6})?(us|ms|s|m|h)$";
/// Durations with a sign.
pub const OFFSET: &str = r"^-?[0-9]+(\.[0-9]{1,6})?(us|ms|s|m|h)$";

/// IPv4 addresses, inside of a pattern.
const IPV4: &str = r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
/// IPv6 addresses, inside of a pattern: too many groups, and several `::`, are not noticed.
const IPV6: &str = "[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,8}";
/// The beginning of IPv6 addresses that end with an IPv4 address.
const IPV6_BEFORE_IPV4: &str = "([0-9A-Fa-f]{0,4}:){2,7}";

/// An IP address, inside of a pattern.
fn ip() -> String {
    format!("({IPV4}|{IPV6}|{IPV6_BEFORE_IPV4}{IPV4})")
}

/// Returns the pattern of IP addresses.
pub fn address_pattern() -> String {
    format!("^{}$", ip())
}

/// An address with or without a prefix length, inside of a pattern.
fn prefix() -> String {
    let (length4, length6) = ("(/0*(3[0-2]|[12]?[0-9]))?", "(/0*(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?");
    format!("({IPV4}{length4}|({IPV6}|{IPV6_BEFORE_IPV4}{IPV4}){length6})")
}

/// Returns the pattern of addresses with or without a prefix length.
pub fn prefix_pattern() -> String {
    format!("^{}$", prefix())
}

/// Returns the pattern of destinations.
pub fn destination_pattern() -> String {
    format!("^(default|{})$", prefix())
}

/// Returns the pattern of ports with or without an address.
pub fn port_pattern() -> String {
    format!(r"^([0-9]+|{IPV4}:[0-9]+|\[({IPV6}|{IPV6_BEFORE_IPV4}{IPV4})(%[0-9]+)?\]:[0-9]+)$")
}

/// A number in decimal or in hexadecimal, inside of a pattern.
pub const NUMBER: &str = "(0x[0-9A-Fa-f]+|[0-9]+)";

/// Returns the pattern of numbers and ranges of numbers.
pub fn range_pattern() -> String {
    format!(r"^\s*{NUMBER}\s*(-\s*{NUMBER}\s*)?$")
}

/// Returns a pattern that matches the words in upper and lower case.
pub fn any_case(words: &[&str]) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    words.iter().map(|word| word.chars().map(letter).collect::<String>()).collect::<Vec<_>>().join("|")
}

/// The schema of an IP address, which [`std::net::IpAddr`] cannot say itself.
pub enum IpAddress {}
value_schema!(IpAddress, "IP address", "An IPv4 or IPv6 address, without a prefix length.", {
    "type": "string",
    "pattern": address_pattern(),
    "patternErrorMessage": "Not a valid IP address; write it like `192.0.2.1` or `2001:db8::1`, without a prefix length.",
    "examples": ["192.0.2.1", "2001:db8::1"],
});

described_text! {
    /// An item of `altnames`.
    AlternativeName: "Alternative name",
        "An alternative name of the interface: 1 to 127 bytes, without spaces, `/`, `:` and `%`.",
        { "minLength": 1, "maxLength": 127, "pattern": r"^[^\s/:%]+$", "examples": ["uplink"], };
    /// An item of a command.
    Argument: "Argument", "The program, or an argument of it.", {};
    /// The value of a variable.
    EnvironmentValue: "Environment variable", "The value of a variable of the environment.", {};
    /// An item of `search`.
    Domain: "Domain", "A domain that is appended to short names.", { "pattern": r"^\S+$", "examples": ["lab"], };
    /// An item of `options` of the resolver.
    ResolverOption: "Resolver option", "An option of the resolver, resolv.conf(5).",
        { "pattern": r"^\S+$", "examples": ["ndots:1", "timeout:1"], };
    /// A path of a file that a process depends on.
    FilePath: "File of the node", "The path of a file of the node.", { "examples": ["/etc/frr/frr.conf"], };
}
