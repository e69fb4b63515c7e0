//! Super-frames stand for exactly the frames that they are cut into, in both directions.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]

mod frames;

use std::net::IpAddr;

use frames::{Frame, Sum, Transport, frame};
use overlay_core::offload::{
    Checksums, Coalescer, MAX_HEADER_LEN, Offload, OffloadError, PartialChecksum, Pushed, SegmentKind,
    Segmentation, SplitError, Verify, split,
};
use overlay_core::wire::{Checksum, Layout, Part, TcpFlags, protocol};
use proptest::prelude::*;

proptest! {
    #[test]
    fn segments_are_the_frames_that_the_sender_would_have_sent(
        mut whole in frame(0usize..6000), size in 1u16..2000, push: bool, fin: bool, cwr: bool, fill: bool,
    ) {
        let flag = |set: bool, flag: TcpFlags| if set { flag } else { TcpFlags::default() };
        let last_only = flag(push, TcpFlags::PSH) | flag(fin, TcpFlags::FIN);
        let flags = whole.flags();
        whole.set_flags(flags | last_only | flag(cwr, TcpFlags::CWR));
        let checksums = if fill { Checksums::Fill } else { Checksums::Partial };

        let mut expected: Vec<Frame> = Vec::new();
        let payloads: Vec<_> = whole.payload.chunks(size.into()).map(<[u8]>::to_vec).collect();
        for payload in if payloads.is_empty() { vec![vec![]] } else { payloads } {
            let first = Frame { payload: payload.clone(), ..whole.clone() };
            let mut next = expected.last().map_or(first, |before| before.next(payload));
            next.set_flags(flags | flag(cwr && expected.is_empty(), TcpFlags::CWR));
            next.checksum = if fill { Sum::Full } else { Sum::Partial };
            expected.push(next);
        }
        let last = expected.last_mut().unwrap();
        last.set_flags(last.flags() | last_only);
        let expected: Vec<_> = expected.iter().map(Frame::bytes).collect();

        let (bytes, offload) = super_frame(&whole, size);
        prop_assert_eq!(cut(&bytes, offload, checksums), expected);
    }

    #[test]
    fn what_is_cut_is_put_together_again(whole in frame(1usize..9000), size in 140u16..2000, outer: bool, push: bool) {
        let mut whole = whole;
        let flags = if push { whole.flags() | TcpFlags::PSH } else { whole.flags() };
        whole.set_flags(flags);
        let (bytes, offload) = super_frame(&whole, size);
        prop_assume!(whole.payload.len() > size.into());
        let (checksums, verify) = if outer { (Checksums::Partial, Verify::Outer) } else { (Checksums::Fill, Verify::Inner) };
        let segments = cut(&bytes, offload, checksums);
        prop_assert!(segments.len() <= 65);
        prop_assume!(segments.len() <= 64);
        prop_assert_eq!(collect(&segments, verify), vec![(offload, bytes)]);
    }

    #[test]
    fn every_sequence_of_frames_survives_in_order(script in prop::collection::vec(step(), 1..60), first in frame(1usize..300), outer: bool) {
        let sent: Vec<_> = play(first, &script);
        let verify = if outer { Verify::Outer } else { Verify::Inner };
        let received: Vec<_> = collect(&sent, verify)
            .iter()
            .flat_map(|(offload, bytes)| cut(bytes, *offload, Checksums::Fill))
            .map(normal)
            .collect();
        prop_assert_eq!(received, sent.into_iter().map(normal).collect::<Vec<_>>());
    }

    #[test]
    fn an_unfinished_checksum_is_finished(whole in frame(0usize..3000)) {
        let partial = Frame { checksum: Sum::Partial, ..whole.clone() };
        let offload = Offload { checksum: Some(whole.partial()), segmentation: None };
        prop_assert_eq!(cut(&partial.bytes(), offload, Checksums::Fill), vec![whole.bytes()]);
        prop_assert_eq!(cut(&partial.bytes(), offload, Checksums::Partial), vec![partial.bytes()]);
        // The receiver of an authenticated datagram needs no checksum, and that of a veth peer accepts an unfinished one.
        for (bytes, verify) in [
            (whole.bytes(), Verify::Outer), (whole.bytes(), Verify::Inner),
            (partial.bytes(), Verify::Outer), (partial.bytes(), Verify::Inner),
        ] {
            prop_assert_eq!(collect(&[bytes], verify), vec![(offload, partial.bytes())]);
        }
    }

    #[test]
    fn one_damaged_bit_is_seen(whole in frame(1usize..2000), bit: prop::sample::Index) {
        let mut bytes = whole.bytes();
        let bit = whole.header_len() * 8 + bit.index(whole.payload.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut coalescer = Coalescer::new(Verify::Inner);
        prop_assert_eq!(coalescer.push(0, 0, &bytes), Pushed::Damaged);
        prop_assert!(coalescer.is_empty() && coalescer.take().is_none());
    }

    #[test]
    fn damaged_frames_and_headers_never_panic(
        whole in frame(0usize..300),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        header: [u8; 10], noise in prop::collection::vec(any::<u8>(), 0..200), shaped: bool, cutoff: prop::sample::Index,
    ) {
        let mut bytes = if shaped { whole.bytes() } else { noise };
        for (at, value) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        bytes.truncate(cutoff.index(bytes.len() * 4 + 1));
        let mut offloads = vec![super_frame(&whole, 100).1, Offload { checksum: Some(whole.partial()), segmentation: None }];
        let (kind, few) = ([0, 1, 4, 5, 0x81, 0x84][usize::from(header[1] % 6)], |byte: u8| byte % 80);
        offloads.extend(Offload::parse(&header).ok());
        offloads.extend(Offload::parse(&[header[0], kind, 0, 0, few(header[4]), 0, few(header[6]), 0, few(header[8]), 0]).ok());
        for offload in offloads {
            prop_assert_eq!(Offload::parse(&offload.to_bytes()), Ok(offload));
            for checksums in [Checksums::Fill, Checksums::Partial] {
                let _ = split(&bytes, offload, checksums).map(|_| cut(&bytes, offload, checksums));
            }
        }
        for verify in [Verify::Inner, Verify::Outer] {
            let frames = [whole.bytes(), bytes.clone(), bytes.clone(), whole.bytes()];
            let _ = collect(&frames, verify);
        }
    }
}

#[test]
fn headers_of_the_kernel_are_understood() {
    let bytes = |size: u16, start: u16| {
        let ([h0, h1], [s0, s1], [c0, c1]) = (54u16.to_ne_bytes(), size.to_ne_bytes(), start.to_ne_bytes());
        let [o0, o1] = 16u16.to_ne_bytes();
        move |gso_type: u8| [1, gso_type, h0, h1, s0, s1, c0, c1, o0, o1]
    };
    let tcp = Offload::parse(&bytes(1448, 34)(0x81)).unwrap();
    assert_eq!(tcp.checksum, Some(PartialChecksum { start: 34, offset: 16 }));
    let segmentation = Segmentation { kind: SegmentKind::Tcp4, size: 1448, header_len: 54, ecn: true };
    assert_eq!(tcp.segmentation, Some(segmentation));
    assert_eq!(Offload::parse(&bytes(0, 34)(4)), Err(OffloadError::NoSize { gso_type: 4 }));
    assert_eq!(Offload::parse(&bytes(1448, 34)(3)), Err(OffloadError::Kind { gso_type: 3 }));
    assert_eq!(Offload::parse(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(Offload::NONE), "verified already");
}

#[test]
fn a_segmentation_that_does_not_fit_the_frame_is_refused() {
    let whole = tcp(3000);
    let (bytes, offload) = super_frame(&whole, 1000);
    let segmentation = offload.segmentation.unwrap();
    let refused = |bytes: &[u8], offload: Offload| split(bytes, offload, Checksums::Fill).unwrap_err();

    for kind in [SegmentKind::Tcp6, SegmentKind::Udp] {
        let wrong = Offload { segmentation: Some(Segmentation { kind, ..segmentation }), ..offload };
        assert!(matches!(refused(&bytes, wrong), SplitError::Kind { .. }));
    }
    let wrong = Offload { segmentation: Some(Segmentation { size: 0, ..segmentation }), ..offload };
    assert_eq!(refused(&bytes, wrong), SplitError::NoSize);
    let wrong = Offload { checksum: Some(PartialChecksum { start: 33, offset: 16 }), ..offload };
    assert!(matches!(refused(&bytes, wrong), SplitError::Checksum { start: 33, .. }));
    assert!(matches!(refused(&bytes[..2000], offload), SplitError::Layout(_)));
    let fragment = Frame { more_fragments: true, ..whole };
    assert_eq!(refused(&fragment.bytes(), offload), SplitError::Fragment);
    let beyond =
        Offload { checksum: Some(PartialChecksum { start: 65535, offset: 65535 }), segmentation: None };
    assert!(matches!(refused(&bytes, beyond), SplitError::Checksum { .. }));
    let far = Offload { checksum: Some(PartialChecksum { start: 1000, offset: 6 }), segmentation: None };
    assert_eq!(refused(&bytes, far), SplitError::Headers { len: 1008 });
}

#[test]
fn headers_need_their_room_and_nothing_is_lost_without_it() {
    let (bytes, offload) = super_frame(&tcp(2500), 1000);
    let mut segments = split(&bytes, offload, Checksums::Fill).unwrap();
    let room = segments.header_len();
    assert_eq!(segments.next_into(&mut vec![0; room - 1]), None);
    assert_eq!(segments.next_into(&mut vec![0; room]), Some(room..room + 1000));
}

#[test]
fn a_checksum_that_a_peer_would_not_expect_is_finished_even_for_a_sealed_network() {
    // Encapsulated by the task itself: the unfinished checksum is not the one of the frame's own UDP header.
    let carrier = Frame { transport: Transport::Udp, payload: tcp(100).bytes(), ..tcp(0) };
    let start = (carrier.header_len() + tcp(0).transport()) as u16;
    let inside = Offload { checksum: Some(PartialChecksum { start, offset: 16 }), segmentation: None };
    let segments = split(carrier.bytes().leak(), inside, Checksums::Partial).unwrap();
    assert_eq!(segments.header_len(), usize::from(start) + 18);
}

#[test]
fn push_a_shorter_payload_and_a_full_super_frame_close_it() {
    let first = tcp(100);
    let second = first.next(vec![1; 100]);
    let mut pushed = second.clone();
    pushed.set_flags(TcpFlags::ACK | TcpFlags::PSH);
    let third = second.next(vec![2; 100]);
    let results = |frames: &[&Frame]| {
        let mut coalescer = Coalescer::new(Verify::Inner);
        frames.iter().map(|frame| coalescer.push(0, 0, &frame.bytes())).collect::<Vec<_>>()
    };
    use Pushed::{Joined, Opened, Refused};
    assert_eq!(results(&[&first, &second, &third]), [Opened, Joined, Joined]);
    assert_eq!(results(&[&first, &pushed, &third]), [Opened, Joined, Refused]);
    let short = first.next(vec![1; 99]);
    assert_eq!(results(&[&first, &short, &short.next(vec![1; 99])]), [Opened, Joined, Refused]);
    assert_eq!(results(&[&first, &first.next(vec![1; 101])]), [Opened, Refused]);

    let mut frames = vec![first];
    (1..65).for_each(|_| frames.push(frames.last().unwrap().next(vec![3; 100])));
    let sixty_five = results(&frames.iter().collect::<Vec<_>>());
    assert_eq!((sixty_five[63], sixty_five[64]), (Joined, Refused));
    let mut frames = vec![tcp(6000)];
    (1..11).for_each(|_| frames.push(frames.last().unwrap().next(vec![3; 6000])));
    let eleven = results(&frames.iter().collect::<Vec<_>>());
    assert_eq!((eleven[9], eleven[10]), (Joined, Refused), "10 × 6000 + 40 bytes fit");
}

#[test]
fn frames_of_another_flow_or_meaning_do_not_join() {
    let first = tcp(100);
    let next = || first.next(vec![1; 100]);
    let changed = |change: fn(&mut Frame)| {
        let mut frame = next();
        change(&mut frame);
        frame
    };
    let strangers = [
        changed(|frame| frame.ports.0 += 1),
        changed(|frame| frame.source = [10, 9, 9, 9].into()),
        changed(|frame| frame.class ^= 3),
        changed(|frame| frame.hops -= 1),
        changed(|frame| frame.identification += 1),
        changed(|frame| frame.dont_fragment = true),
        changed(|frame| frame.more_fragments = true),
        changed(|frame| frame.vlan = Some(7)),
        changed(|frame| frame.payload.clear()),
        changed(|frame| frame.set_flags(TcpFlags::ACK | TcpFlags::FIN)),
        changed(|frame| frame.set_flags(TcpFlags::ACK | TcpFlags::CWR)),
        changed(|frame| frame.set_flags(TcpFlags::ACK | TcpFlags::ECE)),
        changed(|frame| frame.transport = Transport::Udp),
        first.clone(),
        next().next(vec![1; 100]),
    ];
    for stranger in strangers {
        let mut coalescer = Coalescer::new(Verify::Outer);
        assert_eq!(coalescer.push(0, 0, &first.bytes()), Pushed::Opened);
        assert_eq!(coalescer.push(0, 0, &stranger.bytes()), Pushed::Refused, "{stranger:?}");
        assert!(coalescer.take().is_some());
        assert_eq!(coalescer.push(0, 0, &stranger.bytes()), Pushed::Opened);
    }
}

#[test]
fn what_is_no_whole_tcp_or_udp_packet_is_handed_on_as_it_is() {
    let fragment = Frame { more_fragments: true, ..tcp(100) };
    let later = Frame { fragment_offset: 10, ..tcp(100) };
    let unsummed = Frame { transport: Transport::Udp, checksum: Sum::Zero, ..tcp(100) };
    for bytes in [fragment.bytes(), later.bytes(), unsummed.bytes(), vec![0; 60], vec![]] {
        let mut coalescer = Coalescer::new(Verify::Outer);
        assert_eq!(coalescer.push(3, 50, &bytes), Pushed::Opened);
        let alone = coalescer.take().unwrap();
        assert_eq!((alone.offload, alone.headers.len()), (Offload::NONE, 0));
        assert_eq!(
            (alone.pieces[0].buffer, alone.pieces[0].offset, alone.pieces[0].len),
            (3, 50, bytes.len())
        );
    }
}

#[test]
fn a_damaged_frame_leaves_what_was_collected_alone() {
    let first = tcp(100);
    let second = first.next(vec![1; 100]);
    let mut damaged = second.bytes();
    *damaged.last_mut().unwrap() ^= 4;
    let mut coalescer = Coalescer::new(Verify::Inner);
    let results = [first.bytes(), damaged, second.bytes()].map(|bytes| coalescer.push(0, 0, &bytes));
    assert_eq!(results, [Pushed::Opened, Pushed::Damaged, Pushed::Joined]);
    assert_eq!(coalescer.take().unwrap().pieces.len(), 2);
}

#[test]
fn behind_extension_headers_checksums_are_finished_and_nothing_joins() {
    let ends: [IpAddr; 2] = ["fd00::2", "fd00::3"].map(|addr| addr.parse().unwrap());
    let whole = Frame { source: ends[0], destination: ends[1], ..tcp(2000) };
    let (mut bytes, mut offload) = super_frame(&whole, 1000);
    // Eight bytes of destination options.
    bytes.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
    bytes[20] = 60;
    bytes[18..20].copy_from_slice(&2028u16.to_be_bytes());
    offload.checksum = Some(PartialChecksum { start: 62, offset: 16 });

    let segments = cut(&bytes, offload, Checksums::Partial);
    assert_eq!(segments.len(), 2);
    for segment in &segments {
        let layout = Layout::parse(segment).unwrap();
        let tcp = &segment[layout.transport..layout.end];
        let sum = Checksum::new().add_pseudo_header(ends[0], ends[1], protocol::TCP, tcp.len() as u16);
        assert!(sum.add_bytes(tcp).is_intact());
    }
    let alone: Vec<_> = segments.iter().map(|segment| (Offload::NONE, segment.clone())).collect();
    assert_eq!(collect(&segments, Verify::Outer), alone);
}

#[test]
fn datagrams_stay_apart_for_kernels_that_cannot_take_them_together() {
    let first = Frame { transport: Transport::Udp, ..tcp(100) };
    for (mut coalescer, expected) in [
        (Coalescer::new(Verify::Inner), Pushed::Joined),
        (Coalescer::new(Verify::Inner).without_datagrams(), Pushed::Refused),
    ] {
        assert_eq!(coalescer.push(0, 0, &first.bytes()), Pushed::Opened);
        assert_eq!(coalescer.push(0, 0, &first.next(vec![7; 100]).bytes()), expected);
    }
}

#[test]
fn pieces_lie_where_the_payload_does() {
    let first = tcp(100);
    let second = first.next(vec![1; 100]);
    let header_len = first.header_len();
    let mut coalescer = Coalescer::new(Verify::Inner);
    assert_eq!(coalescer.push(4, 8, &first.bytes()), Pushed::Opened);
    assert_eq!(coalescer.push(5, 3000, &second.bytes()), Pushed::Joined);
    let together = coalescer.take().unwrap();
    let places: Vec<_> = together.pieces.iter().map(|it| (it.buffer, it.offset, it.len)).collect();
    assert_eq!(places, [(4, 8 + header_len, 100), (5, 3000 + header_len, 100)]);
    let segmentation =
        Segmentation { kind: SegmentKind::Tcp4, size: 100, header_len: header_len as u16, ecn: false };
    assert_eq!(together.offload.segmentation, Some(segmentation));
    assert!(coalescer.is_empty());
}

/// A frame as a task's kernel hands it out: of many segments, its checksum unfinished.
fn super_frame(whole: &Frame, size: u16) -> (Vec<u8>, Offload) {
    let kind = match (whole.is_tcp(), whole.source.is_ipv4()) {
        (true, true) => SegmentKind::Tcp4,
        (true, false) => SegmentKind::Tcp6,
        (false, _) => SegmentKind::Udp,
    };
    let ecn = whole.flags().contains(TcpFlags::CWR);
    let segmentation = Segmentation { kind, size, header_len: whole.header_len() as u16, ecn };
    let bytes = Frame { checksum: Sum::Partial, ..whole.clone() }.bytes();
    (bytes, Offload { checksum: Some(whole.partial()), segmentation: Some(segmentation) })
}

fn cut(frame: &[u8], offload: Offload, checksums: Checksums) -> Vec<Vec<u8>> {
    let mut segments = split(frame, offload, checksums).unwrap();
    let mut headers = [0xee; MAX_HEADER_LEN];
    let header_len = segments.header_len();
    let mut all = Vec::new();
    while let Some(range) = segments.next_into(&mut headers) {
        all.push([&headers[..header_len], &frame[range]].concat());
    }
    assert_eq!(all.len(), segments.count());
    let (last, others) = all.split_last().unwrap();
    assert_eq!(last.len(), segments.last_len());
    assert!(others.iter().all(|segment| segment.len() == segments.segment_len()));
    all
}

fn collect(frames: &[Vec<u8>], verify: Verify) -> Vec<(Offload, Vec<u8>)> {
    let mut coalescer = Coalescer::new(verify);
    let mut all = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        // The frame lies in the middle of its buffer.
        if coalescer.push(index as u32, 5, frame) == Pushed::Refused {
            all.push(taken(&mut coalescer, frames));
            assert_ne!(coalescer.push(index as u32, 5, frame), Pushed::Refused);
        }
    }
    if !coalescer.is_empty() {
        all.push(taken(&mut coalescer, frames));
    }
    all
}

fn taken(coalescer: &mut Coalescer, frames: &[Vec<u8>]) -> (Offload, Vec<u8>) {
    let whole = coalescer.take().unwrap();
    let mut bytes = whole.headers.to_vec();
    for piece in whole.pieces {
        bytes.extend_from_slice(&frames[piece.buffer as usize][piece.offset - 5..][..piece.len]);
    }
    (whole.offload, bytes)
}

/// What a sender, or another one in between, does next.
#[derive(Clone, Debug)]
enum Step {
    Continue(usize),
    Push(usize),
    Retransmit,
    Acknowledge,
    Finish,
    Reset,
    Unsummed,
    Fragment,
    Padded(usize),
    Noise(Vec<u8>),
    Other(Box<Frame>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Continue(200)),
        4 => (1usize..400).prop_map(Step::Continue),
        2 => (1usize..400).prop_map(Step::Push),
        1 => Just(Step::Retransmit),
        1 => Just(Step::Acknowledge),
        1 => Just(Step::Finish),
        1 => Just(Step::Reset),
        1 => Just(Step::Unsummed),
        1 => Just(Step::Fragment),
        1 => (1usize..30).prop_map(Step::Padded),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Step::Noise),
        1 => frame(1usize..300).prop_map(|frame| Step::Other(Box::new(frame))),
    ]
}

