//! Benchmarks of loading, comparing, planning and printing a star of ten thousand namespaces, with the in-memory kernel.
//!
//! ```text
//! cargo bench --bench pipeline
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use topo::internals::{
    Goal, Kernel, LabName, Live, Memory, PlanColour, State, Unattended, diff, load, lower, plan, plan_text, prepare,
};

const NAMESPACES: usize = 10_000;
/// For benchmarks that create the network: the in-memory kernel searches all links for the upper links of a link.
const FEWER_NAMESPACES: usize = 1_000;

fn main() {
    divan::main();
}

fn star(namespaces: usize) -> String {
    let mut text = "name: star\nnamespaces:\n  host:\n    interfaces:\n".to_owned();
    text += "      bridge0: { bridge: { ports: [\"p*\"] }, addresses: [10.0.0.1/16] }\n";
    let mut links = "links:\n".to_owned();
    for number in 0..namespaces {
        let (high, low) = ((number + 2) >> 8, (number + 2) & 255);
        let _ = writeln!(text, "  n{number}:\n    interfaces: {{ eth0: {{ addresses: [10.0.{high}.{low}/16] }} }}");
        let _ = writeln!(text, "    routes: [{{ to: default, via: 10.0.0.1 }}]");
        let _ = writeln!(links, "  - endpoints: [host:p{number}, n{number}:eth0]");
    }
    text + &links
}

fn desired(text: &str) -> State {
    let lab = load(text).lab.expect("the lab is well-formed");
    lower(&lab, &BTreeMap::new()).state
}

fn lab() -> LabName {
    "star".parse().expect("a valid name")
}

/// Creates the network of the lab in an in-memory kernel.
fn created(desired: &State) -> Memory {
    let mut kernel = Memory::new(lab());
    let goal = Goal::apply(lab(), desired.clone());
    let (_, plan) = prepare(&mut kernel, &goal).expect("there are no conflicts");
    kernel.execute(&plan.operations(), &mut Unattended).expect("the plan can be executed");
    kernel
}

#[divan::bench(sample_count = 10)]
fn load_text(bencher: divan::Bencher<'_, '_>) {
    let text = star(NAMESPACES);
    bencher.bench(|| load(&text).lab.is_some());
}

#[divan::bench(sample_count = 10)]
fn lower_to_state(bencher: divan::Bencher<'_, '_>) {
    let text = star(NAMESPACES);
    let loaded = load(&text);
    let lab = loaded.lab.as_ref().expect("the lab is well-formed");
    bencher.bench(|| lower(lab, &BTreeMap::new()).state);
}

#[divan::bench(sample_count = 10)]
fn diff_of_a_new_lab(bencher: divan::Bencher<'_, '_>) {
    let desired = desired(&star(NAMESPACES));
    bencher.bench(|| diff(&desired, &Live::default()));
}

#[divan::bench(sample_count = 10)]
fn diff_of_an_unchanged_lab_of_a_thousand(bencher: divan::Bencher<'_, '_>) {
    let desired = desired(&star(FEWER_NAMESPACES));
    let live = created(&desired).observe(&desired).expect("the in-memory kernel can be observed");
    bencher.bench(|| diff(&desired, &live));
}

#[divan::bench(sample_count = 10)]
fn plan_of_a_new_lab(bencher: divan::Bencher<'_, '_>) {
    let desired = desired(&star(NAMESPACES));
    let (live, lab) = (Live::default(), lab());
    let changes = diff(&desired, &live).expect("there are no conflicts");
    let input = || changes.clone();
    bencher.with_inputs(input).bench_values(|changes| plan(&lab, &desired, &live, changes, &BTreeMap::new()));
}

#[divan::bench(sample_count = 10)]
fn text_of_a_plan(bencher: divan::Bencher<'_, '_>) {
    let desired = desired(&star(NAMESPACES));
    let (live, lab) = (Live::default(), lab());
    let changes = diff(&desired, &live).expect("there are no conflicts");
    let plan = plan(&lab, &desired, &live, changes, &BTreeMap::new());
    bencher.bench(|| plan_text(&plan, PlanColour::None));
}
