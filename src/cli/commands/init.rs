//! `topo init`: writes a first lab file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::schema::Format;
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run, input};
use crate::name::LabName;

/// The file's name when none is given.
const DEFAULT_FILE: &str = "lab.yaml";
/// The schema, in the directory of the lab file.
const SCHEMA: &str = "lab.schema.json";
/// The lab's name if neither the file nor its directory has one.
const DEFAULT_NAME: &str = "hello";
/// Stands for the lab's name in the texts.
const NAME: &str = "$NAME";

const COMPLETE: &str = include_str!("init/lab.yaml");
const MINIMAL: &str = include_str!("init/minimal.yaml");

/// Write a first lab file
#[derive(Debug, Args)]
#[command(after_help = "\
Writes a lab of two hosts and a router, with a comment on each part. It can be
applied as it is. The lab is named after the file, or after the directory if
the file is lab.yaml. Existing files are not replaced without --force.

For editors, the first line of the file names the schema, and lab.schema.json is
written beside it. Nothing is fetched from the network. VS Code needs the
extension `YAML` of Red Hat; Neovim and other editors need yaml-language-server,
which is `yamlls` in nvim-lspconfig. Then keys are completed and explained, and
mistakes are marked. After an update of topo: topo schema > lab.schema.json

Examples:
  topo init                  Write lab.yaml and lab.schema.json
  topo init ring.yaml        Write another file; the lab is named `ring`
  topo init --minimal        Two hosts and a link, without comments
  topo init - | topo plan -  Write to standard output, without a schema")]
pub struct InitArgs {
    /// File to write; `-` writes to standard output
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Write the shortest lab: two hosts and a link, without comments
    #[arg(long)]
    minimal: bool,
    /// Write neither the schema nor the line that names it
    #[arg(long)]
    no_schema: bool,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

impl Run for InitArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        if self.file.as_os_str() == "-" {
            context.output.print(&self.text(false))?;
            return Ok(0);
        }
        let has_schema = !self.no_schema;
        self.write(&self.file, &self.text(has_schema)).map_err(|error| explain(&self.file, error))?;
        let file = input::display(&self.file);
        match has_schema {
            true => {
                let schema = self.file.with_file_name(SCHEMA);
                self.write_schema(&schema, context)?;
                context.output.message(&format!("Wrote `{file}`, and `{}` for editors.", schema.display()));
            }
            false => context.output.message(&format!("Wrote `{file}`.")),
        }
        let lab = if self.file.as_os_str() == DEFAULT_FILE { String::new() } else { format!(" {}", quoted(&file)) };
        let address = if self.minimal { "10.0.0.2" } else { "10.0.2.10" };
        context.output.message("Next:");
        for command in [format!("plan{lab}"), format!("apply{lab}"), format!("exec alice -- ping -c 1 {address}")] {
            context.output.message(&format!("  topo {command}"));
        }
        Ok(0)
    }
}

impl InitArgs {
    fn text(&self, has_schema: bool) -> String {
        let line = if has_schema { format!("# yaml-language-server: $schema={SCHEMA}\n") } else { String::new() };
        let text = if self.minimal { MINIMAL } else { COMPLETE };
        line + &text.replace(NAME, &lab_name(&self.file))
    }

    /// Writes a file that does not exist, or replaces one with `--force`.
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        match self.force {
            true => options.write(true).create(true).truncate(true),
            false => options.write(true).create_new(true),
        };
        options.open(path)?.write_all(text.as_bytes())
    }

    /// Writes the schema. One that exists is kept: it may be that of other labs.
    fn write_schema(&self, path: &Path, context: &mut Context<'_>) -> Result<(), Failure> {
        let text = Format::Lab.text();
        match self.write(path, &text) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if std::fs::read_to_string(path).is_ok_and(|existing| existing != text) {
                    let shown = path.display();
                    let what = format!("`{shown}` exists and is kept, but is not the schema of this version of topo");
                    context.output.warning(&what);
                    context.output.hint(&format!("`topo schema > {shown}` writes that"));
                }
                Ok(())
            }
            other => other.map_err(|error| explain(path, error)),
        }
    }
}

fn explain(path: &Path, error: io::Error) -> Failure {
    let (kind, shown) = (error.kind(), path.display());
    match kind {
        io::ErrorKind::AlreadyExists => {
            Failure::new(format!("`{shown}` exists already")).hint("name another file, or use `--force` to replace it")
        }
        _ => Failure::with_cause(format!("cannot write `{shown}`"), error),
    }
}

/// A file's name as a shell reads it.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if name.chars().all(is_plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// The name of a lab in this file.
fn lab_name(file: &Path) -> String {
    let stem = file.file_stem().filter(|_| !file.ends_with(DEFAULT_FILE) && file.as_os_str() != "-");
    let directory = || {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(directory.canonicalize().ok()?.file_name()?.to_owned())
    };
    let name = stem.map(ToOwned::to_owned).or_else(directory);
    let name = name.as_ref().and_then(|name| name.to_str()).and_then(|name| name.parse::<LabName>().ok());
    name.map_or_else(|| DEFAULT_NAME.to_owned(), |name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(["a/b.yaml", "my lab.yaml", "it's"].map(quoted), ["a/b.yaml", "'my lab.yaml'", r"'it'\''s'"]);
    }

    #[test]
    fn a_lab_is_named_after_its_file_or_directory() {
        assert_eq!(lab_name(Path::new("ring.yaml")), "ring");
        assert_eq!(lab_name(Path::new("/somewhere/ring.lab.yaml")), "ring.lab");
        assert_eq!(lab_name(Path::new("/usr/lab.yaml")), "usr");
        assert_eq!(lab_name(Path::new("/lab.yaml")), DEFAULT_NAME);
        assert_eq!(lab_name(Path::new("my ring.yaml")), DEFAULT_NAME);
    }
}
