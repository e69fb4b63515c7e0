//! A member on the command line: prints each event as a line of JSON, leaves on SIGTERM.
//!
//! `agent --bind IP:PORT --name N [--join IP:PORT]... [--key BASE64]... [--profile lan|local|wan|fast] [--serf]`
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "it prints what it knows, and the rest as it is"
)]

use std::error::Error;
use std::net::SocketAddr;

use overlay_gossip::tokio::Agent;
use overlay_gossip::{Config, Event, Key, NodeName, Profile, Vsn};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (config, bind, join) = arguments()?;
    let (agent, mut events) = Agent::bind(config, bind, bind).await?;
    agent.join(join);
    let mut term = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            Some(event) = events.recv() => println!("{}", json(&event)),
            _ = term.recv() => break,
        }
    }
    agent.leave().await;
    while let Ok(event) = events.try_recv() {
        println!("{}", json(&event));
    }
    agent.shutdown().await;
    Ok(())
}

fn arguments() -> Result<(Config, SocketAddr, Vec<SocketAddr>), Box<dyn Error>> {
    let mut config = Config::new(NodeName::new(format!("agent-{}", std::process::id()))?, Profile::Lan);
    let (mut bind, mut join) = ("127.0.0.1:7946".parse()?, Vec::new());
    let mut serf = false;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--serf" {
            serf = true;
            continue;
        }
        let value = args.next().ok_or(format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--bind" => bind = value.parse()?,
            "--name" => config.name = NodeName::new(value)?,
            "--join" => join.push(value.parse()?),
            "--key" => config.keys.push(Key::new(base64(&value).ok_or("not base64")?)?),
            "--profile" => {
                let profile = match value.as_str() {
                    "lan" => Profile::Lan,
                    "local" => Profile::Local,
                    "wan" => Profile::Wan,
                    "fast" => Profile::Fast,
                    other => return Err(format!("no profile {other}").into()),
                };
                config = Config { keys: config.keys.clone(), ..Config::new(config.name.clone(), profile) };
            }
            other => return Err(format!("no flag {other}").into()),
        }
    }
    if serf {
        config.vsn = Vsn::SERF;
    }
    Ok((config, bind, join))
}

fn json(event: &Event) -> String {
    let line = |kind: &str, name: &str, more: String| {
        format!("{{\"event\":{kind:?},\"name\":{}{more}}}", quoted(name))
    };
    let plain = String::new;
    match event {
        Event::MemberUp { name, addr } => line("up", name.as_str(), format!(",\"addr\":\"{addr}\"")),
        Event::MemberUpdated { name, addr } => {
            line("updated", name.as_str(), format!(",\"addr\":\"{addr}\""))
        }
        Event::MemberSuspect { name, by } => {
            line("suspect", name.as_str(), format!(",\"by\":{}", quoted(by.as_str())))
        }
        Event::MemberRefuted { name } => line("refuted", name.as_str(), plain()),
        Event::MemberDown { name, evidence } => {
            line("down", name.as_str(), format!(",\"evidence\":{}", quoted(&format!("{evidence:?}"))))
        }
        Event::MemberLeft { name } => line("left", name.as_str(), plain()),
        Event::UdpBlocked { name } => line("udp-blocked", name.as_str(), plain()),
        other => format!("{{\"event\":\"other\",\"text\":{}}}", quoted(&format!("{other:?}"))),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        if !c.is_control() {
            out.push(c);
        }
    }
    out + "\""
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(out)
}
