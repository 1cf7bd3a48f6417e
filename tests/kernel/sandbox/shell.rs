//! Shells show where they are.

use std::fs::DirEntry;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use nix::unistd::geteuid;

use super::super::harness::programs::{explain_missing, find};
use super::super::harness::{User, eventually, skip, with_users};
use super::PAIR;

/// What a shell on a terminal shows when it is given these lines, each when its prompt is there, as one types. The last line ends it
/// with status 6.
fn session(user: &User, shell: &str, prompt: &str, lines: &[&str]) -> String {
    let mut command = user.command("script");
    let topo = format!("{} shell a", user.program().display());
    command.args(["-qec", &topo, "/dev/null"]).env("SHELL", shell);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let shown = Arc::new(Mutex::new(String::new()));
    let seen = shown.clone();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    for (number, line) in lines.iter().enumerate() {
        eventually(&format!("prompt {number} of {shell}"), || shown.lock().unwrap().matches(prompt).count() > number);
        writeln!(stdin, "{line}").unwrap();
    }
    let status = child.wait().unwrap();
    reader.join().unwrap();
    let text = shown.lock().unwrap().clone();
    assert_eq!(status.code(), Some(6), "{shell}: {text}");
    text
}

#[test]
fn the_prompt_names_the_namespace() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        user.file(".bashrc", "PS1='mine> '\nalias greet='echo hello from rc'\n");
        user.file(".zshrc", "PROMPT='mine> '\nalias greet='echo hello from rc'\n");
        for shell in ["bash", "zsh"] {
            let Some(path) = find(shell) else {
                skip(&explain_missing(shell));
                continue;
            };
            let text = session(&user, path.to_str().unwrap(), "(a) mine> ", &["greet", "ls /sys/class/net", "exit 6"]);
            assert!(text.contains("hello from rc") && text.contains("eth0"), "{shell}: {text}");
        }
        for shell in ["/bin/sh", "/bin/dash"] {
            session(&user, shell, "(a) # ", &["exit 6"]);
        }
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
        let own = user.number().unwrap_or(geteuid().as_raw());
        let is_own = |entry: &DirEntry| entry.metadata().is_ok_and(|metadata| metadata.uid() == own);
        let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let left: Vec<_> =
            left.filter(|entry| is_own(entry) && entry.file_name().to_string_lossy().starts_with("topo-zsh")).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}
