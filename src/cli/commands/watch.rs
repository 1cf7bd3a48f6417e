//! `topo watch`: shows drift as it happens, and puts it right.

use std::time::Duration;

use clap::Args;

use crate::apply::Goal;
use crate::cli::args::{AdoptArgs, LabFileArgs, SideEffectArgs, duration};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::input;
use crate::cli::signals::Signals;
use crate::cli::watch::{Options, Watcher};
use crate::cli::{Context, Format, Run, nodes};
use crate::kernel::linux::Linux;
use crate::kernel::linux::privilege::{self, Capability};
use crate::spec::prescan;

/// Show drift as it happens, and put it right
#[derive(Debug, Args)]
#[command(after_help = "\
Compares the lab with the kernel whenever the kernel reports a change, and
shows what differs from the file. Runs until it is interrupted.

Examples:
  topo watch lab.yaml                Show drift, and who has caused it
  topo watch --heal lab.yaml         Put it right
  topo watch --json | jq .event      One event a line
  topo watch --exec 'mail -s drift root'

Settings and files cause no notifications: they are looked at every few
seconds, see `--interval`.

Exit status:
  0  ended by a signal
  1  error")]
pub struct WatchArgs {
    #[command(flatten)]
    file: LabFileArgs,
    /// Put drift right. A resource that somebody changes again and again is left alone for a while
    #[arg(long)]
    heal: bool,
    /// Print one event a line as JSON
    #[arg(long)]
    json: bool,
    /// Run a command on drift, by `sh -c`, with the event as JSON on its standard input
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// How often to look at settings and files
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    adopt: AdoptArgs,
    #[command(flatten)]
    side_effects: SideEffectArgs,
}

/// Parses the time between two looks at settings.
fn interval(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    let interval = duration(text).map_err(|error| error.to_string())?;
    if interval < LEAST { Err("at least 100ms".to_owned()) } else { Ok(interval) }
}

impl Run for WatchArgs {
    fn access(&self) -> Access {
        if self.heal { Access::Create { uplink: None } } else { Access::Read }
    }

    fn format(&self) -> Format {
        if self.json { Format::Events } else { Format::Text }
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let text = input::read(&self.file.path)?;
        let spawner = if self.heal { nodes::prepare(&text, context.environment)? } else { None };
        let mut capabilities = vec![Capability::Broadcast];
        // An init whose socket is gone is known by its network namespace.
        capabilities.extend((self.heal || prescan::may_have_nodes(&text)).then_some(Capability::Trace));
        privilege::keep(&capabilities)?;
        let lab = input::parse(text, &input::display(&self.file.path), context.output)?;
        let mut kernel = Linux::new(lab.name.clone())?;
        kernel.use_spawner(spawner);
        let goal = Goal::apply(lab.name, lab.desired).adopting(self.adopt.adoptions.iter().cloned());
        let options = Options {
            path: &self.file.path,
            heal: self.heal,
            json: self.json,
            exec: self.exec.as_deref(),
            interval: self.interval,
            adopt: &self.adopt.adoptions,
            allow_side_effects: self.side_effects.allow_side_effects,
        };
        let signals = Signals::listen()?;
        Watcher::new(kernel, goal, lab.source.text, options, signals, context.output)?.run()?;
        Ok(0)
    }
}
