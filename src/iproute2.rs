//! Commands of iproute2, ip(8), bridge(8) and tc(8), and of sysctl(8), as a shell script. Each resource says its own words; `report::ip` makes a
//! script of them.
//!
//! The words are those of iproute2 6.1. What later versions added carries the version.

use std::fmt;
use std::str::FromStr;

use crate::name::NamespaceName;
use crate::value::Duration;

/// A version of iproute2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16);

impl Version {
    /// A version that has everything.
    pub const NEWEST: Self = Self(u16::MAX, 0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Parses what `ip -V` prints: `ip utility, iproute2-6.1.0, libbpf 1.1.2`.
impl FromStr for Version {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (_, version) = text.split_once("iproute2-").ok_or(())?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(()),
        }
    }
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A text, quoted for the shell.
    Text(String),
    /// The namespace in which the script runs, as the operand of `netns`.
    Host,
}

/// Makes words of values: `words!["mtu", 1500]`.
#[macro_export]
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        [$($crate::iproute2::Word::Text(($word).to_string())),*]
    };
}

/// Where a phrase belongs among those of a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a command of bridge(8) before that of ip(8).
    Before,
    /// Anywhere in the command.
    #[default]
    Among,
    /// At the end of the command, because it takes all words that follow.
    End,
    /// In a command of bridge(8) after that of ip(8).
    After,
}

/// Some words of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phrase {
    words: Vec<Word>,
    since: Option<Version>,
    /// Where it belongs.
    pub place: Place,
}

impl Phrase {
    /// Returns a phrase of these words.
    pub fn new(words: impl IntoIterator<Item = Word>) -> Self {
        Self { words: words.into_iter().collect(), ..Self::default() }
    }

    /// Sets the version that added the words.
    #[must_use]
    pub fn since(self, major: u16, minor: u16) -> Self {
        Self { since: Some(Version(major, minor)), ..self }
    }

    /// Sets where it belongs.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// An option with its value, as in a lab file, and its phrase; `None` if iproute2 has no words for it.
pub type Said = (&'static str, String, Option<Phrase>);

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// ip(8).
    Ip,
    /// bridge(8).
    Bridge,
    /// tc(8).
    Tc,
    /// sysctl(8).
    Sysctl,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    program: Program,
    namespace: NamespaceName,
    is_inet6: bool,
    phrases: Vec<Phrase>,
    /// The number of phrases with which it does nothing.
    empty: usize,
    /// Whether the script goes on if it fails.
    may_fail: bool,
    /// How long the kernel may refuse it.
    patience: Option<Duration>,
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A command.
    Command(Box<Command>),
    /// What iproute2 cannot do, as a phrase that begins with a verb.
    Impossible(String),
}

impl From<Command> for Line {
    fn from(command: Command) -> Self {
        Self::Command(Box::new(command))
    }
}

impl Command {
    fn new(program: Program, namespace: &NamespaceName, words: impl IntoIterator<Item = Word>) -> Self {
        Self {
            program,
            namespace: namespace.clone(),
            is_inet6: false,
            phrases: vec![Phrase::new(words)],
            empty: 0,
            may_fail: false,
            patience: None,
        }
    }

    /// Returns a command of ip(8) that acts in a namespace.
    pub fn ip(namespace: &NamespaceName, words: impl IntoIterator<Item = Word>) -> Self {
        Self::new(Program::Ip, namespace, words)
    }

    /// Returns a command of bridge(8) that acts in a namespace.
    pub fn bridge(namespace: &NamespaceName, words: impl IntoIterator<Item = Word>) -> Self {
        Self::new(Program::Bridge, namespace, words)
    }

    /// Returns a command of tc(8) that acts in a namespace.
    pub fn tc(namespace: &NamespaceName, words: impl IntoIterator<Item = Word>) -> Self {
        Self::new(Program::Tc, namespace, words)
    }

    /// Returns the command of sysctl(8) that writes a setting of a namespace. `path` is below /proc/sys.
    pub fn sysctl(namespace: &NamespaceName, path: &str, value: &str) -> Self {
        Self::new(Program::Sysctl, namespace, words![format!("{path}={value}")])
    }

