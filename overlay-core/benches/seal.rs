//! What sealing costs, beside the bare cipher: `cargo bench -p overlay-core --features seal --bench seal`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints and may panic"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use overlay_core::Vni;
use overlay_core::seal::{Algorithm, KeyId, Seal, SealKey, Session};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const FRAME: usize = 1400;
const BATCH: usize = 4_000;
const ROUNDS: usize = 25;
const HOSTS: u16 = 100;

fn main() {
    for (algorithm, cipher) in [
        (Algorithm::Aes128Gcm, &AES_128_GCM),
        (Algorithm::Aes256Gcm, &AES_256_GCM),
        (Algorithm::ChaCha20Poly1305, &CHACHA20_POLY1305),
    ] {
        let material = vec![7; algorithm.key_len()];
        let bare = LessSafeKey::new(UnboundKey::new(cipher, &material).unwrap());
        let key = SealKey::new(algorithm, &material).unwrap();
        let vni = Vni::new(4097).unwrap();
        let host = |session| {
            let mut seal = Seal::new(Session::new(session));
            seal.set_keys(vni, KeyId::new(1), &[(KeyId::new(1), key.clone())].into()).unwrap();
            seal
        };
        let (mut sender, mut receiver) = (host(1), host(2));
        let from: IpAddr = [192, 0, 2, 1].into();
        for session in 0..HOSTS {
            let mut datagram = vec![0; 100];
            host(1000 + u64::from(session)).seal(vni, &mut datagram).unwrap();
            let [a, b] = session.to_be_bytes();
            receiver.open([10, 0, a, b].into(), &mut datagram).unwrap();
        }
        let mut datagrams = vec![vec![0x5a; Seal::HEADER_LEN + FRAME + Seal::TAG_LEN]; BATCH];
        let mut bares = vec![vec![0x5a; FRAME + Seal::TAG_LEN]; BATCH];
        // Interleaved, so that a slow moment of the machine hits all four; the best round counts.
        let mut best = [f64::MAX; 4];
        for _ in 0..ROUNDS {
            let round = [
                timed(&mut bares, |bytes| {
                    let (frame, tag) = bytes.split_last_chunk_mut::<16>().unwrap();
                    let made = bare.seal_in_place_separate_tag(nonce(), Aad::from([0; 24]), frame).unwrap();
                    tag.copy_from_slice(made.as_ref());
                }),
                timed(&mut datagrams, |bytes| sender.seal(vni, bytes).unwrap()),
                timed(&mut bares, |bytes| {
                    let _ = black_box(bare.open_in_place(nonce(), Aad::from([0; 24]), bytes).unwrap());
                }),
                timed(&mut datagrams, |bytes| {
                    let _ = black_box(receiver.open(from, bytes).unwrap());
                }),
            ];
            best.iter_mut().zip(round).for_each(|(best, now)| *best = best.min(now));
        }
        let [bare_seal, seal, bare_open, open] = best;
        report(algorithm, "seal", seal, bare_seal);
        report(algorithm, "open", open, bare_open);
    }
}

fn report(algorithm: Algorithm, what: &str, ours: f64, bare: f64) {
    #[expect(clippy::cast_precision_loss, reason = "1400")]
    let rate = FRAME as f64 / ours;
    let more = (ours / bare - 1.0) * 100.0;
    println!(
        "{ours:8.1} ns  {rate:5.2} GB/s  {more:+5.1} % over the cipher alone  {what} {FRAME} bytes, {algorithm}"
    );
}

/// Nanoseconds per datagram.
fn timed(datagrams: &mut [Vec<u8>], mut step: impl FnMut(&mut [u8])) -> f64 {
    let start = Instant::now();
    datagrams.iter_mut().for_each(|datagram| step(black_box(datagram)));
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = datagrams.len() as f64;
    start.elapsed().as_secs_f64() * 1e9 / count
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
