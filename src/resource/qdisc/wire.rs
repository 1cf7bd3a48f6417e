//! Root qdiscs in rtnetlink messages: RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC (linux/pkt_sched.h).
//!
//! The options of netem are `struct tc_netem_qopt`, followed by attributes. A change keeps what these attributes do not say, so that all
//! of them are sent.

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::distribution::Distribution;
use super::netem::{Loss, Netem, Random};
use super::value::{Percent, Rate};
use super::{Qdisc, QdiscKey};
use crate::resource::object::wire::{Dump, Found, Names, Request, attributes, number, text};
use crate::resource::object::{At, Maker, Over};
use crate::value::Duration;

/// The major number of topo's qdiscs with a uniform distribution ("to" in ASCII). Those of other distributions follow.
pub(super) const MAJOR: u16 = 0x746f;

const NETEM: &str = "netem";
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_NETEM_CORR: u16 = 1;
const TCA_NETEM_DELAY_DIST: u16 = 2;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_LOSS: u16 = 5;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_ECN: u16 = 7;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_SLOT: u16 = 12;
const TCA_NETEM_PRNG_SEED: u16 = 14;
const NETEM_LOSS_GE: u16 = 2;
/// The length of `struct tcmsg`.
const HEADER: usize = 20;
/// The length of `struct tc_netem_qopt`.
const FIXED: usize = 24;

pub(super) fn dumps() -> Vec<Dump> {
    vec![Dump { request: RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()), family: None }]
}

/// Decodes a qdisc; `None` if it is not a root qdisc that somebody has added. The kernel's own have the handle 0.
pub(super) fn decode(body: &[u8], names: &Names) -> Result<Option<Found<Qdisc>>, String> {
    let Some((header, rest)) = body.split_at_checked(HEADER) else { return Err("a truncated qdisc message".into()) };
    let [index, handle, parent] = [4, 8, 12].map(|at| number(&header[at..]).unwrap_or_default());
    let (handle, is_root) = (TcHandle::from(handle), TcHandle::from(parent) == TcHandle::ROOT);
    let Some(dev) = names.get(index).filter(|_| is_root && handle != TcHandle::UNSPEC) else { return Ok(None) };
    let (mut kind, mut options) = (String::new(), &[][..]);
    for attribute in attributes(rest) {
        match attribute? {
            (TCA_KIND, bytes) => kind = text(bytes),
            (TCA_OPTIONS, bytes) => options = bytes,
            _ => {}
        }
    }
    let major = handle.major;
    let distribution = major.checked_sub(MAJOR).and_then(|number| Distribution::ALL.get(usize::from(number)));
    let other = |what: String| Qdisc::Other { what, major };
    let value = match kind == NETEM {
        false => other(kind),
        true => match decode_netem(options)? {
            Ok(netem) => Qdisc::Netem(Box::new(Netem { distribution: distribution.copied().unwrap_or_default(), ..netem })),
            Err(what) => other(format!("{NETEM} with {what}")),
        },
    };
    let maker = match (&value, distribution) {
        (Qdisc::Other { .. }, _) => Maker::Unknown,
        (Qdisc::Netem(_), None) => Maker::Hand,
        (Qdisc::Netem(_), Some(_)) => Maker::Topo,
    };
    Ok(Some(Found { key: QdiscKey { dev }, value, maker }))
}

/// Decodes the options of netem. The inner error is what the lab file has no word for.
fn decode_netem(bytes: &[u8]) -> Result<Result<Netem, &'static str>, String> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Err("truncated options of netem".into()) };
    let fields = numbers::<6>(fixed)?;
    let share = |at: usize| Random { share: Percent(fields[at]), correlation: Percent::default() };
    // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
    let mut netem =
        Netem { limit: fields[1], loss: Loss::Random(share(2)), gap: fields[3], duplicate: share(4), ..Netem::default() };
    let mut unknown = None;
    for attribute in attributes(rest) {
        let (attribute, bytes) = attribute?;
        match attribute {
            TCA_NETEM_LATENCY64 => netem.delay = time(bytes)?,
            TCA_NETEM_JITTER64 => netem.jitter = time(bytes)?,
            TCA_NETEM_CORR => {
                let [delay, loss, duplicate] = numbers(bytes)?.map(Percent);
                (netem.delay_correlation, netem.duplicate.correlation) = (delay, duplicate);
                if let Loss::Random(random) = &mut netem.loss {
                    random.correlation = loss;
                }
            }
            TCA_NETEM_REORDER => netem.reorder = random(bytes)?,
            TCA_NETEM_CORRUPT => netem.corrupt = random(bytes)?,
            TCA_NETEM_LOSS => match model(bytes)? {
                Some(model) => netem.loss = model,
                None => unknown = Some("losses of four states"),
            },
            TCA_NETEM_RATE => {
                let [rate, overhead, cell, cell_overhead] = numbers(bytes)?;
                netem.rate = netem.rate.or((rate != 0).then_some(Rate(rate.into())));
                if [overhead, cell, cell_overhead] != [0; 3] {
                    unknown = Some("an overhead of the rate");
                }
            }
            TCA_NETEM_RATE64 => netem.rate = Some(Rate(long(bytes)?)),
            TCA_NETEM_ECN => netem.ecn = number(bytes)? != 0,
            TCA_NETEM_SLOT => unknown = Some("slots"),
            TCA_NETEM_PRNG_SEED => netem.seed = Some(long(bytes)?),
            _ => {}
        }
    }
    Ok(unknown.map_or(Ok(netem), Err))
}

