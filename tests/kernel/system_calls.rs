//! The system calls of a run: a plan and an apply without changes write nothing, and no namespace is made needlessly.

use super::harness::fingerprint::assert_restored;
use super::harness::{Feature, example, in_namespaces, lab, needs, settled_fingerprint, topo, traced};

/// The requests among the netlink messages that strace saw: `RTM_NEW…`, `RTM_DEL…` and `RTM_SET…`, by name or by number.
fn writes(trace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in trace.lines().filter(|line| line.contains("send")) {
        for message in line.split("nlmsg_type=").skip(1) {
            let kind: String = message.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let number = kind.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
            let read = match number {
                // Requests come in fours from 16 on: new, delete, get, set.
                Some(number) => (number.wrapping_sub(16)) % 4 == 2,
                None => kind.starts_with("RTM_GET"),
            };
            if !read {
                found.push(line.to_owned());
            }
        }
    }
    found
}

/// These system calls of a run of topo that succeeds, as strace shows them.
fn calls_of(calls: &str, arguments: &[&str]) -> String {
    traced(&["-v", "-s", "256", "-e", &format!("trace={calls}")], arguments)
}

/// The writes of a run of topo, netlink and other.
fn writes_of(arguments: &[&str]) -> Vec<String> {
    let trace = calls_of("sendto,sendmsg,sendmmsg,mount,umount2,unlink,unlinkat,open,openat,pwrite64,write", arguments);
    let mut found = writes(&trace);
    let elsewhere = |line: &&str| {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let opens = call.starts_with("open") && (line.contains("O_WRONLY") || line.contains("O_RDWR"));
        let harmless = line.contains("/dev/null") || line.contains("/run/topo") || line.contains("/dev/tty");
        (call.starts_with("mount(") || call.starts_with("umount2(") || call.starts_with("unlink") || opens)
            && !harmless
            && !line.contains("= -1")
    };
    found.extend(trace.lines().filter(elsewhere).map(str::to_owned));
    found
}

#[test]
fn neither_a_second_apply_nor_a_plan_writes_to_the_kernel() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let file = example("blog");
        let before = settled_fingerprint();
        assert_eq!(writes_of(&["plan", &file]), [""; 0]);
        assert_restored(&before);
        let first = writes_of(&["apply", &file]);
        assert!(first.len() > 10, "strace is expected to see the writes of the first apply: {first:#?}");
        let applied = settled_fingerprint();
        assert_eq!(writes_of(&["apply", &file]), [""; 0]);
        assert_eq!(writes_of(&["plan", &file]), [""; 0]);
        assert_restored(&applied);
        topo(&["apply", &file]).ok().says("No changes. The network matches the lab.");
    });
}

/// How many network namespaces a run of topo makes, under whatever name.
fn namespaces_made_by(arguments: &[&str]) -> usize {
    calls_of("unshare", arguments).lines().filter(|line| line.contains("CLONE_NEWNET")).count()
}

/// They are begun early, by what a first glance at the file tells; which must not make one too many, nor too few.
#[test]
fn only_namespaces_that_are_missing_are_made() {
    in_namespaces(|| {
        let block = |names: &[&str]| names.iter().map(|name| format!("  {name}: {{}}\n")).collect::<String>();
        let with = |names: &[&str]| lab(&format!("name: made\nnamespaces:\n{}", block(names)));
        let seven = ["a", "b", "c", "d", "e", "f", "g"];
        let mut present = 0;
        for names in [&seven[..1], &seven[..3], &seven] {
            assert_eq!(namespaces_made_by(&["apply", &with(names)]), names.len() - present);
            present = names.len();
        }
        assert_eq!(namespaces_made_by(&["apply", &with(&seven)]), 0);
        assert_eq!(namespaces_made_by(&["plan", &with(&["x", "y"])]), 0);
        assert_eq!(namespaces_made_by(&["destroy", "made"]), 0);
        let at_a_glance_nothing = lab("{ name: made, namespaces: { a: {}, b: {}, c: {} } }\n");
        assert_eq!(namespaces_made_by(&["apply", &at_a_glance_nothing]), 3);
        assert_eq!(namespaces_made_by(&["destroy", &at_a_glance_nothing]), 0);
    });
}

#[test]
fn validate_needs_no_kernel() {
    in_namespaces(|| {
        let trace = calls_of("socket,setns,unshare", &["validate", &example("blog")]);
        assert!(!trace.contains("socket(") && !trace.contains("setns(") && !trace.contains("unshare("), "{trace}");
    });
}
