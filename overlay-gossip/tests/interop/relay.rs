//! A relay in user space that loses datagrams: each member is reached under another address than its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng, SeedableRng};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

pub(crate) struct Relay {
    passed: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
}

impl Relay {
    /// What is sent to `shown[i]` goes to `real[i]`, as if it came from where the sender is shown; of datagrams,
    /// `percent` are lost.
    pub(crate) async fn start(real: &[SocketAddr], shown: &[SocketAddr], percent: u32) -> Self {
        let relay = Self { passed: Arc::default(), lost: Arc::default() };
        let mut sockets = Vec::new();
        for addr in shown {
            sockets.push(UdpSocket::bind(addr).await.unwrap());
        }
        let (sockets, real): (Arc<[UdpSocket]>, Arc<[SocketAddr]>) = (sockets.into(), real.into());
        for at in 0..shown.len() {
            let (sockets, members, to) = (Arc::clone(&sockets), Arc::clone(&real), real[at]);
            let (passed, lost) = (Arc::clone(&relay.passed), Arc::clone(&relay.lost));
            tokio::spawn(async move {
                let mut rng = rand::rngs::StdRng::seed_from_u64(at as u64);
                let mut buf = vec![0; 65_536];
                loop {
                    // Refusals of dead members come back here.
                    let Ok((len, from)) = sockets[at].recv_from(&mut buf).await else { continue };
                    if rng.random_range(0..100) < percent {
                        lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let sender = members.iter().position(|member| *member == from).unwrap_or(at);
                    let _ = sockets[sender].send_to(&buf[..len], to).await;
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            });
            let listener = TcpListener::bind(shown[at]).await.unwrap();
            tokio::spawn(async move {
                while let Ok((mut from, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        if let Ok(mut to) = TcpStream::connect(to).await {
                            let _ = copy_bidirectional(&mut from, &mut to).await;
                        }
                    });
                }
            });
        }
        relay
    }

    /// How many datagrams passed, and how many were lost.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.passed.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}
