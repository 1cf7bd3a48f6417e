//! Tells which commands of a script leave something that no lab file can say.

use std::collections::BTreeSet;

/// Commands whose effects on the network are in what the kernel holds afterwards, as far as lab files have words for it.
const UNDERSTOOD: [&str; 8] = ["ip", "bridge", "sysctl", "brctl", "ifconfig", "route", "vconfig", "ifup"];
/// Commands without effect on the network, and parts of the shell.
const HARMLESS: [&str; 63] = [
    ":", "[", "[[", "((", "test", "echo", "printf", "true", "false", "set", "shift", "local", "declare", "typeset", "export",
    "readonly", "return", "exit", "cd", "pwd", "wait", "sleep", "read", "trap", "let", "eval", "break", "continue", "source",
    ".", "unset", "umask", "ulimit", "getopts", "shopt", "alias", "hash", "type", "command", "seq", "cat", "grep", "sed", "awk",
    "cut", "tr", "head", "tail", "wc", "sort", "uniq", "basename", "dirname", "date", "id", "whoami", "uname", "which",
    "hostname", "ping", "ping6", "for", "case",
];
/// Objects of ip(8) that lab files have words for, beginning with what each abbreviation stands for.
const OBJECTS: [&str; 8] = ["address", "addr", "link", "route", "rule", "neighbor", "neighbour", "netns"];
/// Objects of bridge(8) that lab files have words for.
const BRIDGE_OBJECTS: [&str; 1] = ["link"];
/// Words of `ip link` and `ip address` whose effects are lost.
const LOST_WORDS: [&str; 6] = ["alias", "xdp", "vf", "token", "proto_down", "group"];
/// Commands that run another one, with the number of words before that.
const RUNNERS: [&str; 7] = ["sudo", "exec", "env", "time", "nohup", "nice", "builtin"];

/// Returns the command, without what runs it, if no lab file can say what it does.
pub fn unsaid(line: &str) -> Option<String> {
    let words = split(line);
    let own = innermost(&words);
    let program = own.first()?.rsplit('/').next().unwrap_or_default();
    let rest: Vec<&str> = own[1..].iter().map(String::as_str).collect();
    let is_said = match program {
        "sh" | "bash" | "dash" if rest.first() == Some(&"-c") => rest.get(1).is_none_or(|script| is_said_whole(script)),
        "ip" => is_said_by(&rest, &OBJECTS),
        "bridge" => is_said_by(&rest, &BRIDGE_OBJECTS),
        program => UNDERSTOOD.contains(&program) || HARMLESS.contains(&program) || is_assignment(program),
    };
    (!is_said).then(|| own.join(" "))
}

/// Returns whether all commands of a script on one line are said.
fn is_said_whole(script: &str) -> bool {
    script.split([';', '&', '|', '\n']).all(|command| unsaid(command).is_none())
}

/// Returns the functions that a script defines: what they do is in the trace by itself.
pub fn functions(script: &str) -> BTreeSet<String> {
    let definition = |line: &str| {
        let head = line.trim_start().strip_prefix("function ").unwrap_or(line.trim_start());
        let name: String = head.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
        let is_one = line.trim_start().starts_with("function ") || head[name.len()..].trim_start().starts_with("()");
        (is_one && !name.is_empty()).then_some(name)
    };
    script.lines().filter_map(definition).collect()
}

/// Returns the command that others run: sudo(8), `ip netns exec`, a shell.
fn innermost(words: &[String]) -> &[String] {
    let mut words = words;
    loop {
        let Some(first) = words.first() else { return words };
        let program = first.rsplit('/').next().unwrap_or_default();
        let skipped = match program {
            _ if is_assignment(first) => 1,
            program if RUNNERS.contains(&program) => {
                1 + words[1..].iter().take_while(|word| word.starts_with('-') || is_assignment(word)).count()
            }
            "ip" => match inside(&words[1..]) {
                Some(count) => 1 + count,
                None => return words,
            },
            _ => return words,
        };
        words = words.get(skipped..).unwrap_or_default();
    }
}

/// Returns the number of words of `netns exec NAME`, with options before.
fn inside(words: &[String]) -> Option<usize> {
    let options = words.iter().take_while(|word| word.starts_with('-')).count();
    let rest: Vec<&str> = words[options..].iter().take(2).map(String::as_str).collect();
    matches!(rest[..], [object, verb] if abbreviates(object, "netns") && abbreviates(verb, "exec")).then_some(options + 3)
}