    /// Chooses the address family.
    #[must_use]
    pub fn inet6(self, is_inet6: bool) -> Self {
        Self { is_inet6, ..self }
    }

    /// Adds a phrase.
    #[must_use]
    pub fn with(mut self, phrase: Phrase) -> Self {
        self.phrases.push(phrase);
        self
    }

    /// Adds words.
    #[must_use]
    pub fn and(self, words: impl IntoIterator<Item = Word>) -> Self {
        self.with(Phrase::new(words))
    }

    /// Adds a keyword with its value, if there is one.
    #[must_use]
    pub fn and_some(self, keyword: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.and(words![keyword, value]),
            None => self,
        }
    }

    /// Adds a keyword if the condition holds.
    #[must_use]
    pub fn and_if(self, condition: bool, keyword: &str) -> Self {
        if condition { self.and(words![keyword]) } else { self }
    }

    /// Leaves it out if it gets no further phrase, or the version lacks all further ones.
    #[must_use]
    pub fn unless_empty(self) -> Self {
        Self { empty: self.phrases.len(), ..self }
    }

    /// Lets the script go on if it fails.
    #[must_use]
    pub fn may_fail(self) -> Self {
        Self { may_fail: true, ..self }
    }

    /// Sets how long the kernel may refuse it.
    #[must_use]
    pub fn patiently(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Returns whether the kernel may refuse it for a while.
    pub fn is_patient(&self) -> bool {
        self.patience.is_some()
    }

    /// Returns whether it names the namespace in which the script runs.
    pub fn names_host(&self) -> bool {
        self.phrases.iter().any(|phrase| phrase.words.contains(&Word::Host))
    }

    /// Returns the phrases that a version lacks, each with the version that has it.
    pub fn lacking(&self, version: Version) -> Vec<(String, Version)> {
        let lacking = self.phrases.iter().filter_map(|phrase| Some((phrase, phrase.since.filter(|since| *since > version)?)));
        lacking.map(|(phrase, since)| (join(&phrase.words), since)).collect()
    }

    /// Returns the command for the shell, with the words that a version has; `None` if nothing is left to do.
    pub fn text(&self, version: Version) -> Option<String> {
        let known = |phrase: &&Phrase| phrase.since.is_none_or(|since| since <= version) && !phrase.words.is_empty();
        let phrases: Vec<_> = self.phrases.iter().filter(known).collect();
        if phrases.len() <= self.empty {
            return None;
        }
        let mut words: Vec<String> = phrases.iter().map(|phrase| join(&phrase.words)).collect();
        words.insert(0, self.program());
        if let Some(patience) = self.patience {
            words.insert(0, format!("{RETRY} {}", patience.0.div_ceil(TENTH)));
        }
        words.extend(self.may_fail.then(|| "|| true".to_owned()));
        Some(words.join(" "))
    }

    /// Returns the program with its options.
    fn program(&self) -> String {
        let namespace = (!self.namespace.is_host()).then(|| quote(self.namespace.as_str()));
        let inet6 = if self.is_inet6 { " -6" } else { "" };
        match (self.program, namespace) {
            (Program::Ip, None) => format!("ip{inet6}"),
            (Program::Ip, Some(namespace)) => format!("ip{inet6} -n {namespace}"),
            (Program::Bridge, None) => "bridge".to_owned(),
            (Program::Bridge, Some(namespace)) => format!("bridge -n {namespace}"),
            (Program::Tc, None) => "tc".to_owned(),
            (Program::Tc, Some(namespace)) => format!("tc -n {namespace}"),
            (Program::Sysctl, None) => "sysctl -q -w".to_owned(),
            (Program::Sysctl, Some(namespace)) => format!("ip netns exec {namespace} sysctl -q -w"),
        }
    }
}

/// The name of the shell function that repeats a command.
const RETRY: &str = "retry";
/// The time between two attempts, in microseconds.
const TENTH: u64 = 100_000;

/// The shell function that repeats a command.
pub const RETRY_FUNCTION: &str = "\
# Repeats a command that the kernel refuses for a while, at most $1 times, ten times a second.
retry() {
    attempts=$1
    shift
    until \"$@\" 2>/dev/null; do
        attempts=$((attempts - 1))
        if [ \"$attempts\" -le 0 ]; then
            \"$@\"
            return
        fi
        sleep 0.1
    done
}
";

/// The assignment of the variable that [`Word::Host`] expands.
pub const HOST_VARIABLE: &str = "host=/proc/$$/ns/net\n";

fn join(words: &[Word]) -> String {
    let word = |word: &Word| match word {
        Word::Text(text) => quote(text),
        Word::Host => "\"$host\"".to_owned(),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for the shell. Control characters become octal escapes of printf(1), so that the script is safe to print.
fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    if crate::name::escape(word) == word {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let octal = |byte: u8| if is_plain(byte) && byte != b'%' { char::from(byte).to_string() } else { format!("\\{byte:03o}") };
    // The shell removes line feeds at the end of what a command prints.
    let escaped: String = word.bytes().map(octal).collect();
    format!("\"$(printf '{escaped}')\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: &Command, version: Version) -> String {
        command.text(version).unwrap_or_default()
    }

    fn in_red() -> NamespaceName {
        "red".parse().unwrap()
    }

    #[test]
    fn versions_are_read_from_what_ip_prints() {
        assert_eq!("ip utility, iproute2-6.1.0, libbpf 1.1.2".parse(), Ok(Version(6, 1)));
        assert_eq!("ip utility, iproute2-5.10.0".parse(), Ok(Version(5, 10)));
        assert_eq!("ip utility, iproute2-ss190107".parse::<Version>(), Err(()));
        assert_eq!("BusyBox v1.35.0".parse::<Version>(), Err(()));
        assert!(Version(6, 1) < Version(6, 10) && Version(6, 10) < Version::NEWEST);
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        let quoted = |word: &str| quote(word);
        assert_eq!(quoted("10.0.0.1/24"), "10.0.0.1/24");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("two words"), "'two words'");
        assert_eq!(quoted("$(reboot)"), "'$(reboot)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("a\u{1b}[31m%"), r#""$(printf 'a\033\13331m\045')""#);
    }

    #[test]
    fn a_command_names_its_namespace_and_family() {
        let route = |namespace: NamespaceName| Command::ip(&namespace, words!["route", "add", "default"]).inet6(true);
        assert_eq!(text(&route(in_red()), Version(6, 1)), "ip -6 -n red route add default");
        assert_eq!(text(&route(NamespaceName::host()), Version(6, 1)), "ip -6 route add default");
        let sysctl = Command::sysctl(&in_red(), "net/ipv4/ip_forward", "1");
        assert_eq!(text(&sysctl, Version(6, 1)), "ip netns exec red sysctl -q -w net/ipv4/ip_forward=1");
    }

    #[test]
    fn words_that_a_version_lacks_are_left_out() {
        let command = Command::bridge(&in_red(), words!["link", "set", "dev", "p"]).unless_empty();
        let command = command.with(Phrase::new(words!["mab", "on"]).since(6, 2));
        assert_eq!(command.text(Version(6, 1)), None);
        assert_eq!(command.lacking(Version(6, 1)), [("mab on".to_owned(), Version(6, 2))]);
        assert_eq!(text(&command, Version(6, 2)), "bridge -n red link set dev p mab on");
        assert!(command.lacking(Version(6, 2)).is_empty());
    }

    #[test]
    fn a_command_that_may_be_refused_is_repeated() {
        let command = Command::ip(&in_red(), words!["link", "set"]).patiently(Duration::milliseconds(250));
        assert_eq!(text(&command, Version(6, 1)), "retry 3 ip -n red link set");
        assert_eq!(text(&Command::ip(&in_red(), words!["x"]).may_fail(), Version(6, 1)), "ip -n red x || true");
    }
}
