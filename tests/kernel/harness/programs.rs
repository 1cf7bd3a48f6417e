//! The programs that tests start: where each one is, and which Debian package has it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Directories of programs for root. Debian leaves them out of the PATH of ordinary users.
const ROOT_ONLY: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The Debian package that has a program.
const PACKAGES: [(&str, &str); 31] = [
    ("bash", "bash"),
    ("bird", "bird2"),
    ("birdc", "bird2"),
    ("bridge", "iproute2"),
    ("busybox", "busybox-static"),
    ("cat", "coreutils"),
    ("chroot", "coreutils"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("env", "coreutils"),
    ("flock", "util-linux"),
    ("ip", "iproute2"),
    ("ls", "coreutils"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("pasta", "passt"),
    ("pgrep", "procps"),
    ("ping", "iputils-ping"),
    ("ps", "procps"),
    ("python3", "python3"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("sh", "dash"),
    ("sleep", "coreutils"),
    ("slirp4netns", "slirp4netns"),
    ("strace", "strace"),
    ("tcpdump", "tcpdump"),
    ("time", "time"),
    ("timeout", "coreutils"),
    ("unshare", "util-linux"),
    ("zsh", "zsh"),
];

/// PATH, followed by the directories of programs for root that it lacks.
pub fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for directory in ROOT_ONLY.map(PathBuf::from) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    std::env::join_paths(directories).expect("directories of PATH contain no colon")
}

/// The file of a program.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The file of a program, which must be installed.
#[track_caller]
pub fn path_of(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| panic!("{}", explain_missing(program)))
}

/// A program that is not started yet; it must be installed.
#[track_caller]
pub fn command(program: &str) -> Command {
    Command::new(path_of(program))
}

/// The programs that a script names and that are missing, each explained on a line of its own.
pub fn missing_in(script: &str) -> String {
    let words: Vec<&str> = script.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let missing = PACKAGES.iter().filter(|(program, _)| words.contains(program) && find(program).is_none());
    missing.map(|(program, _)| format!("\n{}", explain_missing(program))).collect()
}

/// Says that a program is missing, and which package has it.
pub fn explain_missing(program: &str) -> String {
    let place = PACKAGES.iter().find(|(name, _)| name == &program);
    let package = place.map_or_else(String::new, |(_, package)| format!("; on Debian: apt install {package}"));
    format!("the program `{program}` is missing: it is neither in PATH nor in {}{package}", ROOT_ONLY.join(" or "))
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let text = explain_missing("nft");
    assert_eq!(
        text,
        "the program `nft` is missing: it is neither in PATH nor in /usr/sbin or /sbin; on Debian: apt install nftables"
    );
    assert!(!explain_missing("no-such-program").contains("apt"));
    assert_eq!(missing_in("sh -c 'cat /dev/null'"), "");
    let failure = std::panic::catch_unwind(|| command("no-such-program")).expect_err("it is missing");
    let message = failure.downcast::<String>().expect("a failure has a text");
    assert!(message.starts_with("the program `no-such-program` is missing"), "{message}");
}

#[test]
fn programs_for_root_are_found_whatever_path_says() {
    let path = search_path();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    assert!(ROOT_ONLY.iter().all(|directory| directories.contains(&PathBuf::from(directory))));
}
