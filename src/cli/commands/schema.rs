//! `topo schema`: prints the JSON schemas of lab files and of what commands print with `--json`.

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{export, graph, namespaces, ps, show};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::inventory::Inventory;
use crate::cli::{Context, Run};
use crate::report::json::{ErrorReport, Event, PlanReport, Validation};
use crate::spec::schema;

/// Print the JSON schema of lab files, for editors, or of a format of output
#[derive(Debug, Args)]
#[command(after_help = "\
Formats: lab (the default), plan, validate, show, export, graph, list, ps,
namespaces; event, a line of `apply --json`; watch, a line of `watch --json`;
error, which the other commands print when they fail.

Examples:
  topo schema > lab.schema.json
  # First line of a lab file, for editors that use the YAML language server:
  # yaml-language-server: $schema=lab.schema.json
  topo schema plan > plan.schema.json")]
pub struct SchemaArgs {
    /// The format
    #[arg(value_name = "FORMAT", default_value = "lab", hide_possible_values = true)]
    format: Format,
}

/// The schema of `topo watch --json`, which has no types of its own.
const WATCH: &str = include_str!("../../../schemas/watch.schema.json");

/// A format with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lab files
    Lab,
    /// `topo plan --json`
    Plan,
    /// `topo validate --json`
    Validate,
    /// `topo show --json`
    Show,
    /// `topo export --json`
    Export,
    /// `topo graph --format json`
    Graph,
    /// `topo list --json`
    List,
    /// `topo ps --json`
    Ps,
    /// `topo namespaces --json`
    Namespaces,
    /// Errors with `--json`
    Error,
    /// `topo apply --json`, `topo destroy --json`
    Event,
    /// `topo watch --json`
    Watch,
}

impl Run for SchemaArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        context.output.print(&self.format.text())?;
        Ok(0)
    }
}

impl Format {
    fn schema(self) -> Value {
        /// All members are always there; a missing value is null.
        fn of<T: JsonSchema>() -> Value {
            let settings = SchemaSettings::draft2020_12().for_serialize();
            settings.into_generator().into_root_schema_for::<T>().to_value()
        }
        match self {
            Self::Lab => schema::schema(),
            Self::Plan => of::<PlanReport>(),
            Self::Validate => of::<Validation>(),
            // Lab files are described as they are read: some values are left out.
            Self::Show => schemars::schema_for!(show::Report).to_value(),
            Self::Graph => of::<graph::Report>(),
            Self::Export => schemars::schema_for!(export::Report).to_value(),
            Self::List => of::<Inventory>(),
            Self::Ps => of::<ps::Report>(),
            Self::Namespaces => of::<namespaces::Report>(),
            Self::Error => of::<ErrorReport>(),
            Self::Event => of::<Event>(),
            Self::Watch => serde_json::from_str(WATCH).expect("the schema is JSON"),
        }
    }

    /// Returns the schema as the command prints it.
    pub fn text(self) -> String {
        serde_json::to_string_pretty(&self.schema()).expect("a schema is JSON") + "\n"
    }
}

/// All schemas by their names, as in `schemas/NAME.schema.json`.
pub fn schema_texts() -> Vec<(String, String)> {
    let name = |format: &Format| format.to_possible_value().map(|value| value.get_name().to_owned());
    Format::value_variants().iter().filter_map(|format| Some((name(format)?, format.text()))).collect()
}
