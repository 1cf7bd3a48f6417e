//! topo against the kernel's floor: a raw program that makes, reads and removes the same networks with nothing but system calls,
//! and topo with a lab file of them, in turns, each as a process of its own.
//!
//! ```text
//! cargo bench --bench floor -- --networks star-100,torus-32 --rounds 7
//! ```
//!
//! Everything happens in network and mount namespaces of the bench's own; the machine's network is not touched. Networks are
//! `star-N`, `torus-N` (N × N routers) and `fat-tree-K`. The table holds medians; the ratio is that of the medians.

mod netlink;
mod network;
mod raw;
mod sandbox;
mod settings;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use nix::fcntl::{FcntlArg, fcntl};

use self::network::Network;
use self::sandbox::Cost;

const LAB_FILE: &str = "/run/lab.yaml";
/// The same lab with one address more.
const CHANGED_FILE: &str = "/run/changed.yaml";

#[derive(Debug, Parser)]
struct Arguments {
    /// Which networks
    #[arg(long, value_delimiter = ',', default_value = "star-10,star-100,star-1000,torus-32,fat-tree-8")]
    networks: Vec<String>,
    /// How often
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The program that is measured
    #[arg(long, default_value = env!("CARGO_BIN_EXE_topo"))]
    topo: String,
    /// Seconds before a network is made, for the kernel to forget the one before, and between making and reading it, for what IPv6
    /// says to everybody at first to die away
    #[arg(long, default_value_t = 2.0)]
    calm: f64,
    /// Only print their lab files
    #[arg(long)]
    print: bool,
    /// Be the raw program: `apply`, `dump` or `destroy`
    #[arg(long, hide = true)]
    raw: Option<String>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let networks = arguments.networks.iter().map(|name| Network::named(name).ok_or_else(|| format!("no network `{name}`")));
    let networks: Vec<Network> = networks.collect::<Result<_, _>>()?;
    if arguments.print {
        for network in &networks {
            print!("{}", network.yaml());
        }
        return Ok(());
    }
    make_room_for_descriptors();
    if let Some(step) = &arguments.raw {
        return networks.iter().try_for_each(|network| raw_step(step, network).map_err(Into::into));
    }
    sandbox::enter()?;
    println!(
        "{:<12} {:<24} {:>10} {:>10} {:>7} {:>9} {:>9}",
        "network", "step", "floor ms", "topo ms", "ratio", "floor MiB", "topo MiB"
    );
    for network in &networks {
        let mut costs = BTreeMap::new();
        for number in 0..arguments.rounds {
            round(number, &arguments, network, &mut costs)?;
        }
        for step in Step::ALL {
            report(network, step, &costs);
        }
    }
    Ok(())
}

/// Raises the limit, and has the table of descriptors grow while there is one thread: with more, each time that it doubles waits
/// for all readers of the old one (RCU).
fn make_room_for_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const DESCRIPTORS: i32 = 1 << 14;
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    if let Ok(descriptor) = fcntl(std::io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(DESCRIPTORS - 1)) {
        let _ = nix::unistd::close(descriptor);
    }
}

fn raw_step(step: &str, network: &Network) -> std::io::Result<()> {
    match step {
        "apply" => raw::apply(network),
        "dump" => raw::dump(network),
        "destroy" => raw::destroy(network),
        _ => Err(std::io::Error::other("no such step")),
    }
}

/// What is measured of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Apply,
    /// The plan of an unchanged lab; the dumps that it needs.
    Plan,
    /// One address more; the dumps that it needs.
    Update,
    Destroy,
    /// `validate`, which has no floor.
    Validate,
}

impl Step {
    const ALL: [Self; 5] = [Self::Validate, Self::Apply, Self::Plan, Self::Update, Self::Destroy];

    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Plan => "plan | dumps",
            Self::Update => "apply 1 address | dumps",
            Self::Destroy => "destroy",
            Self::Validate => "validate",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Floor,
    Topo,
}

type Costs = BTreeMap<(Step, Side), Vec<Cost>>;

/// Both sides once, the one first in even rounds and the other in odd ones.
fn round(number: usize, arguments: &Arguments, network: &Network, costs: &mut Costs) -> Result<(), Box<dyn Error>> {
    let mut sides = [Side::Floor, Side::Topo];
    if number % 2 == 1 {
        sides.reverse();
    }
    for side in sides {
        sandbox::rest()?;
        calm(arguments);
        match side {
            Side::Floor => floor_once(arguments, network, costs)?,
            Side::Topo => topo_once(arguments, network, costs)?,
        }
    }
    Ok(())
}

fn calm(arguments: &Arguments) {
    std::thread::sleep(Duration::from_secs_f64(arguments.calm));
}

fn floor_once(arguments: &Arguments, network: &Network, costs: &mut Costs) -> Result<(), Box<dyn Error>> {
    let mut run = |step, name: &str| -> std::io::Result<()> {
        let mut command = Command::new("/proc/self/exe");
        let cost = sandbox::run(command.args(["--networks", &network.name, "--raw", name]))?;
        costs.entry((step, Side::Floor)).or_default().push(cost);
        Ok(())
    };
    run(Step::Apply, "apply")?;
    calm(arguments);
    run(Step::Plan, "dump")?;
    run(Step::Update, "dump")?;
    Ok(run(Step::Destroy, "destroy")?)
}

fn topo_once(arguments: &Arguments, network: &Network, costs: &mut Costs) -> Result<(), Box<dyn Error>> {
    let mut run = |step, name: &str, file: &str| -> std::io::Result<()> {
        let mut command = Command::new(&arguments.topo);
        let cost = sandbox::run(command.args([name, file]).stdout(Stdio::null()).stderr(Stdio::null()))?;
        costs.entry((step, Side::Topo)).or_default().push(cost);
        Ok(())
    };
    write_lab(network)?;
    run(Step::Validate, "validate", LAB_FILE)?;
    run(Step::Apply, "apply", LAB_FILE)?;
    calm(arguments);
    run(Step::Plan, "plan", LAB_FILE)?;
    run(Step::Update, "apply", CHANGED_FILE)?;
    Ok(run(Step::Destroy, "destroy", CHANGED_FILE)?)
}

fn write_lab(network: &Network) -> std::io::Result<()> {
    let lab = network.yaml();
    std::fs::write(Path::new(LAB_FILE), &lab)?;
    std::fs::write(Path::new(CHANGED_FILE), lab.replacen("addresses: [", "addresses: [192.0.2.1/32, ", 1))
}

fn report(network: &Network, step: Step, costs: &Costs) {
    let median = |side: Side, value: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.get(&(step, side))?.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        Some(values[values.len() / 2])
    };
    let milliseconds = |cost: &Cost| cost.seconds * 1e3;
    let mebibytes = |cost: &Cost| cost.memory / 1024.0;
    let (floor, topo) = (median(Side::Floor, milliseconds), median(Side::Topo, milliseconds));
    let ratio = floor.zip(topo).map(|(floor, topo)| topo / floor);
    let show = |value: Option<f64>, places: usize| value.map_or(String::new(), |value| format!("{value:.places$}"));
    println!(
        "{:<12} {:<24} {:>10} {:>10} {:>7} {:>9} {:>9}",
        network.name,
        step.name(),
        show(floor, 1),
        show(topo, 1),
        show(ratio, 2),
        show(median(Side::Floor, mebibytes), 1),
        show(median(Side::Topo, mebibytes), 1),
    );
}
