//! The kernel's instructions: one constructor per instruction, bytes as `nf_tables.h` lays them out.

use super::rule::{Compare, Verdict};
use super::wire::Attrs;

/// One instruction of a rule's program.
#[derive(Clone, Debug)]
pub(super) enum Instruction {
    /// Its attributes are final.
    Plain { name: &'static str, attrs: Attrs },
    /// Looks up an anonymous set of the rule; the set's number is known only in a batch.
    LookupAnonymous { set: usize, attrs: Attrs },
}

fn plain(name: &'static str, fill: impl FnOnce(&mut Attrs)) -> Instruction {
    let mut attrs = Attrs::default();
    fill(&mut attrs);
    Instruction::Plain { name, attrs }
}

pub(super) fn meta(key: u32, dest: u32) -> Instruction {
    plain("meta", |a| {
        a.put_u32(2, key).put_u32(1, dest);
    })
}

pub(super) fn meta_set(key: u32, source: u32) -> Instruction {
    plain("meta", |a| {
        a.put_u32(2, key).put_u32(3, source);
    })
}

pub(super) fn ct(key: u32, dest: u32) -> Instruction {
    plain("ct", |a| {
        a.put_u32(2, key).put_u32(1, dest);
    })
}

pub(super) fn ct_set(key: u32, source: u32) -> Instruction {
    plain("ct", |a| {
        a.put_u32(2, key).put_u32(4, source);
    })
}

pub(super) fn payload(base: u32, offset: u32, len: u32, dest: u32) -> Instruction {
    plain("payload", |a| {
        a.put_u32(1, dest).put_u32(2, base).put_u32(3, offset).put_u32(4, len);
    })
}

/// Writes into the packet; only for fields that no checksum covers.
pub(super) fn payload_write(base: u32, offset: u32, len: u32, source: u32) -> Instruction {
    plain("payload", |a| {
        a.put_u32(5, source).put_u32(2, base).put_u32(3, offset).put_u32(4, len);
        a.put_u32(6, 0).put_u32(7, 0);
    })
}

/// Writes into the packet and corrects the Internet checksum at `at` = (header, offset); the written part is in that
/// header, too.
pub(super) fn payload_write_summed(at: (u32, u32), offset: u32, len: u32, source: u32) -> Instruction {
    let (base, checksum) = at;
    plain("payload", |a| {
        a.put_u32(5, source).put_u32(2, base).put_u32(3, offset).put_u32(4, len);
        a.put_u32(6, INTERNET_CHECKSUM).put_u32(7, checksum);
    })
}

pub(super) fn tcp_option_write(option: u8, offset: u32, len: u32, source: u32) -> Instruction {
    plain("exthdr", |a| {
        a.put_u32(7, source).put_u8(2, option).put_u32(3, offset).put_u32(4, len).put_u32(6, TCP_OPTION);
    })
}

/// The route type of the source (`address` 1) or destination (2).
pub(super) fn fib_type(address: u32, dest: u32) -> Instruction {
    plain("fib", |a| {
        a.put_u32(1, dest).put_u32(2, FIB_ADDRESS_TYPE).put_u32(3, address);
    })
}

pub(super) fn immediate(dest: u32, value: &[u8]) -> Instruction {
    plain("immediate", |a| {
        a.put_u32(1, dest).nest(2, &data_value(value));
    })
}

pub(super) fn verdict(verdict: &Verdict) -> Instruction {
    plain("immediate", |a| {
        a.put_u32(1, VERDICT_REGISTER).nest(2, &data_verdict(verdict));
    })
}

pub(super) fn compare(source: u32, op: Compare, value: &[u8]) -> Instruction {
    let op = match op {
        Compare::Eq => 0,
        Compare::Ne => 1,
        Compare::Lt => 2,
        Compare::Le => 3,
        Compare::Gt => 4,
        Compare::Ge => 5,
    };
    plain("cmp", |a| {
        a.put_u32(1, source).put_u32(2, op).nest(3, &data_value(value));
    })
}

pub(super) fn range(source: u32, negate: bool, from: &[u8], to: &[u8]) -> Instruction {
    plain("range", |a| {
        a.put_u32(1, source).put_u32(2, negate.into());
        a.nest(3, &data_value(from)).nest(4, &data_value(to));
    })
}

pub(super) fn mask(register: u32, mask: &[u8]) -> Instruction {
    let len = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    plain("bitwise", |a| {
        a.put_u32(1, register).put_u32(2, register).put_u32(3, len);
        a.nest(4, &data_value(mask)).nest(5, &data_value(&vec![0; mask.len()]));
    })
}

/// Turns a number of 2 or 4 bytes from host to network order.
pub(super) fn to_network_order(register: u32, len: u32) -> Instruction {
    plain("byteorder", |a| {
        a.put_u32(1, register).put_u32(2, register).put_u32(3, 1).put_u32(4, len).put_u32(5, len);
    })
}

pub(super) fn hash(source: u32, len: u32, dest: u32, parameters: Modulus, seed: u32) -> Instruction {
    plain("hash", |a| {
        a.put_u32(1, source).put_u32(2, dest).put_u32(3, len).put_u32(4, parameters.modulus);
        a.put_u32(5, seed).put_u32(6, parameters.offset).put_u32(7, 0);
    })
}

pub(super) fn number(dest: u32, random: bool, parameters: Modulus) -> Instruction {
    plain("numgen", |a| {
        a.put_u32(1, dest).put_u32(2, parameters.modulus);
        a.put_u32(3, random.into()).put_u32(4, parameters.offset);
    })
}

/// The range of a hash or number generator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modulus {
    pub(super) modulus: u32,
    pub(super) offset: u32,
}

