//! `topo shell`: starts the user's shell inside a namespace and shows the namespace in its prompt.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::exec;
use crate::cli::elsewhere::Sought;
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run};
use crate::kernel::linux::node::enter::NodeEntry;
use crate::name::NamespaceName;

/// Start a shell in a namespace
#[derive(Debug, Args)]
#[command(after_help = "\
Starts $SHELL with the user's own settings. The prompt begins with (NAMESPACE).

Examples:
  topo shell r1
  topo shell host                    The sandbox's own namespace")]
pub struct ShellArgs {
    /// Namespace as in /run/netns, or `host` for the sandbox or machine itself
    namespace: String,
}

impl Run for ShellArgs {
    fn access(&self) -> Access {
        Access::Enter
    }

    fn sought(&self) -> Option<Sought> {
        exec::sought(&self.namespace)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let there = exec::enter(&self.namespace, context)?;
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| OsString::from("/bin/sh"));
        let root = there.node.as_ref().filter(|node| node.has_mounts()).map(NodeEntry::root);
        let command = command(&shell, &there.name, root.as_deref()).map_err(Failure::new)?;
        exec::run_there(command, there, context)
    }

    fn failure_status(&self) -> u8 {
        exec::FAILURE_STATUS
    }
}

/// The command that starts a shell with the namespace in its prompt. `root` is the root directory of the node, if it is another one.
fn command(shell: &OsStr, namespace: &NamespaceName, root: Option<&Path>) -> io::Result<Command> {
    let prompt = format!("({namespace}) ");
    let mut command = Command::new(shell);
    let name = Path::new(shell).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.as_str() {
        "bash" => drop(command.arg("--rcfile").arg(bash_settings(&prompt)?).arg("-i")),
        "zsh" => zsh(&mut command, &prompt, root)?,
        "fish" => drop(command.arg("--init-command").arg(fish_settings(&prompt))),
        // Other POSIX shells show PS1, unless their own settings replace it.
        _ => drop(command.env("PS1", format!("{prompt}{}", if nix::unistd::geteuid().is_root() { "# " } else { "$ " }))),
    }
    Ok(command)
}

/// An anonymous file that bash reads instead of ~/.bashrc, and then closes.
fn bash_settings(prompt: &str) -> io::Result<PathBuf> {
    let mut file = File::from(memfd_create(c"bashrc", MFdFlags::empty())?);
    let descriptor = file.as_raw_fd();
    write!(file, "[ -r ~/.bashrc ] && . ~/.bashrc\nPS1=\"{prompt}$PS1\"\nexec {descriptor}<&-\n")?;
    // The descriptor stays open across exec.
    Ok(PathBuf::from(format!("/proc/self/fd/{}", file.into_raw_fd())))
}

/// Makes zsh read its settings from a temporary directory. The `.zshenv` there removes the directory, continues with the user's
/// own settings, and sets the prompt after them.
fn zsh(command: &mut Command, prompt: &str, root: Option<&Path>) -> io::Result<()> {
    let place = match root {
        Some(root) => root.join("tmp"),
        None => std::env::temp_dir(),
    };
    let made = nix::unistd::mkdtemp(&place.join("topo-zsh-XXXXXX"))?;
    let directory = match root.and_then(|root| made.strip_prefix(root).ok()) {
        Some(inside) => Path::new("/").join(inside),
        None => made.clone(),
    };
    let own = std::env::var_os("ZDOTDIR");
    let restore = if own.is_some() { "ZDOTDIR=$TOPO_ZDOTDIR" } else { "unset ZDOTDIR" };
    let text = format!(
        "rm -f -- \"$ZDOTDIR/.zshenv\"; rmdir -- \"$ZDOTDIR\"\n{restore}; unset TOPO_ZDOTDIR\n\
         [[ -r ${{ZDOTDIR:-$HOME}}/.zshenv ]] && . ${{ZDOTDIR:-$HOME}}/.zshenv\n\
         autoload -Uz add-zsh-hook\n\
         _topo_prompt() {{ PROMPT=\"{prompt}$PROMPT\"; add-zsh-hook -d precmd _topo_prompt; unfunction _topo_prompt }}\n\
         add-zsh-hook precmd _topo_prompt\n"
    );
    std::fs::write(made.join(".zshenv"), text)?;
    command.env("ZDOTDIR", directory).env("TOPO_ZDOTDIR", own.unwrap_or_default());
    Ok(())
}

fn fish_settings(prompt: &str) -> OsString {
    format!("functions -c fish_prompt _topo_prompt; function fish_prompt; echo -n '{prompt}'; _topo_prompt; end").into()
}
