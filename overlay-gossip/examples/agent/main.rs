//! A member of a memberlist or serf cluster on the command line: one line of JSON per event.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod commands;
mod options;
mod report;

use std::error::Error;
use std::process::ExitCode;

use overlay_gossip::tokio::Agent;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::Commands;
use crate::options::Options;
use crate::report::print;

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
    let bound = match serf {
        Some(serf) => Agent::bind_serf(config, serf, bind, advertise).await,
        None => Agent::bind(config, bind, advertise).await,
    };
    let (agent, mut events) = bound.map_err(|error| format!("{bind}: {error}"))?;
    eprintln!("agent: {} listens on {} (UDP and TCP)", agent.name(), agent.local_addr());
    agent.join(join);
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut listening = true;
    let mut commands = Commands::new(agent.clone());
    loop {
        tokio::select! {
            Some(event) = events.recv() => {
                print(&event);
                commands.note(event);
            }
            line = lines.next_line(), if listening => match line {
                Ok(Some(line)) => {
                    if commands.obey(&line).await {
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
