//! Length-delimited frames over any byte stream.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use tokio_util::codec::length_delimited::LengthDelimitedCodecError;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Messages over a byte stream: a `u32` length, big-endian, then JSON or raw bytes.
///
/// Starts with [`Frames::UNTRUSTED`] as the longest frame in both directions. After an error the stream is in
/// an unknown state: drop it. Receiving is cancel-safe; sending is not.
///
/// ```
/// use std::time::Duration;
/// use swarm_node::rpc::Frames;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let (here, there) = tokio::io::duplex(1024);
/// let (mut here, mut there) = (Frames::new(here), Frames::new(there));
/// here.send(&("ping", 1)).await?;
/// let (word, number): (String, u32) = there.recv(Duration::from_secs(1)).await?;
/// assert_eq!((word.as_str(), number), ("ping", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Frames<S = TlsStream<TcpStream>> {
    framed: Framed<S, LengthDelimitedCodec>,
}

impl Frames {
    /// Longest frame from or to a peer that has not shown a certificate: 64 KiB.
    pub const UNTRUSTED: usize = 64 * 1024;
    /// Longest frame from or to a peer of the cluster: 16 MiB.
    pub const TRUSTED: usize = 16 * 1024 * 1024;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Frames over `stream`, for a peer that is not trusted yet.
    pub fn new(stream: S) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .length_field_type::<u32>()
            .big_endian()
            .max_frame_length(Frames::UNTRUSTED)
            .new_codec();
        Self { framed: Framed::new(stream, codec) }
    }

    /// Allows frames of [`Frames::TRUSTED`] bytes from now on.
    pub fn trust(&mut self) {
        self.framed.codec_mut().set_max_frame_length(Frames::TRUSTED);
    }

    /// Sends a message as JSON.
    ///
    /// # Errors
    /// The message is too long, the peer is gone or has read nothing for 10 s.
    pub async fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), FrameError> {
        self.send_bytes(encode(message)?).await
    }

    /// Receives a message as JSON. Without a deadline (`None`) waits for as long as the peer lives.
    ///
    /// # Errors
    /// The peer is gone, silent, or sent something else.
    pub async fn recv<T: DeserializeOwned>(
        &mut self,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<T, FrameError> {
        decode(&self.recv_bytes(deadline).await?)
    }

    /// Sends raw bytes as one frame.
    ///
    /// # Errors
    /// As [`Frames::send`].
    pub async fn send_bytes(&mut self, frame: Bytes) -> Result<(), FrameError> {
        let limit = self.framed.codec().max_frame_length();
        put(&mut self.framed, frame, limit).await
    }

    /// Receives one frame as it is.
    ///
    /// # Errors
    /// The peer is gone, silent, or announces a frame that is too long.
    pub async fn recv_bytes(
        &mut self,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<BytesMut, FrameError> {
        let limit = self.framed.codec().max_frame_length();
        take(&mut self.framed, deadline.into(), limit).await
    }

    /// Divides the stream, so that one task reads while another writes.
    pub fn split(self) -> (FrameReader<S>, FrameWriter<S>) {
        let limit = self.framed.codec().max_frame_length();
        let (sink, stream) = self.framed.split();
        (FrameReader { stream, limit }, FrameWriter { sink, limit })
    }

    /// The stream below.
    pub fn stream(&self) -> &S {
        self.framed.get_ref()
    }
}

impl<S> fmt::Debug for Frames<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames")
            .field("limit", &self.framed.codec().max_frame_length())
            .finish_non_exhaustive()
    }
}

/// The reading half of [`Frames`].
pub struct FrameReader<S = TlsStream<TcpStream>> {
    stream: SplitStream<Framed<S, LengthDelimitedCodec>>,
    limit: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameReader<S> {
    /// Receives a message as JSON. Cancel-safe.
    ///
    /// # Errors
    /// As [`Frames::recv`].
    pub async fn recv<T: DeserializeOwned>(
        &mut self,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<T, FrameError> {
        decode(&self.recv_bytes(deadline).await?)
    }

    /// Receives one frame as it is. Cancel-safe.
    ///
    /// # Errors
    /// As [`Frames::recv_bytes`].
    pub async fn recv_bytes(
        &mut self,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<BytesMut, FrameError> {
        take(&mut self.stream, deadline.into(), self.limit).await
    }
}

impl<S> fmt::Debug for FrameReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The writing half of [`Frames`].
pub struct FrameWriter<S = TlsStream<TcpStream>> {
    sink: SplitSink<Framed<S, LengthDelimitedCodec>, Bytes>,
    limit: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameWriter<S> {
    /// Sends a message as JSON.
    ///
    /// # Errors
    /// As [`Frames::send`].
    pub async fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), FrameError> {
        self.send_bytes(encode(message)?).await
    }

    /// Sends raw bytes as one frame.
    ///
    /// # Errors
    /// As [`Frames::send`].
    pub async fn send_bytes(&mut self, frame: Bytes) -> Result<(), FrameError> {
        put(&mut self.sink, frame, self.limit).await
    }
}

impl<S> fmt::Debug for FrameWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Why a frame was not sent or received. The connection is of no further use, except after a send that was
/// [`FrameError::TooLong`] or [`FrameError::Malformed`]: then nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer closed the connection, or its process ended.
    #[error("connection closed by the peer")]
    Closed,
    /// The frame is longer than this peer may send or get.
    #[error("frame longer than {limit} bytes")]
    TooLong {
        /// The longest frame at this moment.
        limit: usize,
    },
    /// The frame is not the expected message, or the message cannot be written as JSON.
    #[error("malformed message: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Nothing arrived, or nothing could be sent, in time.
    #[error("no progress within {after:?}")]
    Deadline {
        /// How long the wait was.
        after: Duration,
    },
    /// The connection broke, or TLS refused it.
    #[error("connection failed: {0}")]
    Io(#[source] io::Error),
}

impl FrameError {
    fn of_io(error: io::Error, limit: usize) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<LengthDelimitedCodecError>()) {
            return Self::TooLong { limit };
        }
        let kind = error.kind();
        let closed =
            [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        if closed.contains(&kind) { Self::Closed } else { Self::Io(error) }
    }
}

fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Bytes, FrameError> {
    serde_json::to_vec(message).map(Bytes::from).map_err(FrameError::Malformed)
}

fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(frame).map_err(FrameError::Malformed)
}

async fn put(
    sink: &mut (impl Sink<Bytes, Error = io::Error> + Unpin),
    frame: Bytes,
    limit: usize,
) -> Result<(), FrameError> {
    if frame.len() > limit {
        return Err(FrameError::TooLong { limit });
    }
    match timeout(WRITE_DEADLINE, sink.send(frame)).await {
        Ok(sent) => sent.map_err(|error| FrameError::of_io(error, limit)),
        Err(_) => Err(FrameError::Deadline { after: WRITE_DEADLINE }),
    }
}

async fn take(
    stream: &mut (impl Stream<Item = io::Result<BytesMut>> + Unpin),
    deadline: Option<Duration>,
    limit: usize,
) -> Result<BytesMut, FrameError> {
    let next = match deadline {
        None => stream.next().await,
        Some(after) => timeout(after, stream.next()).await.map_err(|_| FrameError::Deadline { after })?,
    };
    next.ok_or(FrameError::Closed)?.map_err(|error| FrameError::of_io(error, limit))
}

/// A peer that reads nothing for this long is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
