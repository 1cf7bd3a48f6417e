//! Random labs, planned, applied, changed, broken and destroyed in memory.

#[path = "common/lab.rs"]
mod lab;
#[path = "common/labs.rs"]
mod labs;
#[path = "common/machine.rs"]
mod machine;

use machine::{Act, Machine, Verdict, check_same, desired};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::RngSeed;
use topo::internals::OnFailure;

fn pair() -> impl Strategy<Value = [String; 2]> {
    labs::lab()
        .prop_flat_map(|a| labs::successor(a.clone()).prop_map(move |b| [a.clone(), b]))
        .prop_map(|labs| labs.map(|lab| lab.text("random")))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Delete),
        any::<bool>().prop_map(Act::Up),
        prop::sample::select(vec![600, 1280, 1400, 9000]).prop_map(Act::Resize),
        Just(Act::Rename),
        Just(Act::AddAddress),
        Just(Act::TakeAddresses),
        Just(Act::Disconnect),
        Just(Act::FailDetection),
        Just(Act::DeleteNamespace),
        Just(Act::AddPair),
        (0..3_u8).prop_map(Act::AddRule),
        Just(Act::TakeRules),
        any::<bool>().prop_map(Act::AddNeighbor),
        Just(Act::TakeNeighbors),
        Just(Act::Readdress),
        any::<bool>().prop_map(Act::Forward),
        any::<bool>().prop_map(Act::Loopback),
        Just(Act::KillInit),
        Just(Act::WriteFile),
        Just(Act::StopProcess),
        Just(Act::Unmount),
        Just(Act::ReplaceSources),
        (any::<u8>(), any::<u8>()).prop_map(|(row, value)| Act::SetPort(row, value)),
    ]
}

/// How many labs are drawn. The variable `PROPTEST_CASES` asks for another number than `default`; of tests that try every
/// operation of a pair of labs it takes a tenth.
fn cases(default: u32, share: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if asked.cases == 256 { default } else { asked.cases.div_ceil(share) };
    // The same labs in every run, unless PROPTEST_RNG_SEED asks for others.
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig { cases, rng_seed, max_shrink_iters: 1500, failure_persistence: None, ..asked }
}

/// Applied one after the other, each gives what it gives on a fresh machine, and the last leaves nothing when it is destroyed.
fn past(labs: &[String]) -> Verdict {
    let mut machine = Machine::new();
    let original = machine.fingerprint();
    for lab in labs {
        machine.apply(lab)?;
        machine.check_unchanged_by(lab)?;
        let mut fresh = Machine::new();
        fresh.apply(lab)?;
        check_same(&machine.view(lab, labs), &fresh.view(lab, labs), lab)?;
    }
    machine.destroy(&labs[labs.len() - 1])?;
    check_same(&machine.fingerprint(), &original, "destroyed")?;
    Ok(())
}

/// Whichever operation of the second fails, everything is undone.
fn rolled_back(labs: &[String]) -> Verdict {
    let mut machine = Machine::new();
    machine.apply(&labs[0])?;
    for position in 0..machine.operations(&labs[1])? {
        let before = machine.fingerprint();
        let mut broken = machine.clone();
        broken.memory().fail_at(position, nix::libc::ENOMEM);
        let error = broken.try_apply(&labs[1], OnFailure::RollBack)?.expect_err("an operation fails");
        prop_assert!(error.rolled_back(), "operation {}: {}", position, machine::aftermath(&error));
        check_same(&broken.fingerprint(), &before, &format!("operation {position}"))?;
    }
    Ok(())
}

/// Killed at whichever operation of the second, the next apply goes on from there.
fn converges(labs: &[String]) -> Verdict {
    let mut machine = Machine::new();
    machine.apply(&labs[0])?;
    let mut fresh = Machine::new();
    fresh.apply(&labs[1])?;
    for position in 0..machine.operations(&labs[1])? {
        let mut killed = machine.killed_at(position, &labs[1])?;
        killed.apply(&labs[1])?;
        killed.check_unchanged_by(&labs[1])?;
        check_same(&killed.view(&labs[1], labs), &fresh.view(&labs[1], labs), &format!("operation {position}"))?;
    }
    Ok(())
}

