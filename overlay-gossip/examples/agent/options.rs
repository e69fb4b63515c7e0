//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use overlay_gossip::{Config, Key, NodeName, Profile, TableFormat, Vsn, serf};

pub(crate) const HELP: &str = "\
agent: a member of a memberlist or serf cluster; one line of JSON per event on stdout

usage: agent --bind IP:PORT --name NAME [--join IP:PORT]... [options]

  --bind IP:PORT       where to listen, UDP and TCP (default 127.0.0.1:7946; port 0 finds a free one)
  --advertise IP:PORT  where others reach it, if that is another address
  --name NAME          its name, unique in the cluster (default agent-PID)
  --join IP:PORT       a member to join; tried again until it answers; may be given several times
  --key BASE64         the cluster's key (16, 24 or 32 bytes, as of `serf keygen`); the first one seals, all of them open
  --label TEXT         the cluster's label (memberlist 0.3 and later)
  --serf               speak serf, too: join and leave intents, user events, tags, questions about keys
  --tag KEY=VALUE      a tag for `serf members` to show (implies --serf); may be given several times
  --compress           pack what gets smaller by it, as serf does
  --profile lan|local|wan   the timers of memberlist's profile of that name (default lan)
  --profile fast       a quarter to a half of those for a LAN: a silent host is known dead in two to three seconds;
                       twice the traffic
  --fast               all that this crate does beyond memberlist, with those timers; serf understands it (default):
                       a killed process is known dead in about a second, all know all a second after they joined
  --compat             nothing that memberlist does not do
  --tables native|networkdb  the format of the tables (default native); networkdb is Docker's, and excludes --serf

commands on stdin, one a line:
  members              prints {\"event\":\"members\",\"members\":[{\"name\",\"addr\",\"state\",...}]}
  join IP:PORT ...     joins
  event NAME TEXT      tells all members, with --serf
  query NAME [TEXT] [--node NAME]... [--tag KEY=EXPRESSION]...   asks all members, or those named, with --serf
  answer NAME TEXT     answers the last question of that name
  publish NETWORK[/TABLE] KEY VALUE   writes a record of this node's and joins the network (table: endpoints)
  withdraw NETWORK[/TABLE] KEY        takes it back
  records NETWORK[/TABLE]             prints {\"event\":\"records\",...}: what the nodes of the network have published
  join-network NETWORK, leave-network NETWORK   hears the records of others, or no more
  leave                leaves gracefully and exits; so do SIGTERM and SIGINT. End of input does not.

events: {\"t_ms\":MILLISECONDS SINCE 1970,\"event\":KIND,\"name\":NAME,...} where KIND is member-join, member-update,
suspect, refuted, member-failed, member-leave, user, query, query-ack, query-answer, query-ended, joined, join-failed,
keys, left, and some more.

try it:
  agent --bind 127.0.0.1:7946 --name a --serf &
  agent --bind 127.0.0.2:7946 --name b --serf --join 127.0.0.1:7946
  serf agent -node=c -bind=127.0.0.3:7946 -rpc-addr=127.0.0.3:7373 -join=127.0.0.1:7946
  serf query -rpc-addr=127.0.0.3:7373 uptime      then type to a: answer uptime 12";

pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) serf: Option<serf::Options>,
    pub(crate) bind: SocketAddr,
    pub(crate) advertise: SocketAddr,
    pub(crate) join: Vec<SocketAddr>,
}

/// What the arguments ask for; `None`: help.
pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut name = format!("agent-{}", std::process::id());
    let (mut bind, mut advertise) = (SocketAddr::from(([127, 0, 0, 1], 7946)), None);
    let (mut join, mut keys, mut label, mut compress) = (Vec::new(), Vec::new(), String::new(), false);
    let (mut speak, mut tags, mut profile, mut fast) = (false, serf::Tags::new(), Profile::Lan, false);
    let (mut exact, mut table_format) = (false, TableFormat::Native);
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "-h" | "--help" => return Ok(None),
            "--serf" => speak = true,
            "--compress" => compress = true,
            "--fast" => fast = true,
            "--compat" => exact = true,
            _ => {
                let value = args.next().ok_or_else(|| format!("{flag} needs a value, or is no option"))?;
                let bad = |why: &dyn std::fmt::Display| format!("{flag} {value}: {why}");
                match flag.as_str() {
                    "--bind" => bind = value.parse().map_err(|_| bad(&"not IP:PORT"))?,
                    "--advertise" => advertise = Some(value.parse().map_err(|_| bad(&"not IP:PORT"))?),
                    "--join" => join.push(value.parse().map_err(|_| bad(&"not IP:PORT"))?),
                    "--name" => name.clone_from(&value),
                    "--key" => keys.push(Key::from_base64(&value).map_err(|error| bad(&error))?),
                    "--label" => label.clone_from(&value),
                    "--profile" => {
                        profile = parse_profile(&value).ok_or_else(|| bad(&"lan, local, wan or fast"))?
                    }
                    "--tables" => {
                        table_format = parse_tables(&value).ok_or_else(|| bad(&"native or networkdb"))?
                    }
                    "--tag" => {
                        speak = true;
                        let (key, value) = value.split_once('=').ok_or_else(|| bad(&"not KEY=VALUE"))?;
                        tags.insert(key, value).map_err(|error| bad(&error))?;
                    }
                    _ => return Err(format!("no option {flag}")),
                }
            }
        }
    }
    if fast && exact {
        return Err("--fast and --compat exclude each other".into());
    }
    if speak && table_format == TableFormat::NetworkDb {
        return Err("--tables networkdb excludes --serf and --tag: no node speaks both".into());
    }
    let name = NodeName::new(&name).map_err(|error| format!("--name {name}: {error}"))?;
    let config = Config::new(name, profile);
    let config = if exact { config.without_improvements() } else { config };
    let vsn = if speak { Vsn::SERF } else { Vsn::MEMBERLIST };
    let config = Config { keys, label, compress, vsn, table_format, ..config };
    let serf = speak.then(|| coalescing(tags, exact));
    Ok(Some(Options { config, serf, bind, advertise: advertise.unwrap_or(bind), join }))
}

/// As the serf agent's if that is wanted exactly; else events are delivered at once.
fn coalescing(tags: serf::Tags, exact: bool) -> serf::Options {
    let (quiescent, coalesce) = if exact { (1, 3) } else { (0, 0) };
    serf::Options { tags, quiescent: Duration::from_secs(quiescent), coalesce: Duration::from_secs(coalesce) }
}

fn parse_tables(text: &str) -> Option<TableFormat> {
    match text {
        "native" => Some(TableFormat::Native),
        "networkdb" => Some(TableFormat::NetworkDb),
        _ => None,
    }
}

fn parse_profile(text: &str) -> Option<Profile> {
    match text {
        "lan" => Some(Profile::Lan),
        "local" => Some(Profile::Local),
        "wan" => Some(Profile::Wan),
        "fast" => Some(Profile::Fast),
        _ => None,
    }
}
