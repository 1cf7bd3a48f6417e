//! A shell that shows in its prompt which namespace it is in, after the user's own settings have been read.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::name::NamespaceName;

/// The command that starts a shell with a prompt for a namespace.
pub fn command(shell: &OsStr, namespace: &NamespaceName) -> io::Result<Command> {
    let prompt = format!("({namespace}) ");
    let mut command = Command::new(shell);
    let name = Path::new(shell).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.as_str() {
        "bash" => drop(command.arg("--rcfile").arg(bash_settings(&prompt)?).arg("-i")),
        "zsh" => zsh(&mut command, &prompt)?,
        "fish" => drop(command.arg("--init-command").arg(fish_settings(&prompt))),
        // What any other shell of this family shows, unless its own settings say otherwise.
        _ => drop(command.env("PS1", format!("{prompt}{}", if nix::unistd::geteuid().is_root() { "# " } else { "$ " }))),
    }
    Ok(command)
}

/// A file without a name, which bash reads in the place of ~/.bashrc, and closes.
fn bash_settings(prompt: &str) -> io::Result<PathBuf> {
    let mut file = File::from(memfd_create(c"bashrc", MFdFlags::empty())?);
    let descriptor = file.as_raw_fd();
    write!(file, "[ -r ~/.bashrc ] && . ~/.bashrc\nPS1=\"{prompt}$PS1\"\nexec {descriptor}<&-\n")?;
    // It stays open over exec.
    Ok(PathBuf::from(format!("/proc/self/fd/{}", file.into_raw_fd())))
}

/// zsh looks for the files of its settings in a directory; there, the first of them removes it, hands over to the user's own, and
/// sets the prompt after all of them.
fn zsh(command: &mut Command, prompt: &str) -> io::Result<()> {
    let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("topo-zsh-XXXXXX"))?;
    let own = std::env::var_os("ZDOTDIR");
    let restore = if own.is_some() { "ZDOTDIR=$TOPO_ZDOTDIR" } else { "unset ZDOTDIR" };
    let text = format!(
        "rm -f -- \"$ZDOTDIR/.zshenv\"; rmdir -- \"$ZDOTDIR\"\n{restore}; unset TOPO_ZDOTDIR\n\
         [[ -r ${{ZDOTDIR:-$HOME}}/.zshenv ]] && . ${{ZDOTDIR:-$HOME}}/.zshenv\n\
         autoload -Uz add-zsh-hook\n\
         _topo_prompt() {{ PROMPT=\"{prompt}$PROMPT\"; add-zsh-hook -d precmd _topo_prompt; unfunction _topo_prompt }}\n\
         add-zsh-hook precmd _topo_prompt\n"
    );
    std::fs::write(directory.join(".zshenv"), text)?;
    command.env("ZDOTDIR", directory).env("TOPO_ZDOTDIR", own.unwrap_or_default());
    Ok(())
}

fn fish_settings(prompt: &str) -> OsString {
    format!("functions -c fish_prompt _topo_prompt; function fish_prompt; echo -n '{prompt}'; _topo_prompt; end").into()
}
