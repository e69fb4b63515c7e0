//! The built-in HTTP program: says which task answered, on which node, and who asked.
//!
//! `GET /` is a line for people, `GET /json` an object for scripts, `GET /bytes/N` sends N bytes (64 MiB at most).
//! Datagrams to the port are answered, too. Listens on `$PORT`, 8080 by default. Ends at once on
//! SIGTERM, finishing no more than the answers under way.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::sys::{
    signal::Signal,
    signalfd::{SigSet, SignalFd},
};

use super::{Launch, Program};

/// First argument of the program's process.
pub(super) const ROLE: &str = "task-hello";

/// How the catalog starts it.
pub(super) fn program(launch: &Launch) -> Program {
    let args = vec![ROLE.to_owned(), launch.name.clone(), launch.node.clone()];
    Program { path: "/proc/self/exe".to_owned(), args }
}

/// `task-hello <task name> <node name>`
pub(super) fn main(args: &[OsString]) -> i32 {
    let text = |i: usize| args.get(i).map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let me = Arc::new(Identity { task: text(0), node: text(1) });
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    match serve(port, &me) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("hello: cannot serve on port {port}: {error}");
            1
        }
    }
}

#[derive(Debug)]
struct Identity {
    task: String,
    node: String,
}

/// Connections served at once; more are closed unanswered.
const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: u64 = 8 * 1024;
const IDLE: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_types, reason = "a program of its own, not a machine")]
type Socket = std::net::TcpStream;

#[expect(clippy::disallowed_types, reason = "a program of its own, not a machine")]
fn serve(port: u16, me: &Arc<Identity>) -> io::Result<()> {
    end_on_sigterm()?;
    let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    answer_datagrams(port, me)?;
    eprintln!("{} on {} listens on port {port}", me.task, me.node);
    let open = Arc::new(AtomicUsize::new(0));
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (me, open) = (Arc::clone(me), Arc::clone(&open));
        std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            let _ = converse(&socket, &me);
            open.fetch_sub(1, Ordering::Relaxed);
        })?;
    }
    Ok(())
}

/// Any datagram to the same port is answered with the line for people.
#[expect(clippy::disallowed_types, reason = "a program of its own, not a machine")]
fn answer_datagrams(port: u16, me: &Arc<Identity>) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    let me = Arc::clone(me);
    std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let line = format!("hello from {} on {}, you are {}", me.task, me.node, plain(peer).ip());
            let _ = socket.send_to(line.as_bytes(), peer);
        }
    })?;
    Ok(())
}

/// PID 1 has no default action for SIGTERM: take it from a descriptor.
fn end_on_sigterm() -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block()?; // inherited by every thread made later
    let signals = SignalFd::new(&set)?;
    std::thread::spawn(move || {
        let _ = signals.read_signal();
        std::process::exit(0);
    });
    Ok(())
}

fn converse(socket: &Socket, me: &Identity) -> io::Result<()> {
    socket.set_read_timeout(Some(IDLE))?;
    socket.set_write_timeout(Some(IDLE))?;
    socket.set_nodelay(true)?;
    let (local, peer) = (plain(socket.local_addr()?), plain(socket.peer_addr()?));
    let mut reader = BufReader::new(socket);
    while let Some(request) = read_request(&mut reader)? {
        let (status, kind, body) = respond(&request, me, (local, peer));
        let close = request.close;
        let connection = if close { "close" } else { "keep-alive" };
        let bulk = bulk(&request.path);
        let (status, kind) =
            if bulk.is_some() { ("200 OK", "application/octet-stream") } else { (status, kind) };
        let length = bulk.unwrap_or(body.len() as u64);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
        );
        let mut wire = socket;
        match bulk {
            _ if request.method == "HEAD" => wire.write_all(head.as_bytes())?,
            None => wire.write_all((head + &body).as_bytes())?,
            Some(length) => {
                wire.write_all(head.as_bytes())?;
                io::copy(&mut io::repeat(b'x').take(length), &mut wire)?;
            }
        }
        if close {
            break;
        }
    }
    Ok(())
}

fn respond(
    request: &Request,
    me: &Identity,
    (local, peer): (SocketAddr, SocketAddr),
) -> (&'static str, &'static str, String) {
    let (own, client) = (local.ip(), peer.ip());
    match request.path.as_str() {
        "/json" => {
            let body = serde_json::json!({
                "task": me.task, "node": me.node, "address": own.to_string(),
                "client": client.to_string(), "client_port": peer.port(),
            });
            ("200 OK", "application/json", body.to_string())
        }
        "/" => {
            let body = format!("hello from {} on {} ({own}), you are {client}", me.task, me.node);
            ("200 OK", "text/plain; charset=utf-8", body)
        }
        _ => ("404 Not Found", "text/plain; charset=utf-8", "try / or /json".to_owned()),
    }
}

/// How many bytes `/bytes/N` asks for.
fn bulk(path: &str) -> Option<u64> {
    path.strip_prefix("/bytes/")?.parse().ok().filter(|length| *length <= 64 << 20)
}

#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    close: bool,
}

/// Reads one request head; bodies are not accepted. `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut request =
        Request { method: method.to_owned(), path: path.to_owned(), close: version == "HTTP/1.0" };
    loop {
        let mut header = String::new();
        if head.read_line(&mut header)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = header.trim_end();
        if header.is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = header.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("connection") {
            request.close = value.trim().eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("content-length") && value.trim() != "0" {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// An IPv4 address as itself, not as `::ffff:…`.
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_a_second_one_follows_on_the_same_connection() {
        let mut wire =
            &b"GET /json HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n"[..];
        let first = read_request(&mut wire).unwrap().unwrap();
        assert_eq!((first.path.as_str(), first.close), ("/json", false));
        assert!(read_request(&mut wire).unwrap().unwrap().close);
        assert!(read_request(&mut wire).unwrap().is_none());
    }

    #[test]
    fn garbage_and_endless_headers_are_refused() {
        assert!(read_request(&mut &b"\x16\x03\x01\n"[..]).is_err());
        let endless = [b"GET / HTTP/1.1\r\n".as_slice(), &vec![b'a'; 64 * 1024]].concat();
        assert!(read_request(&mut endless.as_slice()).is_err());
    }
}