/// The messages that add or change a qdisc. One of another kind that has topo's handle must go before.
pub(super) fn put(at: &At<Qdisc>, over: &Over<Qdisc>) -> Vec<Request> {
    let Qdisc::Netem(netem) = &at.value else { return Vec::new() };
    let major = major(netem);
    let mut message = message(at);
    message.header.handle = TcHandle { major, minor: 0 };
    message.attributes.push(TcAttribute::Kind(NETEM.to_owned()));
    message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, encode(netem))));
    let is_in_the_way = matches!(over, Over::Live(live) if matches!(**live, Qdisc::Other { major: other, .. } if other == major));
    let flags = if *over == Over::Nothing { NLM_F_CREATE | NLM_F_EXCL } else { NLM_F_CREATE | NLM_F_REPLACE };
    let put = Request { message: RouteNetlinkMessage::NewQueueDiscipline(message), flags };
    is_in_the_way.then(|| remove(at)).into_iter().chain([put]).collect()
}

/// The message that deletes the root qdisc. The kernel puts the default one in its place.
pub(super) fn remove(at: &At<Qdisc>) -> Request {
    Request { message: RouteNetlinkMessage::DelQueueDiscipline(message(at)), flags: 0 }
}

/// Returns the major number of its handle.
pub(super) fn major(netem: &Netem) -> u16 {
    MAJOR + netem.distribution.number()
}

fn message(at: &At<Qdisc>) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = at.index().cast_signed();
    message.header.parent = TcHandle::ROOT;
    message
}

fn encode(netem: &Netem) -> Vec<u8> {
    let loss = netem.loss.random();
    // The times are in the attributes: here they would be in units of 64 ns.
    let fixed = [0, netem.limit, loss.share.0, netem.gap, netem.duplicate.share.0, 0];
    let correlations = [netem.delay_correlation, loss.correlation, netem.duplicate.correlation].map(|percent| percent.0);
    let pair = |random: Random| words([random.share.0, random.correlation.0]);
    let rate = netem.rate.map_or(0, |rate| rate.0);
    let mut attributes = vec![
        DefaultNla::new(TCA_NETEM_LATENCY64, nanoseconds(netem.delay)),
        DefaultNla::new(TCA_NETEM_JITTER64, nanoseconds(netem.jitter)),
        DefaultNla::new(TCA_NETEM_CORR, words(correlations)),
        DefaultNla::new(TCA_NETEM_REORDER, pair(netem.reorder)),
        DefaultNla::new(TCA_NETEM_CORRUPT, pair(netem.corrupt)),
        DefaultNla::new(TCA_NETEM_RATE, words([u32::try_from(rate).unwrap_or(u32::MAX), 0, 0, 0])),
        DefaultNla::new(TCA_NETEM_ECN, words([netem.ecn.into()])),
    ];
    let mut add = |attribute, value: Option<Vec<u8>>| attributes.extend(value.map(|value| DefaultNla::new(attribute, value)));
    add(TCA_NETEM_RATE64, (rate > u32::MAX.into()).then(|| rate.to_ne_bytes().to_vec()));
    add(TCA_NETEM_PRNG_SEED, netem.seed.map(|seed| seed.to_ne_bytes().to_vec()));
    add(TCA_NETEM_DELAY_DIST, netem.distribution.table().map(<[u8]>::to_vec));
    if let Loss::Gilbert { p, r, h, k } = netem.loss {
        let model = DefaultNla::new(NETEM_LOSS_GE, words([p, r, h, k].map(|percent| percent.0)));
        add(TCA_NETEM_LOSS, Some(bytes_of(&[model])));
    }
    [words(fixed), bytes_of(&attributes)].concat()
}

fn bytes_of(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

fn words<const N: usize>(numbers: [u32; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn numbers<const N: usize>(bytes: &[u8]) -> Result<[u32; N], String> {
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks(4)) {
        *number = self::number(bytes)?;
    }
    if bytes.len() < 4 * N { Err("truncated numbers".into()) } else { Ok(numbers) }
}

fn long(bytes: &[u8]) -> Result<u64, String> {
    bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)).ok_or_else(|| "a truncated number".into())
}

/// The kernel's times are in nanoseconds.
fn nanoseconds(duration: Duration) -> Vec<u8> {
    duration.0.saturating_mul(1000).min(i64::MAX.unsigned_abs()).to_ne_bytes().to_vec()
}

fn time(bytes: &[u8]) -> Result<Duration, String> {
    Ok(Duration((long(bytes)? + 500) / 1000))
}

fn random(bytes: &[u8]) -> Result<Random, String> {
    let [share, correlation] = numbers(bytes)?.map(Percent);
    Ok(Random { share, correlation })
}

