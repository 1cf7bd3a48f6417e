//! Compares the output that a document shows with what a command prints.
//!
//! A line `...` of the document stands for any lines, at least one. In all other lines only this may differ:
//!
//! - blanks at the end;
//! - times: a number before `ms`, of `time=`, a time of day, a date and time of ISO 8601;
//! - hardware addresses, link-local addresses of IPv6, and the number of the other end in `eth0@if12`;
//! - in tables of topo, what is below PID, INSIDE, AGE, CPU, MEMORY and INODE, and the width of columns.

/// Stands for lines that the document leaves out.
const LEFT_OUT: &str = "...";
/// The columns of tables whose values are different each time.
const VARYING: [&str; 6] = ["PID", "INSIDE", "AGE", "CPU", "MEMORY", "INODE"];

/// Whether a command printed what the document shows.
pub fn matches(shown: &[&str], printed: &[&str]) -> bool {
    let (shown, printed) = (normalized(trimmed(shown)), normalized(trimmed(printed)));
    matches_lines(&shown, &printed)
}

fn matches_lines(shown: &[String], printed: &[String]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [first, rest @ ..] if first == LEFT_OUT => (1..=printed.len()).any(|count| matches_lines(rest, &printed[count..])),
        [first, rest @ ..] => printed.first() == Some(first) && matches_lines(rest, &printed[1..]),
    }
}

/// Without the empty lines at the end, with which a document separates commands.
fn trimmed<'a, 't>(lines: &'a [&'t str]) -> &'a [&'t str] {
    let end = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    &lines[..end]
}

fn normalized(lines: &[&str]) -> Vec<String> {
    let mut columns: Option<Vec<(usize, &str)>> = None;
    let mut found = Vec::new();
    for line in lines.iter().map(|line| line.trim_end()) {
        if let Some(header) = header(line) {
            columns = Some(header);
        } else if line.is_empty() {
            columns = None;
        }
        found.push(match &columns {
            Some(columns) if line != LEFT_OUT => row(line, columns),
            Some(_) | None => without_times(line),
        });
    }
    found
}

/// The columns of a table that begins with this line: where each one begins, and its name.
fn header(line: &str) -> Option<Vec<(usize, &str)>> {
    let is_name = |c: char| c.is_ascii_uppercase() || c == ' ';
    if !line.contains("  ") || !line.starts_with(|c: char| c.is_ascii_uppercase()) || !line.chars().all(is_name) {
        return None;
    }
    let mut columns = Vec::new();
    let mut at = 0;
    for name in line.split("  ") {
        if !name.trim().is_empty() {
            columns.push((at + name.len() - name.trim_start().len(), name.trim()));
        }
        at += name.len() + 2;
    }
    Some(columns)
}

/// The cells of a row, without those that vary.
fn row(line: &str, columns: &[(usize, &str)]) -> String {
    let characters: Vec<char> = line.chars().collect();
    let ends = columns.iter().skip(1).map(|(start, _)| *start).chain([usize::MAX]);
    let cells = columns.iter().zip(ends).map(|((start, name), end)| {
        let (start, end) = ((*start).min(characters.len()), end.min(characters.len()));
        let cell = characters[start..end].iter().collect::<String>();
        let cell = cell.trim();
        match VARYING.contains(name) && cell != *name && !matches!(cell, "" | "-") {
            true => "N".to_owned(),
            false => cell.to_owned(),
        }
    });
    cells.collect::<Vec<_>>().join(" | ")
}

/// A line in which times and addresses that the kernel draws are replaced.
fn without_times(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let replaced = words.iter().enumerate().map(|(index, word)| {
        let next = words.get(index + 1).map(|next| next.trim_end_matches([':', '.', ',', ')', ';']));
        if next == Some("ms") && is_number(word, "./") { "N".to_owned() } else { replaced(word) }
    });
    replaced.collect::<Vec<_>>().join(" ")
}

