//! Netlink messages and attributes: a writer that cannot overflow and a reader that cannot panic.

/// A sequence of netlink attributes under construction.
///
/// An attribute longer than its 16-bit length allows poisons the sequence; [`Attrs::finish`] then says `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attrs {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Attrs {
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let Ok(len) = u16::try_from(value.len() + ATTR_HEADER) else {
            self.too_long = true;
            return self;
        };
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn put_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(super) fn put_u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(super) fn put_str(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    pub(crate) fn nest(&mut self, kind: u16, inner: &Self) -> &mut Self {
        self.too_long |= inner.too_long;
        self.put(kind | NESTED, &inner.bytes)
    }

    pub(crate) fn finish(&self) -> Option<&[u8]> {
        (!self.too_long).then_some(&self.bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// One netfilter message: netlink header, netfilter header, attributes.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) family: u8,
    pub(super) resource: u16,
    pub(super) attrs: Attrs,
}

impl Message {
    /// A message of the nf_tables subsystem.
    pub(super) fn new(kind: u16, flags: u16, family: u8, attrs: Attrs) -> Self {
        Self { kind: (SUBSYS_NFTABLES << 8) | kind, flags, family, resource: 0, attrs }
    }

    /// Appends the bytes; `None` when an attribute is too long.
    pub(super) fn emit(&self, seq: u32, out: &mut Vec<u8>) -> Option<()> {
        let body = self.attrs.finish()?;
        let len = u32::try_from(NLMSG_HEADER + NFGEN_HEADER + body.len()).ok()?;
        out.extend(len.to_ne_bytes());
        out.extend(self.kind.to_ne_bytes());
        out.extend((self.flags | NLM_F_REQUEST).to_ne_bytes());
        out.extend(seq.to_ne_bytes());
        out.extend(0_u32.to_ne_bytes());
        out.extend([self.family, 0]);
        out.extend(self.resource.to_be_bytes());
        out.extend(body);
        Some(())
    }
}

/// A message that came from the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    /// What follows the netlink header.
    pub(super) body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The family and the attributes of a netfilter message.
    pub(super) fn netfilter(&self) -> Option<(u8, &'a [u8])> {
        let (header, attrs) = self.body.split_first_chunk::<NFGEN_HEADER>()?;
        let [family, ..] = *header;
        Some((family, attrs))
    }
}

/// Splits a datagram into messages; stops at the first that is malformed.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = datagram.split_first_chunk::<NLMSG_HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = datagram.get(NLMSG_HEADER..len)?;
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Received {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            body,
        })
    })
}

/// Splits bytes into attributes; stops at the first that is malformed.
pub(super) fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, _) = bytes.split_first_chunk::<ATTR_HEADER>()?;
        let [l0, l1, k0, k1] = *header;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(ATTR_HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & KIND_MASK, value))
    })
}

/// The value of the first attribute of that kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(crate) fn find_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind)?.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn find_u64(bytes: &[u8], kind: u16) -> Option<u64> {
    find(bytes, kind)?.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn find_str(bytes: &[u8], kind: u16) -> Option<String> {
    text(find(bytes, kind)?)
}

/// A string up to its first NUL.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8(value.get(..end)?.to_vec()).ok()
}

const ATTR_HEADER: usize = 4;
const NLMSG_HEADER: usize = 16;
const NFGEN_HEADER: usize = 4;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;

pub(super) const SUBSYS_NFTABLES: u16 = 10;
pub(super) const NLM_F_REQUEST: u16 = 0x001;
pub(super) const NLM_F_ACK: u16 = 0x004;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x010;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_APPEND: u16 = 0x800;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
pub(super) const NFNL_MSG_BATCH_END: u16 = 0x11;
