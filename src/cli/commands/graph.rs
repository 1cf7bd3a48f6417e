//! `topo graph`: draws a lab, or the dependencies of a plan.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use super::namespaces::nodes;
use super::show::described;
use crate::apply::{self, Goal};
use crate::cli::change::{hint_elsewhere, prepare};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::input::Lab;
use crate::cli::{Context, Format, Run, input};
use crate::kernel::linux::Linux;
use crate::kernel::linux::privilege::{self, Capability};
use crate::name::LabName;
use crate::picture::{self, Edge, Node, Picture, Placed};
use crate::projection::sides;
use crate::report::json::FORMAT_VERSION;
use crate::runtime::records;
use crate::state::{Live, State};

/// Draw the topology of a lab, or the dependencies of a plan
#[derive(Debug, Args)]
#[command(after_help = "\
Draws namespaces as boxes with their interfaces and addresses, pairs as lines,
and bridges as small boxes. Hosts with one link are drawn beside the switch or
router that they are connected to. The picture comes from the lab file alone;
with --live, or for the name of a lab, it shows the network as it is: what is
missing, changed, not in the file, or without carrier.

--dependencies draws the changes of `topo plan` instead, each above what it
needs.

Without --format, the ending of --out decides: .svg, .html, .dot or .gv, .mmd
or .json. The page (html) can be searched, folded and zoomed, shows what the
lab file says of each node, and needs no network.

Examples:
  topo graph --out lab.html             A page of the lab in lab.yaml
  topo graph ring.yaml --live --out ring.svg
  topo graph ring --out ring.svg        The live lab `ring`
  topo graph --format mermaid           For a README
  topo graph --format dot | dot -Tpdf > lab.pdf
  topo graph --dependencies --out plan.html")]
pub struct GraphArgs {
    /// Lab file, or name of a lab
    #[arg(value_name = "LAB|NAME", default_value = input::default_file())]
    lab: PathBuf,
    /// Show how the live network differs from the file
    #[arg(long)]
    live: bool,
    /// Draw the changes of the plan with what each needs
    #[arg(long, conflicts_with = "live")]
    dependencies: bool,
    /// The format [default: the ending of --out, or svg]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Form>,
    /// How nodes are placed
    #[arg(long, value_name = "LAYOUT", default_value = "distance", conflicts_with = "dependencies")]
    layout: Layout,
    /// Write to a file instead of standard output; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A picture
    Svg,
    /// A page to move and search in
    Html,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// For programs
    Json,
}

/// How nodes are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// Near what they are connected to
    Distance,
    /// In rows, hosts at the bottom
    Tiers,
}

/// A picture, as `topo graph --format json` prints it. Lengths are in CSS pixels.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "topo graph --format json")]
pub struct Report {
    /// Incremented by incompatible changes.
    format_version: u32,
    /// The name of the lab.
    lab: LabName,
    /// The width and the height.
    size: [f64; 2],
    /// The nodes.
    nodes: Vec<Place>,
    /// The edges. In a picture of dependencies, the first end needs the second.
    edges: Vec<Edge>,
}

/// A node and its place.
#[derive(Debug, Serialize, JsonSchema)]
struct Place {
    #[serde(flatten)]
    node: Node,
    /// The horizontal position of the centre.
    x: f64,
    /// The vertical position of the centre, from above.
    y: f64,
    /// The width.
    width: f64,
    /// The height.
    height: f64,
    /// The node beside which this one is drawn, because it has no other link; null for others.
    folded_into: Option<usize>,
}

impl Run for GraphArgs {
    fn access(&self) -> Access {
        if self.is_live() { Access::Read } else { Access::None }
    }

    fn format(&self) -> Format {
        if self.form() == Form::Json { Format::Json } else { Format::Text }
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let form = self.form();
        self.check_out()?;
        if self.out().is_none() && matches!(form, Form::Svg | Form::Html) && context.output.stdout_is_terminal() {
            let failure = Failure::new("a picture is not for a terminal");
            return Err(failure.hint("write it to a file, as with `--out lab.svg`, or choose `--format dot` or `mermaid`"));
        }
        let (lab, picture) = self.picture(context)?;
        let arrangement = match self.layout {
            Layout::Distance => picture::Arrangement::Distance,
            Layout::Tiers => picture::Arrangement::Tiers,
        };
        let title = if self.dependencies { format!("Plan of lab {lab}") } else { format!("Lab {lab}") };
        let text = match form {
            Form::Dot => picture::dot(&picture, lab.as_str()),
            Form::Mermaid => picture::mermaid(&picture),
            Form::Svg => picture::svg(&picture::arrange(&picture, arrangement), &title),
            Form::Html => picture::html(&picture::arrange(&picture, arrangement), &title),
            Form::Json => report(lab, &picture::arrange(&picture, arrangement))?,
        };
        match self.out() {
            None => context.output.print(&text)?,
            Some(path) => write(path, &text)?,
        }
        Ok(0)
    }
}

impl GraphArgs {
    fn is_live(&self) -> bool {
        self.live || self.dependencies || input::lab_name(&self.lab).is_some()
    }

