//! Overlays of others that run in user space, between the two hosts themselves: no container, no bridge, no veth in the
//! way, which is to their advantage.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::super::error::BenchError;
use super::super::lab::{Built, Host, Site, dress, net, until};
use super::super::program::{self, FASTD, NEBULA, NEBULA_CERT, Program, Running, TINCD, WG, WIREGUARD_GO};
use crate::clock;

/// nebula 1.x: AES-GCM, Noise, TUN.
///
/// # Errors
///
/// It is absent, or did not start.
pub(super) fn nebula(site: &Site) -> Result<Built, BenchError> {
    NEBULA.find()?;
    let hosts = site.hosts()?;
    let [a, b] = &hosts;
    let dir = site.directory("keys")?;
    let mut ca = NEBULA_CERT.command()?;
    ca.current_dir(&dir).args(["ca", "-name", "bench"]);
    program::finish(&a.netns, ca, "")?;
    let mut running = Vec::new();
    for (host, far, name) in [(a, b, "one"), (b, a, "two")] {
        let mut sign = NEBULA_CERT.command()?;
        sign.current_dir(&dir).args(["sign", "-name", name, "-ip", &net(inside(host)).to_string()]);
        program::finish(&host.netns, sign, "")?;
        let dir = dir.display();
        let config = format!(
            "pki: {{ca: {dir}/ca.crt, cert: {dir}/{name}.crt, key: {dir}/{name}.key}}\n\
             static_host_map: {{'{far_inside}': ['{far}:4242']}}\n\
             lighthouse: {{am_lighthouse: false}}\n\
             listen: {{host: 0.0.0.0, port: 4242}}\n\
             tun: {{dev: bench, mtu: 1400}}\n\
             logging: {{level: warning, format: text}}\n\
             firewall:\n  outbound: [{{port: any, proto: any, host: any}}]\n  \
             inbound: [{{port: any, proto: any, host: any}}]\n",
            far = far.addr,
            far_inside = inside(far),
        );
        let mut command = NEBULA.command()?;
        command.arg("-config").arg(written(site, &format!("{name}.yml"), &config)?);
        running.push(Running::start(&host.netns, command, &site.log())?);
        until(&host.netns, "bench", |dev| dev.up && !dev.addresses.is_empty())?;
    }
    Ok(built(hosts, running))
}

/// fastd: neither encrypted nor authenticated after its handshake, TAP.
///
/// # Errors
///
/// It is absent, or did not start.
pub(super) fn fastd(site: &Site) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [a, b] = &hosts;
    let keys = [key_pair(a)?, key_pair(b)?];
    let [(secret_a, public_a), (secret_b, public_b)] = &keys;
    let mut running = Vec::new();
    for (host, far, secret, public) in [(a, b, secret_a, public_b), (b, a, secret_b, public_a)] {
        let config = format!(
            "mode tap;\ninterface \"bench\";\nmtu 1450;\nmethod \"null\";\nlog level warn;\n\
             bind {}:10000;\nsecret \"{secret}\";\npeer \"far\" {{ key \"{public}\"; remote {}:10000; }}\n",
            host.addr, far.addr,
        );
        let mut command = FASTD.command()?;
        command.arg("--config").arg(written(site, &format!("{}.conf", host.addr), &config)?);
        running.push(Running::start(&host.netns, command, &site.log())?);
        dress(&host.netns, "bench", |link| link.with_mtu(1450_u16).with_address(net(inside(host))))?;
    }
    Ok(built(hosts, running))
}

/// `WireGuard` in user space: ChaCha20-Poly1305, TUN.
///
/// # Errors
///
/// It is absent, or did not start.
pub(super) fn wireguard_go(site: &Site) -> Result<Built, BenchError> {
    WIREGUARD_GO.find()?;
    WG.find()?;
    let hosts = site.hosts()?;
    let [a, b] = &hosts;
    let pair = |host: &Host| {
        let secret = WG.run(&host.netns, &["genkey"])?;
        let mut command = WG.command()?;
        command.arg("pubkey");
        let public = program::finish(&host.netns, command, &secret)?;
        Ok::<_, BenchError>((secret, public.trim().to_owned()))
    };
    let [(secret_a, public_a), (secret_b, public_b)] = &[pair(a)?, pair(b)?];
    let mut running = Vec::new();
    // Its control socket bears the name of the interface, and is no business of a network namespace.
    for (host, far, secret, public, dev) in
        [(a, b, secret_a, public_b, "bench1"), (b, a, secret_b, public_a, "bench2")]
    {
        let mut command = WIREGUARD_GO.command()?;
        command.args(["-f", dev]).env("LOG_LEVEL", "error");
        running.push(Running::start(&host.netns, command, &site.log())?);
        dress(&host.netns, dev, |link| link.with_mtu(1420_u16).with_address(net(inside(host))))?;
        let key = written(site, &format!("{dev}.key"), secret)?;
        let (endpoint, allowed) = (format!("{}:51820", far.addr), format!("{}/32", inside(far)));
        let mut set = WG.command()?;
        set.args(["set", dev, "listen-port", "51820", "private-key"]).arg(key);
        set.args(["peer", public, "endpoint", &endpoint, "allowed-ips", &allowed]);
        until_done(host, &set)?;
    }
    Ok(built(hosts, running))
}