fn is_said_by(words: &[&str], objects: &[&str]) -> bool {
    let mut rest = words.iter().copied().peekable();
    while let Some(option) = rest.next_if(|word| word.starts_with('-')) {
        let is_of_namespace = matches!(option, "-n" | "-netns" | "-b" | "-batch" | "-family" | "-f");
        if is_of_namespace {
            rest.next();
        }
    }
    let Some(object) = rest.next() else { return true };
    let is_known = objects.iter().any(|known| abbreviates(object, known));
    is_known && !rest.any(|word| LOST_WORDS.contains(&word))
}

fn abbreviates(word: &str, whole: &str) -> bool {
    !word.is_empty() && whole.starts_with(word)
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name.trim_end_matches('+'));
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '[' | ']')))
}

/// Splits a command line into words as a shell does, as far as quotes go.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut escaped) = (Vec::new(), None::<String>, None::<char>, false);
    for c in line.chars() {
        match (quote, c) {
            _ if escaped => {
                word.get_or_insert_default().push(c);
                escaped = false;
            }
            (Some('"') | None, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What precedes each command in the trace of a shell: the file, the line, and this character.
const END_OF_PLACE: char = '\u{1f}';
/// What begins each line of a trace. The shell repeats it for each level of subshells.
const BEGIN_OF_PLACE: char = '\u{1e}';

/// The value of `PS4` for a trace that [`traced`] reads.
pub const PROMPT: &str = "\u{1e}$LINENO\u{1f}";

/// Returns the commands of a trace that no lab file can say, each once with its line, without calls of these functions.
pub fn traced(trace: &str, functions: &BTreeSet<String>) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for line in trace.lines().filter_map(|line| line.strip_prefix(BEGIN_OF_PLACE)) {
        let Some((place, command)) = line.trim_start_matches(BEGIN_OF_PLACE).split_once(END_OF_PLACE) else { continue };
        let Ok(number) = place.parse() else { continue };
        let is_call = command.split_whitespace().next().is_some_and(|word| functions.contains(word));
        let new = unsaid(command).filter(|_| !is_call).map(|command| (number, command)).filter(|item| !found.contains(item));
        found.extend(new);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lab_files_have_words_for_is_said() {
        for line in [
            "ip link add a type veth peer name b",
            "ip -n r1 a add 10.0.0.1/24 dev eth0",
            "sudo ip netns exec r1 ip r add default via 10.0.0.1",
            "/sbin/ip -6 ru add fwmark 1 table 7",
            "ip netns exec r1 sysctl -w net.ipv4.ip_forward=1",
            "ip ne add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0",
            "bridge link set dev eth0 isolated on",
            "echo 'tc qdisc'",
            "NAME=value",
            "sudo -E brctl addif br0 eth0",
            "ip netns exec r1 sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; ip link set lo up'",
            "ip",
            "",
        ] {
            assert_eq!(unsaid(line), None, "{line}");
        }
    }

    #[test]
    fn everything_else_is_told_without_what_runs_it() {
        for (line, told) in [
            ("tc qdisc add dev eth0 root netem delay 10ms", "tc qdisc add dev eth0 root netem delay 10ms"),
            ("sudo ip netns exec r1 tc qdisc show", "tc qdisc show"),
            ("ip nexthop add id 1 via 10.0.0.1", "ip nexthop add id 1 via 10.0.0.1"),
            ("ip link set eth0 alias 'up link'", "ip link set eth0 alias up link"),
            ("bridge vlan add vid 10 dev eth0", "bridge vlan add vid 10 dev eth0"),
            ("A=b nohup dnsmasq -C x", "dnsmasq -C x"),
            ("/usr/sbin/nft -f rules", "/usr/sbin/nft -f rules"),
            ("sudo sh -c 'echo 1; tc qdisc'", "sh -c echo 1; tc qdisc"),
        ] {
            assert_eq!(unsaid(line).as_deref(), Some(told), "{line}");
        }
    }

    #[test]
    fn calls_of_functions_are_not_told() {
        let script = "set -e\nmake() { tc qdisc; }\n  function other-one {\nwhile () do\n";
        let functions = functions(script);
        assert!(functions.contains("make") && functions.contains("other-one"), "{functions:?}");
        let trace = "\u{1e}9\u{1f}make a b\n\u{1e}2\u{1f}tc qdisc\n";
        assert_eq!(traced(trace, &functions), [(2, "tc qdisc".to_owned())]);
    }

    #[test]
    fn a_trace_is_read_line_by_line() {
        let trace = "\u{1e}3\u{1f}ip link add a type dummy\n\u{1e}\u{1e}4\u{1f}tc qdisc\nmore\n\u{1e}4\u{1f}tc qdisc\n\u{1e}9\u{1f}nft list\n";
        assert_eq!(traced(trace, &BTreeSet::new()), [(4, "tc qdisc".to_owned()), (9, "nft list".to_owned())]);
    }
}
