//! Shells show where they are.

use std::io::Write;
use std::process::Stdio;

use super::super::harness::{User, with_users};
use super::PAIR;

/// What a shell on a terminal shows when it is given these lines.
fn session(user: &User, shell: &str, lines: &str) -> String {
    let mut command = user.command("script");
    let topo = format!("{} shell a", user.program().display());
    command.args(["-qec", &topo, "/dev/null"]).env("SHELL", shell);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in lines.lines() {
        // As typed: a shell that has not begun to read would lose what it flushes.
        std::thread::sleep(std::time::Duration::from_millis(700));
        writeln!(stdin, "{line}").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(6), "{shell}: {text}");
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
        for shell in ["/bin/bash", "/usr/bin/zsh"] {
            if !std::path::Path::new(shell).exists() {
                continue;
            }
            let text = session(&user, shell, "greet\nls /proc/$$/fd\nls /sys/class/net\nexit 6\n");
            assert!(text.contains("(a) mine> ") && text.contains("hello from rc") && text.contains("eth0"), "{shell}: {text}");
        }
        for shell in ["/bin/sh", "/bin/dash"] {
            let text = session(&user, shell, "exit 6\n");
            assert!(text.contains("(a) # "), "{shell}: {text}");
        }
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
        let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let left: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("topo-zsh")).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}