/// Killed at whichever operation of the second, destroy leaves nothing.
fn destroyed(labs: &[String]) -> Verdict {
    let mut machine = Machine::new();
    let original = machine.fingerprint();
    machine.apply(&labs[0])?;
    for position in 0..machine.operations(&labs[1])? {
        let mut killed = machine.killed_at(position, &labs[1])?;
        killed.destroy(&labs[1])?;
        check_same(&killed.fingerprint(), &original, &format!("operation {position}"))?;
    }
    Ok(())
}

/// When nothing works any more, not even undoing, it can be mended as soon as things work again.
fn mended(labs: &[String]) -> Verdict {
    let mut machine = Machine::new();
    let original = machine.fingerprint();
    machine.apply(&labs[0])?;
    for position in 0..machine.operations(&labs[1])? {
        let mut broken = machine.clone();
        broken.memory().fail_from(position, nix::libc::ENOMEM);
        broken.try_apply(&labs[1], OnFailure::RollBack)?.expect_err("every operation fails");
        broken.memory().heal();
        broken.apply(&labs[1])?;
        broken.destroy(&labs[1])?;
        check_same(&broken.fingerprint(), &original, &format!("operation {position}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(400, 1))]

    /// Whatever was there before, the network is what the lab gives on a fresh machine; and nothing is left in the end.
    #[test]
    fn the_past_does_not_matter(labs in labs::history()) {
        past(&labs.map(|lab| lab.text("random")))?;
    }

    /// A desired state says by itself which lab file asks for it.
    #[test]
    fn what_is_raised_is_lowered_again(lab in labs::lab()) {
        let state = desired(&lab.text("random"));
        let raised = machine::raised(&state);
        prop_assert_eq!(&desired(&raised), &state, "{}", raised);
    }

    /// Whatever others did to it, the next apply mends it.
    #[test]
    fn drift_is_mended((lab, acts) in (labs::lab(), proptest::collection::vec((act(), any::<usize>()), 1..4))) {
        let lab = lab.text("random");
        let mut machine = Machine::new();
        let original = machine.fingerprint();
        machine.apply(&lab)?;
        let fresh = machine.view(&lab, &[]);
        for (act, which) in &acts {
            machine.tamper(*act, *which);
        }
        machine.apply(&lab)?;
        machine.check_unchanged_by(&lab)?;
        check_same(&machine.view(&lab, &[]), &fresh, &lab)?;
        machine.destroy(&lab)?;
        check_same(&machine.fingerprint(), &original, "destroyed")?;
    }

    /// What others have made is exported as the lab that makes it, and a lab takes it over as it is.
    #[test]
    fn what_is_exported_is_taken_over_as_it_is(lab in labs::lab()) {
        let lab = lab.text("random");
        // Nodes are found by the name of their lab, and cannot be anybody else's.
        if !desired(&lab).parts.is_empty() {
            return Ok(());
        }
        let mut machine = Machine::new();
        machine.apply(&lab)?;
        machine.change_hands(&lab)?;
    }

    /// A part of a lab can be changed alone, and the rest of it afterwards.
    #[test]
    fn a_part_is_changed_alone((labs, which) in (pair(), any::<usize>())) {
        let mut machine = Machine::new();
        let original = machine.fingerprint();
        let mut fresh = Machine::new();
        fresh.apply(&labs[1])?;
        machine.apply(&labs[0])?;
        machine.apply_part(&labs[1], which)?;
        machine.apply(&labs[1])?;
        machine.check_unchanged_by(&labs[1])?;
        check_same(&machine.view(&labs[1], &labs), &fresh.view(&labs[1], &labs), &labs[1])?;
        machine.apply_part(&labs[0], which)?;
        machine.destroy(&labs[1])?;
        check_same(&machine.fingerprint(), &original, "destroyed")?;
    }

    /// A lab can be destroyed when its file is lost.
    #[test]
    fn a_name_is_enough_to_destroy(labs in pair()) {
        let mut machine = Machine::new();
        let original = machine.fingerprint();
        for lab in &labs {
            machine.apply(lab)?;
        }
        machine.destroy_by_name()?;
        check_same(&machine.fingerprint(), &original, "destroyed")?;
    }
}

/// What is shown of a lab is what its file may as well say: it plans to no change, and makes the same network elsewhere.
fn shown(machine: &mut Machine, lab: &str, by_file: bool) -> Verdict {
    let (text, omitted) = machine.show(lab, by_file)?;
    if omitted.is_empty() {
        machine.check_unchanged_by(&text)?;
        let mut fresh = Machine::new();
        fresh.apply(&text)?;
        check_same(&machine.view(&text, &[]), &fresh.view(&text, &[]), &text)?;
    }
    Ok(())
}

/// The difference is empty when the plan is.
fn compared(machine: &mut Machine, lab: &str) -> Verdict {
    let (difference, has_changes) = machine.difference(lab)?;
    prop_assert_eq!(!difference.is_empty(), has_changes, "{}\n{}", lab, difference);
    Ok(())
}

proptest! {
    #![proptest_config(cases(200, 4))]

    /// A lab is shown as it is, whether its file or only its name is known.
    #[test]
    fn what_is_shown_is_the_lab(lab in labs::lab()) {
        let lab = lab.text("random");
        let mut machine = Machine::new();
        machine.apply(&lab)?;
        for by_file in [true, false] {
            shown(&mut machine, &lab, by_file)?;
        }
    }

    /// Whatever others did to it, it is shown as it is, and the difference is shown if there is any.
    #[test]
    fn drift_is_shown((lab, acts) in (labs::lab(), proptest::collection::vec((act(), any::<usize>()), 1..4))) {
        let lab = lab.text("random");
        let mut machine = Machine::new();
        machine.apply(&lab)?;
        compared(&mut machine, &lab)?;
        for (act, which) in &acts {
            machine.tamper(*act, *which);
        }
        compared(&mut machine, &lab)?;
        for by_file in [true, false] {
            let (text, omitted) = machine.show(&lab, by_file)?;
            // What is broken rather than different has no word in a lab file.
            let is_broken = |act: &Act| {
                matches!(
                    act,
                    Act::Disconnect
                        | Act::FailDetection
                        | Act::KillInit
                        | Act::StopProcess
                        | Act::Unmount
                        | Act::ReplaceSources
                        | Act::DeleteNamespace
                        | Act::Readdress
                )
            };
            if omitted.is_empty() && !acts.iter().any(|(act, _)| is_broken(act)) {
                machine.check_unchanged_by(&text)?;
            }
        }
    }

    /// The difference to another lab is shown, and none when that is applied.
    #[test]
    fn a_difference_is_shown_until_it_is_applied(labs in pair()) {
        let mut machine = Machine::new();
        compared(&mut machine, &labs[0])?;
        machine.apply(&labs[0])?;
        compared(&mut machine, &labs[1])?;
        machine.apply(&labs[1])?;
        compared(&mut machine, &labs[1])?;
    }
}

proptest! {
    #![proptest_config(cases(60, 10))]

    /// Whichever operation fails, everything is undone.
    #[test]
    fn a_failure_is_rolled_back(labs in pair()) {
        rolled_back(&labs)?;
    }

    /// Killed at whichever operation, the next apply goes on from there.
    #[test]
    fn what_was_killed_converges(labs in pair()) {
        converges(&labs)?;
    }

    /// Killed at whichever operation, destroy leaves nothing.
    #[test]
    fn what_was_killed_can_be_destroyed(labs in pair()) {
        destroyed(&labs)?;
    }

    /// When nothing works any more, not even undoing, it can be mended as soon as things work again.
    #[test]
    fn a_rollback_that_fails_can_be_mended(labs in pair()) {
        mended(&labs)?;
    }
}

/// Pairs of labs on which something once went wrong, each with what is special about it.
#[test]
fn what_was_found_stays_mended() {
    let found = include_str!("common/found.yaml");
    for case in found.split("\n# ").skip(1) {
        let (name, labs) = case.split_once('\n').expect("a name stands in a line of its own");
        let labs: Vec<String> = labs.split("---\n").map(|lab| format!("name: random\n{lab}")).collect();
        for check in [past, rolled_back, converges, destroyed, mended] {
            check(&labs).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn a_drawn_lab_says_what_it_is_meant_to() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<_> =
        (0..1000).map(|_| labs::lab().new_tree(&mut runner).expect("a lab can be drawn").current().text("random")).collect();
    for word in [
        "endpoints",
        "ports",
        "w*",
        "vlan",
        "vrf",
        "ipvlan",
        "ipvtap",
        "macvlan",
        "vxlan",
        "dummy",
        "geneve",
        "ifb",
        "macvtap",
        "qos_map",
        "nexthops",
        "blackhole",
        "sysctls",
        "altnames",
        "bridge_port",
        "vlans",
        "external",
        "host:",
    ] {
        assert!(texts.iter().any(|text| text.contains(word)), "no lab has {word}");
    }
    for text in &texts {
        desired(text);
    }
}
