//! Prints what packets of memberlist, serf and Docker's `NetworkDB` say, as JSON.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod layers;
mod networkdb;
mod value;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use overlay_gossip::Key;
use overlay_gossip::wire::Envelope;

const HELP: &str = "\
decode: what a packet of memberlist, serf or Docker's NetworkDB says, as JSON

usage: decode FILE.hex... [--key BASE64] [--stream]

  FILE.hex      the bytes as hexadecimal digits; spaces and lines that start with # are skipped
  --key BASE64  opens sealed packets (AES-GCM; 16, 24 or 32 bytes); may be given several times; plain ones are read
                all the same
  --stream      the bytes are one direction of a TCP stream, not a datagram; names with -stream or -tcp- say so
                themselves

Each file becomes one JSON value: `wrap` names the outer layers in their order (label, aes-gcm or encrypt, crc32,
compress); bytes that are no text are shown as \"hex:...\". The exit code is 1 if a file could not be read.

examples, from the directory overlay-gossip:
  decode tests/vectors/plain-04-ping.hex
  decode tests/vectors/enc-11-compound_ackResp_user-join.hex --key AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
  tcpdump -r gossip.pcap -x ... | cut -c11- > packet.hex && decode packet.hex";

fn main() -> ExitCode {
    let mut files = Vec::new();
    let (mut keys, mut stream) = (Vec::new(), false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            "--stream" => stream = true,
            "--key" => match args.next().map(|text| Key::from_base64(&text)) {
                Some(Ok(key)) => keys.push(key),
                Some(Err(error)) => return fail(&format!("--key: {error}")),
                None => return fail("--key needs a value"),
            },
            flag if flag.starts_with('-') => return fail(&format!("no option {flag}")),
            file => files.push(file.to_owned()),
        }
    }
    if files.is_empty() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/plain-04-ping.hex");
        files.push(sample.display().to_string());
        eprintln!("decode: no file given (see --help); here is {}", sample.display());
    }
    let mut code = ExitCode::SUCCESS;
    for file in &files {
        let stream = stream || file.contains("-stream") || file.contains("-tcp-");
        match decode(file, &keys, stream) {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("decode: {file}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn decode(file: &str, keys: &[Key], stream: bool) -> Result<String, Box<dyn Error>> {
    let bytes = unhex(&std::fs::read_to_string(file)?)?;
    let envelope = Envelope::new(keys, "");
    let decoder = layers::Layers { envelope: &envelope, sealed: !keys.is_empty() };
    let value = if stream { decoder.stream(&bytes)? } else { decoder.datagram(&bytes)? };
    Ok(serde_json::to_string_pretty(&value)?)
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::chars);
    let digits: Vec<u32> = digits
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or_else(|| format!("{c:?} is no hexadecimal digit")))
        .collect::<Result<_, _>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).map_err(|_| "not a byte"),
        _ => Err("an odd number of digits"),
    });
    Ok(pairs.collect::<Result<_, _>>()?)
}

fn fail(what: &str) -> ExitCode {
    eprintln!("decode: {what} (see --help)");
    ExitCode::from(2)
}