fn play(mut now: Frame, script: &[Step]) -> Vec<Vec<u8>> {
    let mut all = vec![now.bytes()];
    for step in script {
        let with = |flags: TcpFlags, len: usize| {
            let mut frame = now.next(vec![0x5c; len]);
            frame.set_flags(TcpFlags::ACK | flags);
            frame
        };
        now = match step {
            Step::Continue(len) => with(TcpFlags::default(), *len),
            Step::Push(len) => with(TcpFlags::PSH, *len),
            Step::Retransmit => now.clone(),
            Step::Acknowledge => with(TcpFlags::default(), 0),
            Step::Finish => with(TcpFlags::FIN, 20),
            Step::Reset => with(TcpFlags::RST, 0),
            Step::Other(frame) => (**frame).clone(),
            Step::Unsummed | Step::Fragment | Step::Padded(_) | Step::Noise(_) => now.clone(),
        };
        all.push(match step {
            Step::Noise(noise) => noise.clone(),
            Step::Padded(len) => [now.bytes(), vec![0; *len]].concat(),
            Step::Unsummed if !now.is_tcp() => Frame { checksum: Sum::Zero, ..now.clone() }.bytes(),
            Step::Fragment if now.source.is_ipv4() => Frame { more_fragments: true, ..now.clone() }.bytes(),
            Step::Continue(_)
            | Step::Push(_)
            | Step::Retransmit
            | Step::Acknowledge
            | Step::Finish
            | Step::Reset
            | Step::Other(_)
            | Step::Unsummed
            | Step::Fragment => now.bytes(),
        });
    }
    all
}

/// A frame without what has no meaning: padding, and identifications of packets that must not be fragmented.
fn normal(mut frame: Vec<u8>) -> Vec<u8> {
    let Ok(layout) = Layout::parse(&frame) else { return frame };
    frame.truncate(layout.end);
    if layout.part == Part::Whole && frame[layout.network] == 0x45 && frame[layout.network + 6] & 0x40 != 0 {
        frame[layout.network + 4..layout.network + 6].fill(0);
        frame[layout.network + 10..layout.network + 12].fill(0);
    }
    frame
}

fn tcp(len: usize) -> Frame {
    Frame {
        vlan: None,
        source: [10, 0, 0, 2].into(),
        destination: [10, 0, 0, 3].into(),
        class: 0,
        hops: 64,
        identification: 1000,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ports: (40000, 80),
        transport: Transport::Tcp {
            sequence: u32::MAX - 150,
            acknowledgement: 9,
            flags: TcpFlags::ACK,
            window: 501,
            options: vec![],
        },
        checksum: Sum::Full,
        payload: vec![0xa5; len],
    }
}
