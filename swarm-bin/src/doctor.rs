//! `swarm-bin doctor`: tries what this machine offers, for real, in namespaces that are thrown away.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use nix::unistd::geteuid;
use overlay_linux::link::{Desired, Link, LinkName, Netlink, Peer, Scope, Vxlan};
use overlay_linux::netns::NetNs;
use overlay_linux::nft::{BaseChain, Chain, Field, Hook, NatTo, Nft, Rule, Ruleset, Stmt, TableKey};
use overlay_linux::user::PacketSocket;
use overlay_linux::userns::{self, Namespaces, unshare};
use overlay_linux::{mount, process};
use serde::{Deserialize, Serialize};

use crate::out;
use crate::table::Table;

/// Says what this machine offers for a swarm, and what to do about what it lacks
///
/// Everything is tried in namespaces of its own; nothing on the machine is changed. Exit code 0 if the demo can run.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Prints a JSON list
    #[arg(long)]
    json: bool,
}

/// One thing that was tried.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Finding {
    /// What.
    what: String,
    /// Whether it works.
    works: bool,
    /// Whether nothing works without it.
    needed: bool,
    /// What was seen, or what to do.
    note: String,
}

impl DoctorArgs {
    /// Tries, and tells.
    pub(crate) fn run(self) -> ExitCode {
        let mut findings = vec![root()];
        findings.extend(probed());
        if self.json {
            out::line(serde_json::to_string(&findings).unwrap_or_default());
        } else {
            out::line(told(&findings));
        }
        let healthy = findings.iter().all(|finding| finding.works || !finding.needed);
        if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The hidden command: tries what changes the process for good; one line of JSON for each finding.
pub(crate) fn probe() -> ExitCode {
    if let Some(mounted) = mounted_only() {
        return if mounted { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let ordinary = !geteuid().is_root();
    let user = userns::enter_as_root().map(|()| "the demo needs no root".to_owned());
    say("user namespaces", ordinary, user.map_err(|error| error.to_string()));
    let made = unshare(Namespaces::NETWORK | Namespaces::MOUNT | Namespaces::HOSTNAME | Namespaces::IPC);
    let inside = made.is_ok();
    say("namespaces for network, mounts, host name, IPC", true, limits(made));
    if inside {
        for (what, needed, tried) in attempts() {
            say(what, needed, tried);
        }
        // Last: a process whose children live in another PID namespace cannot start threads.
        let made = unshare(Namespaces::PID);
        let inside = made.is_ok();
        say("namespace for processes", true, limits(made));
        if inside {
            say("/proc of one's own", true, proc());
        }
    }
    ExitCode::SUCCESS
}

fn limits(made: io::Result<()>) -> Result<String, String> {
    made.map(|()| String::new()).map_err(|error| {
        format!("{error}: look at the limits /proc/sys/user/max_*_namespaces, or run outside of a container")
    })
}

type Attempt = (&'static str, bool, Result<String, String>);

fn attempts() -> Vec<Attempt> {
    let module = |name: &str| format!("load it with `modprobe {name}`, or use a kernel that has it");
    let link = |name: &str, link: Link| one_link(name, link).map_err(|e| format!("{e}: {}", module(name)));
    let vni = || "4096".parse().map_err(|_| "no such VNI".to_owned());
    let vxlan = vni().and_then(|vni| link("vxlan", Link::vxlan(Vxlan::new(vni, Ipv4Addr::LOCALHOST.into()))));
    let veth = NetNs::create()
        .map_err(|error| error.to_string())
        .and_then(|netns| link("veth", Link::veth(Peer::new(Arc::new(netns), name("eth1")?))));
    vec![
        ("bridge", true, link("bridge", Link::bridge())),
        ("veth", true, veth),
        ("VXLAN", true, vxlan),
        ("macvlan on VXLAN", true, macvlan().map_err(|e| format!("{e}: {}", module("macvlan")))),
        ("packet sockets, for encrypted networks", false, packets()),
        ("nf_tables", true, table(filter()).map_err(|e| format!("{e}: {}", module("nf_tables")))),
        ("conntrack", true, table(tracked()).map_err(|e| format!("{e}: {}", module("nf_conntrack")))),
        (
            "nf_tables NAT",
            true,
            table(nat()).map_err(|e| format!("{e}: {}", module("nft_nat nft_chain_nat nft_masq"))),
        ),
    ]
}

/// How tasks are attached to the kernel's networks.
fn macvlan() -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (lower, upper) = (name("dr-tunnel")?, name("dr-task")?);
    let netns = Arc::new(NetNs::create().map_err(|error| text(&error))?);
    let tunnel =
        Vxlan::new("4097".parse().map_err(|_| "no such VNI".to_owned())?, Ipv4Addr::LOCALHOST.into());
    let task = Link::macvlan(lower.clone(), Peer::new(netns, name("eth0")?));
    links([(lower, Link::vxlan(tunnel)), (upper, task)])
}

/// How the user-space plane reads what tasks send.
fn packets() -> Result<String, String> {
    let netns = NetNs::create().map_err(|error| error.to_string())?;
    links([(name("dr-pair")?, Link::veth(Peer::new(Arc::new(netns), name("eth0")?)))])?;
    let netlink = Netlink::open().map_err(|error| error.to_string())?;
    let pair = netlink.interface("dr-pair").map_err(|error| error.to_string())?.ok_or("no pair")?;
    PacketSocket::open(pair.index)
        .map(|_| String::new())
        .map_err(|error| format!("{error}: load it with `modprobe af_packet`, or use a kernel that has it"))
}

fn name(text: &str) -> Result<LinkName, String> {
    LinkName::new(text).map_err(|error| error.to_string())
}

fn one_link(kind: &str, link: Link) -> Result<String, String> {
    links([(name(&format!("dr-{kind}"))?, link)])
}

fn links(wanted: impl IntoIterator<Item = (LinkName, Link)>) -> Result<String, String> {
    let desired = Desired { links: wanted.into_iter().collect(), ..Desired::default() };
    let netlink = Netlink::open().map_err(|error| error.to_string())?;
    let report = netlink.converge(&Scope::links(["dr-"]), &desired).map_err(|error| error.to_string())?;
    match report.failed.first() {
        Some((_, error)) => Err(error.to_string()),
        None => Ok(String::new()),
    }
}

fn table(chain: Chain) -> Result<String, String> {
    let mut ruleset = Ruleset::default();
    ruleset.table(TableKey::ip("doctor")).chain("tried", chain);
    let mut nft = Nft::open().map_err(|error| error.to_string())?;
    nft.sync(&ruleset).map_err(|error| error.to_string())?;
    nft.clear().map_err(|error| error.to_string())?;
    Ok(String::new())
}

fn filter() -> Chain {
    Chain::base(BaseChain::filter(Hook::Input, 0))
        .rule(Rule::new().when(Field::TcpDestination, 8080_u16).verdict(overlay_linux::nft::Verdict::Accept))
}

fn tracked() -> Chain {
    Chain::base(BaseChain::filter(Hook::Input, 0))
        .rule(Rule::new().when_any(Field::CtState, Field::NEW).verdict(overlay_linux::nft::Verdict::Accept))
}

fn nat() -> Chain {
    Chain::base(BaseChain::nat(Hook::Prerouting, -100)).rule(
        Rule::new()
            .when(Field::TcpDestination, 8080_u16)
            .then(Stmt::DestinationNat(NatTo::address(Ipv4Addr::new(10, 0, 0, 6)))),
    )
}

/// Starts this program once more as the first process of the PID namespace, where it mounts a `/proc`.
fn proc() -> Result<String, String> {
    let status = Command::new("/proc/self/exe").args(["doctor-probe"]).env(MOUNT_ONLY, "1").status();
    match status {
        Ok(status) if status.success() => Ok(String::new()),
        Ok(_) => Err("the /proc of this machine has parts masked: run outside of a container".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether this is the process that only mounts `/proc`; then it has tried, and this is how it went.
fn mounted_only() -> Option<bool> {
    std::env::var_os(MOUNT_ONLY)?;
    let tried = unshare(Namespaces::MOUNT)
        .and_then(|()| mount::make_private())
        .and_then(|()| mount::proc(Path::new("/proc")))
        .and_then(|()| process::ProcessId::of(1));
    Some(tried.is_ok())
}

fn say(what: &str, needed: bool, tried: Result<String, String>) {
    let works = tried.is_ok();
    let note = tried.unwrap_or_else(|why| why);
    let finding = Finding { what: what.to_owned(), works, needed, note };
    out::line(serde_json::to_string(&finding).unwrap_or_default());
}

fn root() -> Finding {
    let works = geteuid().is_root();
    let note = if works {
        "daemons can run on this machine itself"
    } else {
        "needed only for `swarm-bin daemon` outside of the demo: run it with sudo"
    };
    Finding { what: "root".to_owned(), works, needed: false, note: note.to_owned() }
}

fn probed() -> Vec<Finding> {
    let probe = Command::new("/proc/self/exe").arg("doctor-probe").stdin(Stdio::null()).output();
    let said = probe.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let findings: Vec<Finding> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if findings.is_empty() {
        let note = "this program cannot start itself again: is /proc mounted?".to_owned();
        return vec![Finding { what: "/proc".to_owned(), works: false, needed: true, note }];
    }
    findings
}

fn told(findings: &[Finding]) -> String {
    let mut table = Table::new(["WHAT", "", "NOTE"]);
    for finding in findings {
        let verdict = match (finding.works, finding.needed) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "no",
        };
        table.row([finding.what.clone(), verdict.to_owned(), finding.note.replace('\n', "; ")]);
    }
    let healthy = findings.iter().all(|finding| finding.works || !finding.needed);
    let end = if healthy { "The demo can run here: swarm-bin demo" } else { "The demo cannot run here yet." };
    format!("{}\n\n{end}", table.render())
}

/// Set for the process that only mounts `/proc`.
const MOUNT_ONLY: &str = "SWARM_BIN_DOCTOR_MOUNT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_stands_out() {
        let finding =
            |what: &str, works, needed| Finding { what: what.into(), works, needed, note: "n".into() };
        let good = [finding("root", false, false), finding("bridge", true, true)];
        assert!(told(&good).ends_with("swarm-bin demo"));
        let bad = [finding("VXLAN", false, true)];
        assert!(told(&bad).contains("MISSING") && told(&bad).ends_with("yet."));
    }
}