/// tinc 1.0: AES-256-CBC by default, TAP.
///
/// # Errors
///
/// It is absent, or did not start.
pub(super) fn tinc(site: &Site) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [a, b] = &hosts;
    let mut running = Vec::new();
    let of = |name: &str| site.directory(name);
    let dirs = [of("one")?, of("two")?];
    let [dir_a, dir_b] = &dirs;
    for (host, dir, name, far) in [(a, dir_a, "one", "two"), (b, dir_b, "two", "one")] {
        let config = format!("Name = {name}\nMode = switch\nInterface = bench\nConnectTo = {far}\n");
        fs::create_dir_all(dir.join("hosts")).map_err(BenchError::system("make a directory"))?;
        write(&dir.join("tinc.conf"), &config)?;
        write(&dir.join("hosts").join(name), &format!("Address = {}\n", host.addr))?;
        let mut keys = TINCD.command()?;
        keys.arg("-c").arg(dir).arg("-K2048");
        program::finish(&host.netns, keys, "\n\n")?;
    }
    for (from, to, name) in [(dir_a, dir_b, "one"), (dir_b, dir_a, "two")] {
        let (from, to) = (from.join("hosts").join(name), to.join("hosts").join(name));
        fs::copy(from, to).map_err(BenchError::system("copy a key"))?;
    }
    for (host, dir) in [(a, dir_a), (b, dir_b)] {
        let mut command = TINCD.command()?;
        command.arg("-D").arg("-c").arg(dir).arg(pid_file(dir));
        running.push(Running::start(&host.netns, command, &site.log())?);
        dress(&host.netns, "bench", |link| link.with_mtu(1400_u16).with_address(net(inside(host))))?;
    }
    Ok(built(hosts, running))
}

/// A host's address inside of the tunnel.
fn inside(host: &Host) -> Ipv4Addr {
    let [.., n] = host.addr.octets();
    Ipv4Addr::new(10, 0, 9, n)
}

fn built(hosts: [Host; 2], running: Vec<Running>) -> Built {
    let addr = inside(&hosts[1]);
    let [a, b] = hosts;
    Built { running, ..Built::between(a.netns, b.netns, addr) }
}

fn key_pair(host: &Host) -> Result<(String, String), BenchError> {
    let said = FASTD.run(&host.netns, &["--generate-key"])?;
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (field("Secret:"), field("Public:")) {
        (Some(secret), Some(public)) => Ok((secret.to_owned(), public.to_owned())),
        _ => Err(BenchError::program("fastd --generate-key", said)),
    }
}

/// The program makes its control socket a moment after its interface.
fn until_done(host: &Host, command: &Command) -> Result<(), BenchError> {
    let give_up = clock::now() + Duration::from_secs(3);
    loop {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args());
        match program::finish(&host.netns, again, "") {
            Err(_) if clock::now() < give_up => thread::sleep(Duration::from_millis(50)),
            done => return done.map(drop),
        }
    }
}

fn pid_file(dir: &Path) -> String {
    format!("--pidfile={}/pid", dir.display())
}

fn written(site: &Site, name: &str, text: &str) -> Result<std::path::PathBuf, BenchError> {
    let file = site.directory("config")?.join(name);
    write(&file, text)?;
    Ok(file)
}

fn write(file: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(file, text).map_err(BenchError::system("write a configuration"))
}

/// Whether all of these are installed.
pub(super) fn missing(programs: &[Program]) -> Option<String> {
    let absent: Vec<_> = programs.iter().filter(|program| program.find().is_err()).collect();
    let packages: Vec<_> = absent.iter().map(|program| program.package).collect();
    (!packages.is_empty()).then(|| format!("apt install {}", packages.join(" ")))
}
