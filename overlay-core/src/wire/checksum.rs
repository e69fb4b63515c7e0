use core::net::IpAddr;

/// The Internet checksum ([RFC 1071]): the one's complement of the one's complement sum of 16-bit words.
///
/// Pieces may be added in any grouping, but each piece except the last must be of even length.
///
/// ```
/// use overlay_core::wire::Checksum;
///
/// let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
/// assert_eq!(Checksum::new().add_bytes(&header).finish(), 0xb861);
/// ```
///
/// [RFC 1071]: https://www.rfc-editor.org/rfc/rfc1071
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Checksum(u64); // of words in the byte order of this machine: swapped once, at the end (RFC 1071 §2 B)

impl Checksum {
    /// A sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes; an odd last one counts as if a zero followed.
    #[inline]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<64>();
        let (words, rest) = rest.as_chunks::<4>();
        let (pairs, last) = rest.as_chunks::<2>();
        let mut sum = if blocks.is_empty() { 0 } else { sum_of_blocks(blocks) };
        sum += words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        sum += pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum::<u64>();
        sum += last.iter().map(|byte| u64::from(u16::from_ne_bytes([*byte, 0]))).sum::<u64>();
        self.add(sum)
    }

    /// Adds one word.
    #[inline]
    pub const fn add_word(self, word: u16) -> Self {
        self.add(word.to_be() as u64)
    }

    /// Adds a number of two words.
    #[inline]
    pub const fn add_long(self, long: u32) -> Self {
        self.add(long.to_be() as u64)
    }

    /// Adds the words of an address.
    #[inline]
    pub fn add_addr(self, addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => self.add_bytes(&addr.octets()),
            IpAddr::V6(addr) => self.add_bytes(&addr.octets()),
        }
    }

    /// Adds the pseudo header of TCP, UDP ([RFC 9293 §3.1]) and everything over IPv6 ([RFC 8200 §8.1]).
    ///
    /// Addresses of two families cannot share a packet; they only make a sum that no one expects.
    ///
    /// [RFC 9293 §3.1]: https://www.rfc-editor.org/rfc/rfc9293#section-3.1
    /// [RFC 8200 §8.1]: https://www.rfc-editor.org/rfc/rfc8200#section-8.1
    #[inline]
    pub fn add_pseudo_header(self, source: IpAddr, destination: IpAddr, protocol: u8, len: u16) -> Self {
        self.add_addr(source).add_addr(destination).add_word(u16::from(protocol)).add_word(len)
    }

    /// The checksum as it stands in a header: the complement of the sum.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.sum()
    }

    /// The sum itself, as it stands in a field whose checksum someone else shall finish; zero only if all words were.
    #[inline]
    #[must_use]
    pub const fn sum(self) -> u16 {
        // Without a loop: 64 bits to 33 and 32, to 17 and 16.
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        #[expect(clippy::cast_possible_truncation, reason = "16 bits are left")]
        {
            u16::from_be(sum as u16)
        }
    }

    /// Whether the bytes that were added, their checksum included, are intact.
    #[inline]
    #[must_use]
    pub const fn is_intact(self) -> bool {
        self.finish() == 0
    }

    /// The checksum after one word under it went from `old` to `new` ([RFC 1624 §3], equation 3).
    ///
    /// ```
    /// use overlay_core::wire::Checksum;
    ///
    /// assert_eq!(Checksum::update(0xdd2f, 0x5555, 0x3285), 0x0000); // the example of RFC 1624 §4
    /// ```
    ///
    /// [RFC 1624 §3]: https://www.rfc-editor.org/rfc/rfc1624#section-3
    #[inline]
    #[must_use]
    pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
        Self::replace(checksum, Self::new().add_word(old), Self::new().add_word(new))
    }

    /// The checksum after two words under it went from `old` to `new`: a sequence number, an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn update_long(checksum: u16, old: u32, new: u32) -> u16 {
        Self::replace(checksum, Self::new().add_long(old), Self::new().add_long(new))
    }

    /// The checksum after an address under it, or in the pseudo header, went from `old` to `new`.
    ///
    /// ```
    /// use overlay_core::wire::Checksum;
    ///
    /// let sum = Checksum::new().add_addr([10, 0, 0, 2].into()).add_word(80).finish();
    /// let moved = Checksum::new().add_addr([10, 0, 0, 9].into()).add_word(80).finish();
    /// assert_eq!(Checksum::update_addr(sum, [10, 0, 0, 2].into(), [10, 0, 0, 9].into()), moved);
    /// ```
    #[inline]
    #[must_use]
    pub fn update_addr(checksum: u16, old: IpAddr, new: IpAddr) -> u16 {
        Self::replace(checksum, Self::new().add_addr(old), Self::new().add_addr(new))
    }

    /// The checksum after words that sum up to `old` were replaced by words that sum up to `new`.
    #[inline]
    #[must_use]
    pub const fn replace(checksum: u16, old: Self, new: Self) -> u16 {
        Self::new().add_word(!checksum).add_word(!old.sum()).add(new.0).finish()
    }

    /// Adds what another sum added up; both of whole words.
    #[inline]
    pub const fn add_sum(self, other: Self) -> Self {
        self.add(other.0)
    }

    /// Adds with the carry coming back in, so that no amount of bytes overflows.
    #[inline]
    const fn add(self, amount: u64) -> Self {
        let (sum, carried) = self.0.overflowing_add(amount);
        Self(if carried { sum + 1 } else { sum })
    }
}

/// The sum of 32-bit words, which folds to the same 16 bits as that of 16-bit words (RFC 1071 §2 C).
///
/// It is taken from sums of 64-bit words and of their upper halves, in lanes that compilers turn into vector registers:
/// `all = lower + upper · 2³²`, so the lower halves need no masks, and no lane minds a carry that is lost.
fn sum_of_blocks(blocks: &[[u8; 64]]) -> u64 {
    let (mut all, mut upper) = ([0u64; 8], [0u64; 8]);
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for ((all, upper), word) in all.iter_mut().zip(&mut upper).zip(words) {
            let word = u64::from_ne_bytes(*word);
            *all = all.wrapping_add(word);
            *upper += word >> 32;
        }
    }
    let upper = upper.iter().sum::<u64>();
    let all = all.iter().fold(0u64, |sum, lane| sum.wrapping_add(*lane));
    all.wrapping_sub(upper << 32) + upper
}
