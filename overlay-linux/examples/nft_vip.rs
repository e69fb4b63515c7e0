//! A virtual address in front of two backends, in a network namespace of its own: no `nft` binary, no daemon.
//!
//! `cargo run -p overlay-linux --example nft_vip` (as root: it makes a namespace)
#![allow(clippy::disallowed_types, reason = "an example with real sockets")]
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use overlay_linux::netns::NetNs;
use overlay_linux::nft::{
    BaseChain, Chain, Field, Hook, NatTo, Nft, NftError, Rule, Ruleset, Spread, Stmt, TableKey,
};

const VIP: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const BACKENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
const PORT: u16 = 8080;

fn main() -> Result<(), Box<dyn Error>> {
    let netns = match NetNs::create() {
        Ok(netns) => netns,
        Err(error) => {
            println!("skipped: no network namespace: {error}");
            return Ok(());
        }
    };
    let mut nft = Nft::open_in(&netns)?;
    netns.run(|| demonstrate(&mut nft).map_err(|error| error.to_string()))??;
    Ok(())
}

fn demonstrate(nft: &mut Nft) -> Result<(), Box<dyn Error>> {
    for backend in BACKENDS {
        let listener = TcpListener::bind((backend, PORT))?;
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(backend.to_string().as_bytes());
            }
        });
    }
    program(nft, &BACKENDS)?;
    println!("two backends:  {} {} {} {}", ask()?, ask()?, ask()?, ask()?);
    program(nft, &BACKENDS)?;
    program(nft, BACKENDS.get(1..).unwrap_or_default())?;
    println!("one backend:   {} {}", ask()?, ask()?);
    println!("clean up:      {}", nft.clear()?.ops.join(", "));
    Ok(())
}

/// Says what is wanted; only the difference is sent.
fn program(nft: &mut Nft, backends: &[Ipv4Addr]) -> Result<(), NftError> {
    let backends: Vec<IpAddr> = backends.iter().copied().map(IpAddr::V4).collect();
    let to_backend = Rule::new()
        .when(Field::IpDestination, VIP)
        .then(Stmt::DestinationNat(NatTo::addresses(Spread::RoundRobin, &backends)));
    let mut ruleset = Ruleset::default();
    ruleset
        .table(TableKey::ip("vips"))
        .chain("out", Chain::base(BaseChain::nat(Hook::Output, -100)).rule(to_backend));
    println!("sync:          {:?}", nft.sync(&ruleset)?.ops);
    Ok(())
}

fn ask() -> std::io::Result<String> {
    let mut answer = String::new();
    TcpStream::connect(SocketAddr::from((VIP, PORT)))?.read_to_string(&mut answer)?;
    Ok(answer)
}
