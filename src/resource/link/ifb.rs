//! An interface that receives the packets which filters of other interfaces redirect to it (intermediate functional block), so that their
//! incoming packets can be queued and shaped, ip-link(8) and tc-mirred(8).
//!
//! ```yaml
//! ifb0: { ifb: {} }
//! ```

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::LinkKind;
use super::rules::{Flags, PathCost};
use crate::resource::option::{OptionRow, OptionTable};

/// `ifb: {}`, without options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ifb {}

impl OptionTable for Ifb {
    const NAME: &'static str = "ifb";
    const OPTIONS: &'static [OptionRow<Self>] = &[];
}

impl LinkKind for Ifb {
    fn mtu_limits(&self) -> RangeInclusive<u32> {
        0..=i32::MAX.unsigned_abs()
    }

    fn path_cost(&self) -> PathCost {
        PathCost::Fixed(100)
    }

    /// The driver sets IFF_NOARP and clears IFF_MULTICAST (`ifb_setup`).
    fn default_flags(&self, _: Flags) -> Flags {
        Flags { arp: Some(false), multicast: Some(false) }
    }

    /// `TX_Q_LIMIT`.
    fn default_txqueuelen(&self) -> u32 {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::super::{Inherited, Link, Queues};
    use super::*;

    #[test]
    fn it_has_no_options_on_the_wire() {
        let kind = Kind::from(Ifb {});
        assert!(kind.encode_new(None).is_empty() && kind.encode(None).is_empty());
        assert_eq!(Kind::decode("ifb", &[]).unwrap(), kind);
    }

    #[test]
    fn its_queue_is_short_and_it_uses_no_arp() {
        let settings = Link::new(Ifb {}.into()).complete_settings(None);
        assert_eq!((settings.txqueuelen, settings.arp, settings.multicast), (Some(32), Some(false), Some(false)));
    }

    #[test]
    fn other_queues_replace_it() {
        let with = |transmit| Link { queues: Some(Queues { transmit, receive: 1 }), ..Link::new(Ifb {}.into()) };
        let replaces = |desired: &Link, live: &Link| desired.delta(live, Inherited::default()).replaces;
        assert!(!replaces(&Link::new(Ifb {}.into()), &with(1)));
        assert!(replaces(&Link::new(Ifb {}.into()), &with(4)));
        assert!(replaces(&with(4), &with(2)) && !replaces(&with(4), &with(4)));
    }
}
