//! A member of a memberlist or serf cluster on the command line: one line of JSON per event.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod options;
mod report;

use std::error::Error;
use std::process::ExitCode;

use overlay_gossip::tokio::Agent;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;
use crate::report::{print, print_members};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => match run(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("agent: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            println!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("agent: {error} (see --help)");
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let Options { config, serf, bind, advertise, join } = options;
    let (agent, mut events) = match serf {
        Some(serf) => Agent::bind_serf(config, serf, bind, advertise).await?,
        None => Agent::bind(config, bind, advertise).await?,
    };
    eprintln!("agent: {} listens on {} (UDP and TCP)", agent.name(), agent.local_addr());
    agent.join(join);
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut listening = true;
    loop {
        tokio::select! {
            Some(event) = events.recv() => print(&event),
            line = lines.next_line(), if listening => match line {
                Ok(Some(line)) => {
                    if obey(&agent, &line) {
                        break;
                    }
                }
                // The commands have ended; the agent goes on.
                Ok(None) | Err(_) => listening = false,
            },
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    agent.leave().await;
    while let Ok(event) = events.try_recv() {
        print(&event);
    }
    agent.shutdown().await;
    // Standard input cannot be waited for without a thread that nothing ends.
    std::process::exit(0);
}

/// Does what a line says; `true`: leave.
fn obey(agent: &Agent, line: &str) -> bool {
    let mut words = line.trim().splitn(3, ' ');
    match (words.next().unwrap_or_default(), words.next(), words.next()) {
        ("leave", None, None) => return true,
        ("members", None, None) => print_members(&agent.members()),
        ("event", Some(name), text) => {
            let text = text.unwrap_or_default().to_owned();
            if let Err(error) = agent.send_event(name, text.into(), false) {
                eprintln!("agent: {error}");
            }
        }
        ("join", Some(_), _) => {
            for peer in line.split_whitespace().skip(1) {
                match peer.parse() {
                    Ok(peer) => agent.join(vec![peer]),
                    Err(_) => eprintln!("agent: {peer} is not IP:PORT"),
                }
            }
        }
        ("", None, None) => {}
        _ => eprintln!("agent: commands are: members, event NAME TEXT, join IP:PORT ..., leave"),
    }
    false
}
