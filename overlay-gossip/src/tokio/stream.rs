//! TCP exchanges: one message, and perhaps one back, within a deadline and limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tokio::sync::mpsc::UnboundedSender;
use ::tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use ::tokio::time::timeout;
use bytes::Bytes;

use crate::{DialFailure, DialId, Frame};

/// What the exchanges tell the pump.
#[derive(Debug)]
pub(super) enum Incoming {
    Request { from: SocketAddr, payload: Vec<u8>, reply: oneshot::Sender<Bytes> },
    Replied { id: DialId, payload: Vec<u8> },
    Failed { id: DialId, failure: DialFailure },
}

/// What all streams share.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) incoming: UnboundedSender<Incoming>,
    /// How many streams may be served at once.
    pub(super) open: Arc<Semaphore>,
    /// How many [`CHUNK`]s all streams may have read that are not handled yet.
    pub(super) memory: Arc<Semaphore>,
    pub(super) limit: usize,
    pub(super) patience: Duration,
}

impl Streams {
    /// Serves one connection.
    pub(super) async fn serve(self, mut stream: TcpStream, from: SocketAddr, _open: OwnedSemaphorePermit) {
        // A peer that is slow or rude loses its connection; it has other ways to reach us.
        let Ok(Ok((payload, held))) = timeout(self.patience, self.read(&mut stream)).await else { return };
        let (reply, mut answer) = oneshot::channel();
        if self.incoming.send(Incoming::Request { from, payload, reply }).is_err() {
            return;
        }
        // The machine may take its time: there are peers that only want to see the connection end.
        let mut more = [0; 16];
        let answer = ::tokio::select! {
            answer = &mut answer => answer.unwrap_or_default(),
            // It may have closed one direction only.
            () = ended(&mut stream, &mut more) => match timeout(self.patience, answer).await {
                Ok(answer) => answer.unwrap_or_default(),
                Err(_) => return,
            },
        };
        drop(held);
        let exchange = async {
            stream.write_all(&answer).await?;
            stream.shutdown().await
        };
        let _: Result<io::Result<()>, _> = timeout(self.patience, exchange).await;
    }

    /// Delivers a message and waits for one if `reply`.
    pub(super) async fn dial(
        self,
        (id, to): (DialId, SocketAddr),
        payload: Bytes,
        reply: bool,
        patience: Duration,
    ) {
        let exchange = async {
            let mut stream = TcpStream::connect(to).await?;
            let _ = stream.set_nodelay(true);
            stream.write_all(&payload).await?;
            if reply {
                return self.read(&mut stream).await.map(|(payload, _)| payload);
            }
            stream.shutdown().await?;
            // Wait for the other side to close: closing first could cost it the message.
            let mut rest = [0; 16];
            while stream.read(&mut rest).await? > 0 {}
            Ok(Vec::new())
        };
        let incoming = match timeout(patience, exchange).await {
            Ok(Ok(payload)) => Incoming::Replied { id, payload },
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Incoming::Failed { id, failure: DialFailure::Refused }
            }
            Ok(Err(_)) => Incoming::Failed { id, failure: DialFailure::Broken },
            Err(_) => Incoming::Failed { id, failure: DialFailure::TimedOut },
        };
        let _ = self.incoming.send(incoming);
    }

    /// Reads one message. What it occupies counts until the permit is dropped.
    async fn read(&self, stream: &mut TcpStream) -> io::Result<(Vec<u8>, Option<OwnedSemaphorePermit>)> {
        let mut frame = Frame::new(self.limit);
        let mut buf = Vec::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        let mut granted = FREE;
        loop {
            if stream.read_buf(&mut buf).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while buf.len() > granted {
                let more = Arc::clone(&self.memory).try_acquire_owned();
                let more = more.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
                granted += CHUNK;
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
            }
            match frame.end(&buf) {
                Ok(Some(end)) => {
                    buf.truncate(end);
                    return Ok((buf, held));
                }
                Ok(None) => {}
                // Counted by the machine when it sees the bytes.
                Err(_) => return Ok((buf, held)),
            }
        }
    }
}

/// Waits until the other side has closed, or said more than it should.
async fn ended(stream: &mut TcpStream, more: &mut [u8]) {
    let _ = stream.read(more).await;
}

/// What each stream may read before it counts.
const FREE: usize = 16 << 10;
const CHUNK: usize = 64 << 10;
/// Chunks for all streams together: 64 MiB.
pub(super) const CHUNKS: usize = 1024;
/// Streams served at once, as memberlist.
pub(super) const OPEN: usize = 128;
