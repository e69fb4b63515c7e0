//! As much of serf's RPC as is needed: maps of MessagePack over TCP, a header and a body each way.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A connection to a serf agent. Commands are sent without waiting for what comes of them.
#[derive(Debug)]
pub(crate) struct Rpc {
    stream: TcpStream,
    seq: u8,
}

impl Rpc {
    /// Tries until the agent answers.
    pub(crate) async fn connect(ip: Ipv4Addr) -> io::Result<Self> {
        for _ in 0..TRIES {
            if let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect((ip, PORT))).await {
                stream.set_nodelay(true)?;
                let mut hello = header("handshake", 0);
                hello.extend([0x81]);
                text(&mut hello, "Version");
                hello.push(1);
                stream.write_all(&hello).await?;
                let mut answer = [0; 64];
                if timeout(PATIENCE, stream.read(&mut answer)).await?? > 0 {
                    return Ok(Self { stream, seq: 1 });
                }
            }
            sleep(PAUSE).await;
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    pub(crate) async fn join(&mut self, peer: &str) -> io::Result<()> {
        let mut body = vec![0x82];
        text(&mut body, "Existing");
        body.push(0x91);
        text(&mut body, peer);
        text(&mut body, "Replay");
        body.push(FALSE);
        self.send("join", &body).await
    }

    pub(crate) async fn event(&mut self, name: &str, payload: &str) -> io::Result<()> {
        let mut body = vec![0x83];
        text(&mut body, "Name");
        text(&mut body, name);
        text(&mut body, "Payload");
        text(&mut body, payload);
        text(&mut body, "Coalesce");
        body.push(FALSE);
        self.send("event", &body).await
    }

    pub(crate) async fn leave(&mut self) -> io::Result<()> {
        self.send("leave", &[]).await
    }

    async fn send(&mut self, command: &str, body: &[u8]) -> io::Result<()> {
        let mut message = header(command, self.seq);
        message.extend(body);
        self.seq = self.seq % 100 + 1;
        self.stream.write_all(&message).await
    }
}

fn header(command: &str, seq: u8) -> Vec<u8> {
    let mut out = vec![0x82];
    text(&mut out, "Command");
    text(&mut out, command);
    text(&mut out, "Seq");
    out.push(seq); // below 128: itself
    out
}

/// A short string; longer ones are cut.
fn text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes().get(..31).unwrap_or(text.as_bytes());
    out.push(0xa0 | u8::try_from(bytes.len()).unwrap_or_default());
    out.extend(bytes);
}

const PORT: u16 = 7373;
const FALSE: u8 = 0xc2;
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);
