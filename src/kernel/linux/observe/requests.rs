//! The requests of dumps. They are the same for all namespaces.

use std::sync::LazyLock;

use crate::kernel::linux::wire::{DumpRequest, encode};
use crate::resource::object::Object;
use crate::resource::object::table::{self, Container, Registered, Tables, Visit};

/// The requests of all dumps, encoded once for all namespaces.
pub(super) static REQUESTS: LazyLock<Requests> = LazyLock::new(Requests::encode);

/// The requests of all dumps.
pub(super) struct Requests {
    /// Of links.
    pub(super) links: DumpRequest,
    /// Of objects.
    pub(super) objects: Tables<Encoded>,
}

/// The dumps of each type of object, with the family of the answers.
pub(super) struct Encoded;

impl Container for Encoded {
    type Of<O: Object> = Vec<(DumpRequest, Option<u8>)>;
}

impl Requests {
    fn encode() -> Self {
        let mut requests = Self { links: DumpRequest::new(encode::get_links()), objects: Tables::default() };
        table::visit(&mut requests);
        requests
    }
}

impl Visit for Requests {
    fn visit<O: Registered>(&mut self) {
        let encoded = O::dumps().into_iter().map(|dump| (DumpRequest::new(dump.request), dump.family));
        *self.objects.of_mut::<O>() = encoded.collect();
    }
}
