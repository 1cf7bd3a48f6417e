//! Random labs, the same as in memory (`tests/random.rs`), on the kernel itself. `PROPTEST_RNG_SEED` draws others.

#[path = "../common/labs.rs"]
mod labs;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, destroy, in_namespaces, kernel_at_least, lab, lacks, needs, rounds,
    settled_fingerprint, settled_view, sh,
};

/// Draws labs that this kernel can have.
pub struct Dice {
    runner: TestRunner,
    lacking: Vec<&'static str>,
}

impl Dice {
    /// Dice that always fall the same way.
    pub fn new(seed: u64) -> Self {
        let rng_seed = match Config::default().rng_seed {
            RngSeed::Random => RngSeed::Fixed(seed),
            fixed @ RngSeed::Fixed(_) => fixed,
        };
        let words = [
            (Feature::BridgeVlanFiltering, "vlan_"),
            (Feature::Dummy, "dummy:"),
            (Feature::Geneve, "geneve:"),
            (Feature::Ifb, "ifb:"),
            (Feature::Ipvlan, "ipvlan:"),
            (Feature::Ipvtap, "ipvtap:"),
            (Feature::Macvtap, "macvtap:"),
            (Feature::Netem, "impair:"),
            (Feature::Vlan, "vlan:"),
            (Feature::Vrf, "vrf:"),
        ];
        /// Options that came with Linux 6.2 to 6.6, most of them of ports of bridges.
        const LATE: [&str; 5] = ["mab:", "mcast_max_groups:", "neigh_vlan_suppress:", "backup_nhid:", "bclim:"];
        let lacking = words.into_iter().filter(|(feature, _)| lacks(*feature)).map(|(_, word)| word);
        let late = LATE.into_iter().filter(|_| !kernel_at_least(6, 6));
        let lacking = lacking.chain(late).collect();
        Self { runner: TestRunner::new(Config { rng_seed, ..Config::default() }), lacking }
    }

    /// A lab and two that come after it, as files.
    pub fn history(&mut self) -> [String; 3] {
        loop {
            let labs =
                labs::history().new_tree(&mut self.runner).expect("a lab can be drawn").current().map(|lab| lab.text("random"));
            if !self.lacking.iter().any(|word| labs.iter().any(|lab| lab.contains(word))) {
                return labs.map(|text| lab(&text));
            }
        }
    }
}

/// The interface of the machine that drawn labs speak of.
pub const UPLINK: &str = "ip link add eth0 type veth peer name eth0-far; ip link set eth0 up; ip link set eth0-far up";

/// What drawn labs need.
pub const FEATURES: [Feature; 5] = [Feature::Bridge, Feature::Ipv6, Feature::Macvlan, Feature::Multipath, Feature::Vxlan];

#[test]
fn random_labs_become_each_other_and_leave_nothing() {
    in_namespaces(|| {
        if !needs(&FEATURES) {
            return;
        }
        sh(UPLINK);
        let machine = settled_fingerprint();
        let mut dice = Dice::new(1);
        for _ in 0..rounds(200) {
            let labs = dice.history();
            for lab in &labs {
                apply(lab);
                assert_no_changes(lab);
            }
            destroy(&labs[2]);
            assert_restored(&machine);
        }
    });
}

#[test]
fn the_past_of_random_labs_does_not_matter() {
    in_namespaces(|| {
        if !needs(&FEATURES) {
            return;
        }
        sh(UPLINK);
        settled_fingerprint();
        let mut dice = Dice::new(2);
        for _ in 0..rounds(12) {
            let labs = dice.history();
            apply(&labs[2]);
            let fresh = settled_view();
            destroy("random");
            for lab in &labs {
                apply(lab);
            }
            assert_view(&fresh, &format!("{} after {} and {}", labs[2], labs[0], labs[1]));
            destroy("random");
        }
    });
}