/// Decodes a model of losses; `None` for that of four states (NETEM_LOSS_GI).
fn model(bytes: &[u8]) -> Result<Option<Loss>, String> {
    for attribute in attributes(bytes) {
        if let (NETEM_LOSS_GE, bytes) = attribute? {
            let [p, r, h, k] = numbers(bytes)?.map(Percent);
            return Ok(Some(Loss::Gilbert { p, r, h, k }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::spec::tests::netem;
    use super::*;
    use crate::name::NamespaceName;

    const INDEX: u32 = 7;

    fn at(value: &Qdisc) -> At<Qdisc> {
        let key = QdiscKey { dev: "eth0".parse().unwrap() };
        At::new(&NamespaceName::host(), &key, value, |_| Some(INDEX))
    }

    fn bytes(request: &Request) -> Vec<u8> {
        let (RouteNetlinkMessage::NewQueueDiscipline(message) | RouteNetlinkMessage::DelQueueDiscipline(message)) =
            &request.message
        else {
            panic!("{request:?}")
        };
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Found<Qdisc>>, String> {
        decode(bytes, &Names::new([(INDEX, "eth0".parse().unwrap())].into_iter()))
    }

    #[test]
    fn every_option_survives_the_wire() {
        for text in [
            "{}",
            "{ delay: 10ms, jitter: 5ms, delay_correlation: 25% }",
            "{ delay: 10ms, jitter: 5ms, distribution: normal }",
            "{ delay: 10ms, jitter: 5ms, distribution: paretonormal }",
            "{ loss: 1%, loss_correlation: 50%, ecn: true, seed: 7 }",
            "{ loss: { mean: 2%, run: 5 }, rate: 10mbit, queue: 50ms }",
            "{ duplicate: 1%, duplicate_correlation: 3%, corrupt: 0.5%, corrupt_correlation: 1%, limit: 7 }",
            "{ delay: 1s, reorder: 25%, reorder_correlation: 50%, gap: 5, rate: 100gbit }",
        ] {
            let value = Qdisc::Netem(Box::new(netem(text)));
            let at = at(&value);
            let requests = put(&at, &Over::Nothing);
            assert_eq!((requests.len(), requests[0].flags), (1, NLM_F_CREATE | NLM_F_EXCL));
            let found = Found { key: at.key.clone(), value, maker: Maker::Topo };
            assert_eq!(read(&bytes(&requests[0])), Ok(Some(found)), "{text}");
        }
    }

    #[test]
    fn a_change_keeps_the_handle_and_another_distribution_has_another_one() {
        let value = |text: &str| Qdisc::Netem(Box::new(netem(text)));
        let handle = |text: &str, over: &Over<Qdisc>| {
            let requests = put(&at(&value(text)), over);
            assert_eq!(requests[0].flags, NLM_F_CREATE | NLM_F_REPLACE);
            bytes(&requests[0])[8..12].to_vec()
        };
        let over = Over::Live(Box::new(value("{ delay: 1ms }")));
        assert_eq!(handle("{ delay: 2ms }", &over), handle("{ loss: 1% }", &over));
        let normal = "{ delay: 2ms, jitter: 1ms, distribution: normal }";
        assert_ne!(handle(normal, &over), handle("{ delay: 2ms, jitter: 1ms }", &over));
    }

    #[test]
    fn another_kind_with_the_same_handle_goes_first() {
        let other = |major| Over::Live(Box::new(Qdisc::Other { what: "prio".to_owned(), major }));
        assert_eq!(put(&at(&Qdisc::default()), &other(1)).len(), 1);
        let requests = put(&at(&Qdisc::default()), &other(MAJOR));
        assert!(matches!(requests[0].message, RouteNetlinkMessage::DelQueueDiscipline(_)));
        assert_eq!(requests.len(), 2);
    }

    #[test]
    fn what_the_kernel_or_somebody_else_made_is_told_apart() {
        let mut bytes = bytes(&put(&at(&Qdisc::default()), &Over::Nothing)[0]);
        let with_handle = |bytes: &mut [u8], major: u16| bytes[8..12].copy_from_slice(&(u32::from(major) << 16).to_ne_bytes());
        with_handle(&mut bytes, 0x8001);
        assert_eq!(read(&bytes).unwrap().unwrap().maker, Maker::Hand);
        with_handle(&mut bytes, 0);
        assert_eq!(read(&bytes), Ok(None));
        with_handle(&mut bytes, MAJOR);
        bytes[24..30].copy_from_slice(b"fq_pie");
        assert_eq!(read(&bytes).unwrap().unwrap().maker, Maker::Unknown);
        // A child of another qdisc.
        bytes[12..16].copy_from_slice(&0x1_0001_u32.to_ne_bytes());
        assert_eq!(read(&bytes), Ok(None));
    }

    #[test]
    fn truncated_messages_are_an_error() {
        let whole = bytes(&put(&at(&Qdisc::default()), &Over::Nothing)[0]);
        for cut in [0, 19, 22, 33, 60] {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
