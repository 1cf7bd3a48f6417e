//! Compares topo with the kernel's floor: a raw program that creates, reads and deletes the same networks with system calls only. The
//! two run alternately, each as a separate process.
//!
//! ```text
//! cargo bench --bench floor -- --networks star-100,torus-32 --rounds 7
//! ```
//!
//! The benchmark runs in new network and mount namespaces; the machine's network is not touched. Networks are `star-N`, `torus-N`
//! (N × N routers) and `fat-tree-K`. The table shows medians and the ratio of the medians.

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
/// The same lab with one additional address.
const CHANGED_FILE: &str = "/run/changed.yaml";

#[derive(Debug, Parser)]
struct Arguments {
    /// The networks to measure
    #[arg(long, value_delimiter = ',', default_value = "star-10,star-100,star-1000,torus-32,fat-tree-8")]
    networks: Vec<String>,
    /// The number of rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The topo program
    #[arg(long, default_value = env!("CARGO_BIN_EXE_topo"))]
    topo: String,
    /// Seconds to wait before creating a network, until the kernel has cleaned up the previous one, and before reading it, until the
    /// initial IPv6 messages have ended
    #[arg(long, default_value_t = 2.0)]
    calm: f64,
    /// Only print the lab files
    #[arg(long)]
    print: bool,
    /// Run as the raw program: `apply`, `dump` or `destroy`
    #[arg(long, hide = true)]
    raw: Option<String>,
    /// Passed by cargo to all benchmarks
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
    enlarge_descriptor_table();
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

/// Raises the limit and enlarges the table of descriptors while there is only one thread. With several threads, each doubling waits
/// for all readers of the old table (RCU).
fn enlarge_descriptor_table() {
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

/// The measurements of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Apply,
    /// topo: the plan of an unchanged lab. Floor: the dumps for it.
    Plan,
    /// topo: adding one address. Floor: the dumps for it.
    Update,
    Destroy,
    /// `validate`; there is no floor for it.
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

/// Runs both sides once, in alternating order.
fn round(number: usize, arguments: &Arguments, network: &Network, costs: &mut Costs) -> Result<(), Box<dyn Error>> {
    let mut sides = [Side::Floor, Side::Topo];
    if number % 2 == 1 {
        sides.reverse();
    }
    for side in sides {
        sandbox::wait_until_idle()?;
        pause(arguments);
        match side {
            Side::Floor => floor_once(arguments, network, costs)?,
            Side::Topo => topo_once(arguments, network, costs)?,
        }
    }
    Ok(())
}

fn pause(arguments: &Arguments) {
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
    pause(arguments);
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
    pause(arguments);
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