    /// The file to write to; `-` is standard output.
    fn out(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| path.as_os_str() != "-")
    }

    fn form(&self) -> Form {
        self.format.or_else(|| of_ending(self.out()?)).unwrap_or(Form::Svg)
    }

    /// Refuses what would write something else than the user expects, or over the lab file.
    fn check_out(&self) -> Result<(), Failure> {
        let Some(path) = self.out() else { return Ok(()) };
        let shown = path.display();
        if self.format.is_none() && of_ending(path).is_none() {
            let failure = Failure::new(format!("the ending of `{shown}` names no format"));
            return Err(failure.hint("use .svg, .html, .dot, .gv, .mmd or .json, or say `--format`"));
        }
        let is_same = || Some(path.canonicalize().ok()? == self.lab.canonicalize().ok()?);
        if is_same() == Some(true) {
            return Err(Failure::new(format!("`{shown}` is the lab file itself")).hint("write to another file"));
        }
        Ok(())
    }

    fn picture(&self, context: &mut Context<'_>) -> Result<(LabName, Picture), Failure> {
        // The picture may be written to a directory that only the calling user can write to.
        let mut capabilities = Vec::new();
        capabilities.extend(self.out().is_some().then_some(Capability::IgnorePermissions));
        capabilities.extend(self.is_live().then_some(Capability::Trace));
        if let Some(name) = input::lab_name(&self.lab) {
            if self.dependencies {
                let failure = Failure::new("the plan of a lab needs its file");
                return Err(failure.hint(format!(
                    "to draw what is there, leave out `--dependencies`; to draw a plan, name the file of `{name}`"
                )));
            }
            privilege::keep(&capabilities)?;
            return of_name(name, context);
        }
        let (text, shown) = (input::read(&self.lab)?, input::display(&self.lab));
        privilege::keep(&capabilities)?;
        let lab = input::parse(text, &shown, context.output)?;
        let name = lab.name.clone();
        let picture = match self.is_live() {
            false => picture::topology(&lab.name, &lab.desired, &State::default()).picture,
            true => self.of_file(lab, context)?,
        };
        Ok((name, picture))
    }

    /// The network of a lab compared with its file, or the plan.
    fn of_file(&self, lab: Lab, context: &mut Context<'_>) -> Result<Picture, Failure> {
        let mut kernel = Linux::read_only(lab.name.clone())?;
        let goal = Goal::apply(lab.name.clone(), lab.desired);
        let goal = goal.with_records(records::read(&lab.name)?, records::others(&lab.name)?, &mut kernel)?;
        let (live, plan) = prepare(&mut kernel, &goal, Some(&lab.source), context.output)?;
        hint_elsewhere(&goal, &live, context.elsewhere, context.output);
        if self.dependencies {
            return Ok(picture::dependencies(&plan));
        }
        // Everything that is there or declared; where both differ, as declared.
        let sides = sides(&goal.desired, &live, &goal.record, &plan.changes, &plan.side_effects);
        let mut all = sides.live;
        all.extend(sides.desired);
        let mut topology = picture::topology(&goal.lab, &all, &live.state);
        picture::mark(&mut topology, &plan.changes);
        picture::mark_idle(&mut topology, &live.idle);
        Ok(topology.picture)
    }
}

/// The live network of a lab whose file is not known.
fn of_name(name: LabName, context: &mut Context<'_>) -> Result<(LabName, Picture), Failure> {
    let mut kernel = Linux::read_only(name.clone())?;
    let (record, others) = (records::read(&name)?, records::others(&name)?);
    let mut goal = Goal::destroy(name.clone(), State::default()).with_records(record, others, &mut kernel)?;
    let live: Live = apply::observe(&mut kernel, &mut goal)?;
    if live.state.namespaces.is_empty() && live.state.links.values().all(|link| link.external) {
        nodes(&goal.lab, context)?;
    }
    let described = described(&kernel, &goal, &live, context);
    let mut topology = picture::topology(&name, &described.state, &State::default());
    picture::mark_idle(&mut topology, &live.idle);
    Ok((name, topology.picture))
}

/// The format that the ending of a file names.
fn of_ending(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "svg" => Some(Form::Svg),
        "html" | "htm" => Some(Form::Html),
        "dot" | "gv" => Some(Form::Dot),
        "mmd" | "mermaid" => Some(Form::Mermaid),
        "json" => Some(Form::Json),
        _ => None,
    }
}

fn report(lab: LabName, placed: &Placed<'_>) -> Result<String, Failure> {
    let place = |(position, node): (usize, &Node)| {
        let ([x, y], size) = placed.nodes[position];
        let folded_into = placed.folded_into(position);
        Place { node: node.clone(), x, y, width: size.width, height: size.height, folded_into }
    };
    let report = Report {
        format_version: FORMAT_VERSION,
        lab,
        size: [placed.size.width, placed.size.height],
        nodes: placed.picture.nodes.iter().enumerate().map(place).collect(),
        edges: placed.picture.edges.clone(),
    };
    Ok(serde_json::to_string(&report).map_err(Failure::new)? + "\n")
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::with_cause(format!("cannot write `{}`", path.display()), error))
}
