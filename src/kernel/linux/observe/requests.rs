//! The requests of dumps, and what becomes of their answers. The requests are the same for all namespaces.

use std::sync::LazyLock;

use crate::kernel::linux::system::tells_address_makers;
use crate::kernel::linux::wire::{DumpRequest, encode};
use crate::resource::object::Bodies;
use crate::resource::object::table::{self, Registered, Visit};
use crate::resource::object::wire::{Found, Names, Notes, Reading};
use crate::snapshot::Snapshot;

/// The requests of all dumps, encoded once for all namespaces.
pub(super) static REQUESTS: LazyLock<Requests> = LazyLock::new(Requests::encode);

/// The requests of all dumps.
pub(super) struct Requests {
    /// Of links.
    pub(super) links: DumpRequest,
    /// Of the VLANs of bridges and their ports.
    pub(super) vlans: DumpRequest,
    /// Of objects, in the order of the registry.
    pub(super) objects: Vec<Dumped>,
}

/// A dump of objects of one type.
pub(super) struct Dumped {
    /// The request.
    pub(super) request: DumpRequest,
    /// What is dumped, for errors.
    pub(super) list: &'static str,
    /// Prepares for the answers.
    pub(super) answers: Box<dyn Fn() -> Box<dyn Answers> + Send + Sync>,
}

/// The decoded answers to one dump.
pub(super) trait Answers {
    /// Discards them.
    fn clear(&mut self);

    /// Decodes one more. `is_host` says whether it is of `host`.
    ///
    /// # Errors
    /// Fails if it is malformed.
    fn add(&mut self, body: &[u8], names: &Names, is_host: bool) -> Result<(), String>;

    /// Adds them to a snapshot.
    fn add_to(self: Box<Self>, snapshot: &mut Snapshot);
}

impl Requests {
    fn encode() -> Self {
        let mut requests = Self {
            links: DumpRequest::new(encode::get_links()),
            vlans: DumpRequest::new(encode::get_vlans()),
            objects: Vec::new(),
        };
        table::visit(&mut requests);
        requests
    }
}

impl Visit for Requests {
    fn visit<O: Registered>(&mut self) {
        self.objects.extend(O::dumps().into_iter().map(|dump| Dumped {
            request: DumpRequest::new(dump.request),
            list: O::LIST,
            answers: Box::new(move || Box::new(Objects::<O>::of(dump.family))),
        }));
    }
}

/// Objects of one type.
struct Objects<O: Registered> {
    /// The family of the answers, unless it is `None`.
    family: Option<u8>,
    found: Vec<Found<O>>,
    messages: Bodies,
    notes: Notes,
}

impl<O: Registered> Objects<O> {
    fn of(family: Option<u8>) -> Self {
        Self { family, found: Vec::new(), messages: Bodies::default(), notes: Notes::default() }
    }
}

impl<O: Registered> Answers for Objects<O> {
    fn clear(&mut self) {
        *self = Self::of(self.family);
    }

    fn add(&mut self, body: &[u8], names: &Names, is_host: bool) -> Result<(), String> {
        if self.family.is_some_and(|family| body.first() != Some(&family)) {
            return Ok(());
        }
        let mut reading = Reading { names, tells_address_makers: tells_address_makers(), notes: &mut self.notes };
        if let Some(object) = O::decode(body, &mut reading)? {
            if object.maker.may_be_foreign(is_host) {
                self.messages.push(self.found.len(), body);
            }
            self.found.push(object);
        }
        Ok(())
    }

    fn add_to(self: Box<Self>, snapshot: &mut Snapshot) {
        snapshot.messages.of_mut::<O>().append(snapshot.objects.of::<O>().len(), &self.messages);
        append(snapshot.objects.of_mut::<O>(), self.found);
        append(&mut snapshot.notes.connected, self.notes.connected);
        append(&mut snapshot.notes.tentative, self.notes.tentative);
        append(&mut snapshot.notes.local, self.notes.local);
    }
}

/// Moves items to the end of a list; without copying them if it is empty.
fn append<T>(list: &mut Vec<T>, mut items: Vec<T>) {
    if list.is_empty() { *list = items } else { list.append(&mut items) }
}
