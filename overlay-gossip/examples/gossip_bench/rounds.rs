//! Each kind of cluster takes its turn, in each round.

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use crate::args::{Args, Peer};
use crate::cluster::{Cluster, Spread};
use crate::cost;
use crate::process;
use crate::report::{Report, Row};

pub(crate) async fn run(args: &Args) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new(args.nodes(), args.rounds);
    let peers = present(args, &mut report)?;
    for round in 1..=args.rounds {
        let mut order = peers.clone();
        if round % 2 == 0 {
            order.reverse();
        }
        for peer in order {
            eprint!("round {round} of {}, {:<7}", args.rounds, peer.name());
            turn(args, peer, &mut report).await?;
            eprintln!("; load {:.1}", cost::load().unwrap_or(f64::NAN));
        }
    }
    Ok(report)
}

/// Those kinds that can be started here.
fn present(args: &Args, report: &mut Report) -> Result<Vec<Peer>, Box<dyn Error>> {
    let serf = Command::new("serf").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let serf = serf.is_ok_and(|status| status.success());
    let mut peers = Vec::new();
    for peer in &args.peers {
        if peer.needs_serf() && !serf {
            eprintln!("absent: {} (install serf)", peer.name());
            report.absent.push(peer.name());
        } else if !peers.contains(peer) {
            peers.push(*peer);
        }
    }
    if peers.iter().any(|peer| *peer != Peer::Serf) {
        process::program()?;
    }
    Ok(peers)
}

async fn turn(args: &Args, peer: Peer, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::start(peer, args.nodes()).await?;
    let before = cluster.totals();
    let storm = cluster.storm().await?;
    let used = cluster.totals().since(before);
    note(report, (peer, Row::StormLast), &storm, "join storm");
    report.add(peer, Row::StormP50, storm.percent(50));
    report.add(peer, Row::StormP99, storm.percent(99));
    report.add(peer, Row::StormBytes, used.bytes / 1000.0 / args.nodes() as f64);
    report.add(peer, Row::StormProcessor, 1000.0 * used.processor / args.nodes() as f64);
    eprint!("; storm {:.2} s", storm.last());
    sleep(Duration::from_secs(args.settle.into())).await;
    if args.idle > 0 {
        let idle = cluster.idle(Duration::from_secs(args.idle.into())).await;
        report.add(peer, Row::IdleRss, idle.memory.rss);
        report.add(peer, Row::IdlePss, idle.memory.pss);
        report.add(peer, Row::IdleProcessor, idle.processor);
        report.add(peer, Row::IdleBytes, idle.bytes);
        report.add(peer, Row::IdlePackets, idle.packets);
        report.add(peer, Row::IdleSuspicions, idle.suspicions as f64);
        eprint!("; idle {:.1} MiB, {:.3} %, {:.0} B/s", idle.memory.rss, idle.processor, idle.bytes);
    }
    let pause = Duration::from_secs(args.settle.min(3).into());
    for _ in 0..args.kills {
        if cluster.up() > 2 {
            let kill = cluster.kill(pause).await?;
            note(report, (peer, Row::KillLast), &kill, "a death");
            report.add(peer, Row::KillFirst, kill.first());
            eprint!("; kill {:.2} s", kill.last());
        }
    }
    let event = cluster.event().await?;
    note(report, (peer, Row::EventLast), &event, "a user event");
    if cluster.up() > 1 {
        let leave = cluster.leave().await?;
        note(report, (peer, Row::LeaveLast), &leave, "a goodbye");
    }
    cluster.board.clear();
    report.add(peer, Row::FalseDeaths, cluster.board.false_deaths as f64);
    report.add(peer, Row::Load, cost::load().unwrap_or(f64::NAN));
    cluster.end().await;
    Ok(())
}

/// The time of the last one; if not all came to know, that is a failure.
fn note(report: &mut Report, (peer, row): (Peer, Row), spread: &Spread, what: &str) {
    report.add(peer, row, spread.last());
    if !spread.complete {
        report.failures.push(format!(
            "{}: {what} is not known to all after {:.0} s",
            peer.name(),
            spread.last()
        ));
    }
}
