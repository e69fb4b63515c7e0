//! A task's kernel hands out one frame of 10 kB: it is cut into segments, which the other host puts together again.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use overlay_core::MacAddr;
use overlay_core::offload::{
    Checksums, Coalescer, MAX_HEADER_LEN, Offload, PartialChecksum, SegmentKind, Segmentation, Verify, split,
};
use overlay_core::wire::{
    EtherType, EthernetHeader, Ipv4Header, Layout, TcpFlags, TcpHeader, TcpSegment, protocol,
};

fn main() -> Result<(), Box<dyn Error>> {
    // What a read of a TAP device returns: a header that says what is left to do, and the frame.
    let frame = frame(&[0x5a; 10_000])?;
    let segmentation = Segmentation { kind: SegmentKind::Tcp4, size: 1410, header_len: 54, ecn: false };
    let checksum = Some(PartialChecksum { start: 34, offset: 16 });
    let offload = Offload { checksum, segmentation: Some(segmentation) };
    println!("from the task: {} bytes, to be cut into payloads of {}", frame.len(), segmentation.size);

    let mut segments = split(&frame, offload, Checksums::Fill)?;
    let mut headers = [0; MAX_HEADER_LEN];
    let mut received = Vec::new();
    while let Some(payload) = segments.next_into(&mut headers) {
        // A driver gives both parts to one system call; here they travel as one buffer each.
        let header = headers.get(..segments.header_len()).unwrap_or_default();
        let segment = [header, frame.get(payload).unwrap_or_default()].concat();
        let layout = Layout::parse(&segment)?;
        let tcp = TcpSegment::parse(segment.get(layout.transport..layout.end).unwrap_or_default())?;
        let (sequence, sum) = (tcp.header.sequence, tcp.header.checksum);
        println!("  segment of {:4} bytes, sequence {sequence:5}, checksum {sum:#06x}", segment.len());
        received.push(segment);
    }

    let mut coalescer = Coalescer::new(Verify::Inner);
    for (buffer, segment) in (0..).zip(&received) {
        let _ = coalescer.push(buffer, 0, segment);
    }
    let together = coalescer.take().ok_or("nothing was collected")?;
    let mut delivered = together.headers.to_vec();
    for piece in together.pieces {
        let buffer = received.get(usize::try_from(piece.buffer)?).ok_or("no such buffer")?;
        delivered.extend_from_slice(buffer.get(piece.offset..piece.offset + piece.len).unwrap_or_default());
    }
    println!("to the other task: {} bytes in {} pieces", delivered.len(), together.pieces.len());
    assert_eq!(together.offload.segmentation, Some(segmentation));
    Ok(())
}

fn frame(payload: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let (mut ethernet, mut ip, mut tcp) =
        ([0; EthernetHeader::LEN], [0; Ipv4Header::LEN], [0; TcpHeader::LEN]);
    let (source, destination) = (MacAddr::new([2, 0, 0, 0, 0, 1]), MacAddr::new([2, 0, 0, 0, 0, 2]));
    EthernetHeader { destination, source, ethertype: EtherType::IPV4 }.emit(&mut ethernet);
    let payload_len = u16::try_from(TcpHeader::LEN + payload.len())?;
    let (source, destination) = ([10, 0, 0, 2].into(), [10, 0, 0, 3].into());
    #[rustfmt::skip]
    Ipv4Header { traffic_class: 0, payload_len, identification: 1, dont_fragment: true, more_fragments: false,
        fragment_offset: 0, ttl: 64, protocol: protocol::TCP, source, destination }.emit(&mut ip);
    #[rustfmt::skip]
    TcpHeader { source_port: 40_000, destination_port: 80, sequence: 1, acknowledgement: 1, flags: TcpFlags::ACK,
        window: 501, checksum: 0, urgent: 0, options_len: 0 }.emit(&mut tcp);
    Ok([&ethernet[..], &ip, &tcp, payload].concat())
}
