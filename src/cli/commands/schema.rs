//! `topo schema`: prints the JSON schema of lab files.

use clap::Args;
use schemars::JsonSchema;

use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run};
use crate::spec::schema;

/// Print the JSON schema of lab files, for editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  topo schema > lab.schema.json
  # First line of a lab file, for editors that use the YAML language server:
  # yaml-language-server: $schema=lab.schema.json")]
pub struct SchemaArgs {}

impl Run for SchemaArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        context.output.print(&schema_text())?;
        Ok(0)
    }
}

/// The JSON schema of lab files, as in `schemas/lab.schema.json`.
pub fn schema_text() -> String {
    let text = serde_json::to_string_pretty(&schema::schema()).expect("a schema is JSON");
    text + "\n"
}

/// The JSON schema of what a command prints with `--json`.
pub fn text_of<T: JsonSchema>() -> String {
    let text = serde_json::to_string_pretty(&schemars::schema_for!(T)).expect("a schema is JSON");
    text + "\n"
}