/// Looks up a set of the table.
pub(super) fn lookup(set: &str, source: u32, dest: Option<u32>, negate: bool) -> Instruction {
    plain("lookup", |a| {
        a.put_str(1, set);
        lookup_operands(a, source, dest, negate);
    })
}

/// Looks up the rule's anonymous set of that position.
pub(super) fn lookup_anonymous(set: usize, source: u32, dest: Option<u32>, negate: bool) -> Instruction {
    let mut attrs = Attrs::default();
    lookup_operands(&mut attrs, source, dest, negate);
    Instruction::LookupAnonymous { set, attrs }
}

fn lookup_operands(a: &mut Attrs, source: u32, dest: Option<u32>, negate: bool) {
    a.put_u32(2, source);
    if let Some(dest) = dest {
        a.put_u32(3, dest);
    }
    if negate {
        a.put_u32(5, 1);
    }
}

pub(super) fn update(
    set: &str,
    op: u32,
    key: u32,
    value: Option<u32>,
    timeout_ms: Option<u64>,
) -> Instruction {
    plain("dynset", |a| {
        a.put_str(1, set).put_u32(3, op).put_u32(4, key);
        if let Some(value) = value {
            a.put_u32(5, value);
        }
        if let Some(timeout) = timeout_ms {
            a.put_u64(6, timeout);
        }
    })
}

pub(super) fn nat(destination: bool, family: u8, addr: u32, port: Option<u32>) -> Instruction {
    plain("nat", |a| {
        a.put_u32(1, destination.into()).put_u32(2, family.into()).put_u32(3, addr);
        if let Some(port) = port {
            a.put_u32(5, port);
        }
    })
}

pub(super) fn masquerade() -> Instruction {
    plain("masq", |_| ())
}

pub(super) fn redirect(port: Option<u32>) -> Instruction {
    plain("redir", |a| {
        if let Some(port) = port {
            a.put_u32(1, port);
        }
    })
}

pub(super) fn notrack() -> Instruction {
    plain("notrack", |_| ())
}

pub(super) fn reject(kind: u32, code: u8) -> Instruction {
    plain("reject", |a| {
        a.put_u32(1, kind).put_u8(2, code);
    })
}

pub(super) fn counter() -> Instruction {
    plain("counter", |_| ())
}

pub(super) fn forward(device: u32) -> Instruction {
    plain("fwd", |a| {
        a.put_u32(1, device);
    })
}

pub(super) fn limit(rate: u64, seconds: u64, burst: u32, over: bool) -> Instruction {
    plain("limit", |a| {
        a.put_u64(1, rate).put_u64(2, seconds).put_u32(3, burst).put_u32(4, 0).put_u32(5, over.into());
    })
}

pub(super) fn data_value(value: &[u8]) -> Attrs {
    let mut data = Attrs::default();
    data.put(1, value);
    data
}

pub(super) fn data_verdict(verdict: &Verdict) -> Attrs {
    let (code, chain) = verdict_code(verdict);
    let mut inner = Attrs::default();
    inner.put(1, &code.to_be_bytes());
    if let Some(chain) = chain {
        inner.put_str(2, chain);
    }
    let mut data = Attrs::default();
    data.nest(2, &inner);
    data
}

/// The number of a verdict and the chain that it names.
pub(super) fn verdict_code(verdict: &Verdict) -> (i32, Option<&str>) {
    match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Continue => (-1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    }
}

pub(super) const META_MARK: u32 = 3;
pub(super) const CT_MARK: u32 = 3;
pub(super) const LINK: u32 = 0;
pub(super) const NETWORK: u32 = 1;
pub(super) const TRANSPORT: u32 = 2;
const INTERNET_CHECKSUM: u32 = 1;
const TCP_OPTION: u32 = 1;
const FIB_ADDRESS_TYPE: u32 = 3;
const VERDICT_REGISTER: u32 = 0;
