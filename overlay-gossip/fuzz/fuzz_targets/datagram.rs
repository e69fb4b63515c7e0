#![no_main]
use libfuzzer_sys::fuzz_target;
use overlay_gossip::serf::Tags;
use overlay_gossip::wire::networkdb::{EndpointRecord, PeerRecord};
use overlay_gossip::wire::{Decoder, Envelope, Message, networkdb};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::default();
    let Ok(messages) = decoder.datagram(&Envelope::default(), bytes) else { return };
    for message in messages.flatten() {
        match Message::parse(message) {
            Ok(Message::User(body)) => {
                if let Ok(networkdb::Message::Table(event)) = networkdb::Message::parse(body) {
                    let _ = (EndpointRecord::parse(event.value), PeerRecord::parse(event.value));
                }
            }
            Ok(message) => {
                if let Message::Alive(alive) = message {
                    let _ = Tags::parse(alive.meta.unwrap_or_default());
                }
                let written = message.to_vec();
                assert_eq!(Message::parse(&written), Ok(message));
            }
            Err(_) => {}
        }
    }
});