fn replaced(word: &str) -> String {
    let bare = word.trim_matches(['[', ']', '(', ')', ',']);
    if let Some(number) = word.strip_prefix("time=")
        && is_number(number, ".")
    {
        return "time=N".to_owned();
    }
    if bare.strip_suffix("ms").is_some_and(|number| is_number(number, ".")) {
        return word.replace(bare, "Nms");
    }
    if is_time(bare) {
        return word.replace(bare, "TIME");
    }
    if is_hardware_address(bare) {
        return word.replace(bare, "MAC");
    }
    if let Some(host) = bare.strip_prefix("fe80::") {
        let rest = host.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == ':');
        return word.replace(bare, &format!("fe80::N{rest}"));
    }
    match word.split_once("@if") {
        Some((name, number)) if is_number(number.trim_end_matches(':'), "") => format!("{name}@ifN"),
        _ => word.to_owned(),
    }
}

fn is_number(text: &str, besides: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || besides.contains(c))
}

/// `16:25:04`, `16:25:04.383`, `2026-01-31T16:25:04Z`.
fn is_time(text: &str) -> bool {
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let time = digits.strip_prefix("0000-00-00T").unwrap_or(&digits).trim_end_matches('Z');
    time.strip_prefix("00:00:00").is_some_and(|fraction| fraction.trim_start_matches('.').chars().all(|c| c == '0'))
}

fn is_hardware_address(text: &str) -> bool {
    text.len() == 17 && text.split(':').count() == 6 && text.split(':').all(|byte| u8::from_str_radix(byte, 16).is_ok())
}

#[test]
fn only_what_is_different_each_time_may_differ() {
    let same = [
        ("Done in 5 ms: 6 added, 0 changed.", "Done in 1234 ms: 6 added, 0 changed."),
        ("rtt min/avg/max/mdev = 0.057/0.137/0.217/0.080 ms", "rtt min/avg/max/mdev = 1.0/2.0/3.0/0.1 ms"),
        ("64 bytes: icmp_seq=1 ttl=64 time=0.217 ms", "64 bytes: icmp_seq=1 ttl=64 time=12 ms"),
        ("1 received, 0% packet loss, time 0ms", "1 received, 0% packet loss, time 1009ms"),
        ("16:25:04.383  drift", "00:00:00.001  drift"),
        ("[topo 2026-01-31T16:25:04Z] start", "[topo 2027-01-31T06:25:04Z] start"),
        ("link/ether 02:00:00:00:00:01 up", "link/ether be:ef:00:00:00:01 up"),
        ("default dev eth0", "default dev eth0 "),
        ("eth0@if12 UP fe80::1:2ff/64", "eth0@if7 UP fe80::abcd/64"),
    ];
    for (shown, printed) in same {
        assert!(matches(&[shown], &[printed]), "{shown}");
    }
    let different = [
        ("Done in 5 ms: 6 added, 0 changed.", "Done in 5 ms: 7 added, 0 changed."),
        ("ttl=64 time=0.217 ms", "ttl=63 time=0.217 ms"),
        ("mtu 1500", "mtu 1400"),
        ("10.0.0.1/24", "10.0.0.2/24"),
        ("2001:db8::1/64", "2001:db8::2/64"),
        ("fe80::1/64", "fe80::1/128"),
        ("a  b", "a b"),
    ];
    for (shown, printed) in different {
        assert!(!matches(&[shown], &[printed]), "{shown}");
    }
}

#[test]
fn lines_that_are_left_out_are_lines() {
    assert!(matches(&["a", "...", "d", ""], &["a", "b", "c", "d"]));
    assert!(!matches(&["a", "...", "b"], &["a", "b"]), "there must be something to leave out");
    assert!(!matches(&["a"], &["a", "b"]));
    assert!(!matches(&[], &["a"]), "a command that shows no output has none");
}

#[test]
fn tables_are_compared_cell_by_cell() {
    let shown = ["NODE  PROCESS  STATE  PID    AGE", "r1    bird     ready  20210  0s", "", "10  x"];
    let printed = ["NODE  PROCESS  STATE  PID  AGE", "r1    bird     ready  7    11m2s", "", "10  x"];
    assert!(matches(&shown, &printed));
    assert!(!matches(&shown, &["NODE  PROCESS  STATE   PID  AGE", "r1    bird     failed  7    0s", "", "10  x"]));
    assert!(!matches(&shown, &["NODE  PROCESS  STATE  PID  AGE", "r1    bird     ready  -    0s", "", "10  x"]));
    assert!(!matches(&shown, &["NODE  PROCESS  STATE  PID  AGE", "r1    bird     ready  7    0s", "", "11  x"]));
}
