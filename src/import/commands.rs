//! Tells which commands of a script leave something that no lab file can say.

use std::collections::BTreeSet;

/// Commands whose effects on the network are in what the kernel holds afterwards, as far as lab files have words for it.
const SUPPORTED: [&str; 5] = ["sysctl", "brctl", "ifconfig", "route", "vconfig"];
/// Commands without effect on the network, and parts of the shell. Scripts that bash runs are in the trace themselves.
const HARMLESS: [&str; 86] = [
    ":", "[", "[[", "((", "test", "echo", "printf", "true", "false", "set", "shift", "local", "declare", "typeset", "export",
    "readonly", "return", "exit", "cd", "pwd", "wait", "sleep", "read", "trap", "let", "eval", "break", "continue", "source",
    ".", "unset", "umask", "ulimit", "getopts", "shopt", "alias", "hash", "type", "seq", "cat", "grep", "sed", "awk", "cut",
    "tr", "head", "tail", "wc", "sort", "uniq", "basename", "dirname", "date", "id", "whoami", "uname", "which", "hostname",
    "ping", "ping6", "for", "case", "select", "mkdir", "rmdir", "rm", "ls", "tee", "cp", "mv", "ln", "mktemp", "chmod", "chown",
    "touch", "sync", "modprobe", "kill", "killall", "pkill", "pgrep", "ps", "find", "xargs", "diff", "bash",
];
/// Objects of ip(8) that lab files have words for.
const OBJECTS: [&str; 8] = ["address", "addr", "link", "route", "rule", "neighbor", "neighbour", "netns"];
/// Objects of bridge(8) that lab files have words for.
const BRIDGE_OBJECTS: [&str; 1] = ["link"];
/// What one does with an object to look at it.
const SHOWING: [&str; 6] = ["show", "list", "ls", "lst", "help", "get"];
/// Words of `ip link` and `ip address` whose effects are lost. A vxlan has a `group` that is none of links.
const LOST_WORDS: [&str; 6] = ["alias", "xdp", "vf", "token", "proto_down", "group"];
/// Commands that run another one, each with its options that have an argument.
const RUNNERS: [(&str, &[&str]); 8] = [
    ("sudo", &SUDO_ARGUMENTS),
    ("exec", &["-a"]),
    ("env", &["-u", "-C"]),
    ("time", &["-f", "-o"]),
    ("nohup", &[]),
    ("nice", &["-n"]),
    ("builtin", &[]),
    ("command", &[]),
];
/// The options of sudo(8) that have an argument.
pub const SUDO_ARGUMENTS: [&str; 8] = ["-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T"];

/// Returns the command, without what runs it, if no lab file can say what it does.
pub fn unsupported(line: &str) -> Option<String> {
    let words = split(line);
    let own = innermost(&words);
    let program = own.first()?.rsplit('/').next().unwrap_or_default();
    let rest: Vec<&str> = own[1..].iter().map(String::as_str).collect();
    let is_supported = match program {
        "sh" | "bash" | "dash" if rest.first() == Some(&"-c") => rest.get(1).is_none_or(|script| is_supported_whole(script)),
        "ip" => is_supported_by(&rest, &OBJECTS),
        "bridge" => is_supported_by(&rest, &BRIDGE_OBJECTS),
        program => SUPPORTED.contains(&program) || HARMLESS.contains(&program) || is_assignment(program),
    };
    (!is_supported).then(|| own.join(" "))
}

