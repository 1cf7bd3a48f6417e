//! `topo show`: prints the live lab as the file that would make it, or a saved plan.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::apply::{self, Goal};
use crate::cli::environment::Access;
use crate::cli::error::{Failure, chain};
use crate::cli::inventory::table;
use crate::cli::saved_plan::SavedPlan;
use crate::cli::{Context, Format, Run, input};
use crate::kernel::linux::Linux;
use crate::kernel::linux::privilege::{self, Capability};
use crate::name::{LabName, LinkId, SandboxName};
use crate::projection::{Chosen, Described, Omitted, describe};
use crate::report::json::FORMAT_VERSION;
use crate::report::{links, text, yaml};
use crate::runtime::records;
use crate::spec::LabFile;
use crate::state::{Live, State};

use super::namespaces::nodes;

/// Show the live lab as a lab file
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the live network of a lab as the YAML that would make it, without the
values that the kernel gives by itself. What no lab file can say, such as a
link of another kind, is a comment. The lab file, if it is given, tells only
which lab that is and what others may change (`ignore`).

--brief prints a table of the links: STATE is up, down or no-carrier. CONNECTED
is the other end of a pair, the parent (`on eth0`) and the master (`in br0`).

Examples:
  topo show                  The lab that lab.yaml describes, as it is now
  topo show ring             The lab `ring`, whose file may be lost
  topo show ring --brief     Its links and addresses
  topo show ring.plan        A plan saved by `topo plan --out`")]
pub struct ShowArgs {
    /// Lab file, name of a lab, or plan saved by `plan --out`
    #[arg(value_name = "LAB|NAME|PLAN", default_value = input::default_file())]
    lab: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a table of the links
    #[arg(long, conflicts_with = "json")]
    brief: bool,
}

/// The live network of a lab, as `topo show --json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "topo show --json")]
pub struct Report {
    /// Incremented by incompatible changes.
    format_version: u32,
    /// The name of the lab.
    lab: LabName,
    /// The sandbox that the lab is in; null for a lab on the machine itself.
    sandbox: Option<SandboxName>,
    /// The lab file that would make the network, without the values that the kernel gives by itself.
    file: LabFile,
    /// What is there, and no lab file can say.
    omitted: Vec<Omitted>,
}

impl Run for ShowArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let goal = match input::lab_name(&self.lab) {
            Some(name) => {
                privilege::keep(&[Capability::Trace])?;
                Goal::destroy(name, State::default())
            }
            None => {
                let (text, shown) = (input::read(&self.lab)?, input::display(&self.lab));
                privilege::keep(&[Capability::Trace])?;
                if let Some(saved) = SavedPlan::parse(&text, &shown)? {
                    return self.saved_plan(&saved, context);
                }
                let lab = input::parse(text, &shown, context.output)?;
                Goal::apply(lab.name, lab.desired)
            }
        };
        let mut kernel = Linux::read_only(goal.lab.clone())?;
        let (record, others) = (records::read(&goal.lab)?, records::others(&goal.lab)?);
        let mut goal = goal.with_records(record, others, &mut kernel)?;
        let live = apply::observe(&mut kernel, &mut goal)?;
        let owns_link = || live.state.links.values().any(|link| !link.external);
        if live.state.namespaces.is_empty() && !owns_link() && goal.record.is_empty() {
            nodes(&goal.lab, context)?;
        }
        self.live(&kernel, &goal, &live, context)
    }
}

impl ShowArgs {
    fn live(&self, kernel: &Linux, goal: &Goal, live: &Live, context: &mut Context<'_>) -> Result<u8, Failure> {
        if self.brief {
            let rows = links::rows(live);
            let text = match rows.is_empty() {
                true => format!("Lab `{}` has no links.\n", goal.lab),
                false => table(&links::HEAD, rows),
            };
            context.output.print(&text)?;
            return Ok(0);
        }
        let (file, omitted) = yaml::file(&goal.lab, &described(kernel, goal, live, context));
        print(&goal.lab, file, omitted, self.json, context)?;
        Ok(0)
    }

    fn saved_plan(&self, saved: &SavedPlan, context: &mut Context<'_>) -> Result<u8, Failure> {
        if self.brief {
            return Err(Failure::new("a saved plan has no table of links").hint("leave out `--brief`"));
        }
        let text = match self.json {
            true => saved.plan.to_string() + "\n",
            false => text::coloured(&saved.text, context.output.stdout_colour()),
        };
        context.output.print(&text)?;
        Ok(0)
    }
}

/// Prints a lab file with what it cannot say, and warns of that.
fn print(lab: &LabName, file: LabFile, omitted: Vec<Omitted>, json: bool, context: &mut Context<'_>) -> Result<(), Failure> {
    for omitted in &omitted {
        context.output.warning(&omitted.to_string());
    }
    let text = match json {
        true => {
            let sandbox = context.environment.sandbox().cloned();
            let report = Report { format_version: FORMAT_VERSION, lab: lab.clone(), sandbox, file, omitted };
            serde_json::to_string(&report).map_err(Failure::new)? + "\n"
        }
        false => yaml::commented(&file, &omitted),
    };
    context.output.print(&text)
}

/// The live state as a lab file has it. All hardware addresses are in it if the chosen ones are not known.
pub fn described(kernel: &Linux, goal: &Goal, live: &Live, context: &mut Context<'_>) -> Described {
    let macs: Option<BTreeSet<LinkId>> = match kernel.chosen_macs(&live.state.namespaces) {
        Ok(macs) => Some(macs),
        Err(error) => {
            let cause = chain(&error);
            context.output.warning(&format!("cannot tell which hardware addresses are the kernel's, so all are shown: {cause}"));
            None
        }
    };
    let mac = |id: &LinkId| macs.as_ref().is_none_or(|macs| macs.contains(id));
    describe(&live.state, Chosen { declared: &goal.interest, record: &goal.record, mac: &mac })
}