/// Returns whether lab files can say what each command of a script does.
fn is_supported_whole(script: &str) -> bool {
    let without_copies = script.replace(">&", "> ").replace("&>", "> ");
    without_copies.split([';', '&', '|', '\n']).all(|command| unsupported(command).is_none())
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

/// Returns the program that a script is for, if that is no shell like bash.
pub fn foreign_interpreter(script: &str) -> Option<String> {
    let words: Vec<&str> = script.lines().next()?.strip_prefix("#!")?.split_whitespace().collect();
    let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let program = match words.as_slice() {
        [env, rest @ ..] if name(env) == "env" => name(rest.iter().find(|word| !word.starts_with('-'))?),
        [program, ..] => name(program),
        [] => return None,
    };
    (!matches!(program.as_str(), "sh" | "bash" | "dash" | "ash" | "ksh" | "mksh" | "busybox")).then_some(program)
}

/// Returns the command that others run, such as sudo(8) or `ip netns exec`.
fn innermost(words: &[String]) -> &[String] {
    let mut words = words;
    loop {
        let Some(first) = words.first() else { return words };
        let program = first.rsplit('/').next().unwrap_or_default();
        let runner = RUNNERS.iter().find(|(name, _)| *name == program);
        let skipped = match (runner, program) {
            // An array.
            _ if is_assignment(first) && first.contains('(') => words.len(),
            _ if is_assignment(first) => 1,
            (Some((_, with_argument)), _) => 1 + options(&words[1..], with_argument),
            (None, "ip") => match inside(&words[1..]) {
                Some(count) => 1 + count,
                None => return words,
            },
            (None, _) => return words,
        };
        words = words.get(skipped..).unwrap_or_default();
    }
}

/// Returns the number of words that are options, assignments, or arguments of these options.
fn options(words: &[String], with_argument: &[&str]) -> usize {
    let mut count = 0;
    while let Some(word) = words.get(count).filter(|word| word.starts_with('-') || is_assignment(word)) {
        count += 1 + usize::from(with_argument.contains(&word.as_str()));
    }
    count
}

/// Returns the number of words of `netns exec NAME`, with options before. With `-all`, there is no name.
fn inside(words: &[String]) -> Option<usize> {
    let options = words.iter().take_while(|word| word.starts_with('-')).count();
    let is_for_all = words[..options].iter().any(|option| matches!(option.as_str(), "-a" | "-all" | "--all"));
    let rest: Vec<&str> = words[options..].iter().take(2).map(String::as_str).collect();
    let is_exec = matches!(rest[..], [object, verb] if abbreviates(object, "netns") && abbreviates(verb, "exec"));
    is_exec.then(|| options + 2 + usize::from(!is_for_all))
}

fn is_supported_by(words: &[&str], objects: &[&str]) -> bool {
    let mut rest = words.iter().copied().peekable();
    while let Some(option) = rest.next_if(|word| word.starts_with('-')) {
        if matches!(option, "-n" | "-netns" | "-b" | "-batch" | "-family" | "-f") {
            rest.next();
        }
    }
    let Some(object) = rest.next() else { return true };
    if rest.peek().is_some_and(|verb| SHOWING.contains(verb)) {
        return true;
    }
    let is_known = objects.iter().any(|known| abbreviates(object, known));
    let is_lost = |word: &str| LOST_WORDS.contains(&word) && !(word == "group" && words.contains(&"vxlan"));
    is_known && !rest.any(is_lost)
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

/// What begins each line of a trace. The shell repeats it for each level of subshells.
const BEGIN: char = '\u{1e}';
/// What ends the name of the file, and the number of the line.
const END: char = '\u{1f}';

/// Returns the value of `PS4` for a trace that [`traced`] reads. bash expands it for each command.
pub fn prompt() -> String {
    format!("{BEGIN}${{BASH_SOURCE[0]##*/}}{END}$LINENO{END}")
}

/// A command of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The name of the script's file; empty for a command line.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The command, without what runs it.
    pub command: String,
}

/// Returns the commands of a trace that no lab file can say, each once, without those of the file `settings` and without calls of these
/// functions.
pub fn traced(trace: &str, settings: &str, functions: &BTreeSet<String>) -> Vec<Traced> {
    let mut found: Vec<Traced> = Vec::new();
    for line in trace.lines().filter_map(|line| line.strip_prefix(BEGIN)) {
        let mut parts = line.trim_start_matches(BEGIN).splitn(3, END);
        let (Some(file), Some(line), Some(command)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Ok(line) = line.parse() else { continue };
        let is_call = command.split_whitespace().next().is_some_and(|word| functions.contains(word));
        if file == settings || is_call {
            continue;
        }
        let new = unsupported(command).map(|command| Traced { file: file.to_owned(), line, command });
        found.extend(new.filter(|new| !found.contains(new)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lab_files_have_words_for_is_supported() {
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
            "sudo -u root ip link set a up",
            "ip link add v type vxlan id 7 group 239.1.1.1 dev a",
            "ip -all netns exec ip link",
            "nice -n 5 ip link",
            "sh -c 'ip link set a up 2>&1'",
            "bash other.sh",
            "NS=(r1 r2)",
            "ip tunnel show",
            "ip",
            "",
        ] {
            assert_eq!(unsupported(line), None, "{line}");
        }
    }

    #[test]
    fn scripts_of_other_languages_are_recognised() {
        for (line, program) in [
            ("#!/bin/sh -e", None),
            ("#!/usr/bin/env bash", None),
            ("#!/usr/bin/env -S python3 -u", Some("python3")),
            ("#! /usr/bin/perl", Some("perl")),
            ("ip link", None),
        ] {
            assert_eq!(foreign_interpreter(line).as_deref(), program, "{line}");
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
            ("command tc qdisc", "tc qdisc"),
            ("sudo -n -u root tc qdisc", "tc qdisc"),
            ("ip -all netns exec tc qdisc", "tc qdisc"),
            ("ip link set a group 7", "ip link set a group 7"),
            ("/usr/sbin/nft -f rules", "/usr/sbin/nft -f rules"),
            ("sudo sh -c 'echo 1; tc qdisc'", "sh -c echo 1; tc qdisc"),
        ] {
            assert_eq!(unsupported(line).as_deref(), Some(told), "{line}");
        }
    }

    fn told(line: usize, command: &str) -> Traced {
        Traced { file: "x.sh".to_owned(), line, command: command.to_owned() }
    }

    #[test]
    fn calls_of_functions_are_not_told() {
        let script = "set -e\nmake() { tc qdisc; }\n  function other-one {\nwhile () do\n";
        let functions = functions(script);
        assert!(functions.contains("make") && functions.contains("other-one"), "{functions:?}");
        let trace = "\u{1e}x.sh\u{1f}9\u{1f}make a b\n\u{1e}x.sh\u{1f}2\u{1f}tc qdisc\n";
        assert_eq!(traced(trace, "rc", &functions), [told(2, "tc qdisc")]);
    }

    #[test]
    fn a_trace_is_read_line_by_line() {
        let trace = "\u{1e}x.sh\u{1f}3\u{1f}ip link\n\u{1e}\u{1e}x.sh\u{1f}4\u{1f}tc qdisc\nmore\n\u{1e}x.sh\u{1f}4\u{1f}tc qdisc\n\
                     \u{1e}rc\u{1f}1\u{1f}tc qdisc\n\u{1e}x.sh\u{1f}9\u{1f}nft list\n";
        assert_eq!(traced(trace, "rc", &BTreeSet::new()), [told(4, "tc qdisc"), told(9, "nft list")]);
    }
}
