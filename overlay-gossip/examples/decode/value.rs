//! `MessagePack` as JSON.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};

use overlay_gossip::wire::{Reader, Token};
use serde_json::{Map, Value, json};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Reads one value, at most `DEPTH` arrays and maps deep.
pub(crate) fn value(r: &mut Reader<'_>) -> Result<Value> {
    nested(r, 0)
}

/// Reads a map and gives each field a chance to be shown in another way than it is.
pub(crate) fn map(
    r: &mut Reader<'_>,
    mut show: impl FnMut(&str, Reader<'_>) -> Option<Value>,
) -> Result<Map<String, Value>> {
    let Token::Map(len) = r.token()? else { return Err("not a map".into()) };
    let mut fields = Map::new();
    for _ in 0..len {
        let key = key(r)?;
        let shown = show(&key, r.clone());
        let plain = value(r)?;
        fields.insert(key, shown.unwrap_or(plain));
    }
    Ok(fields)
}

/// Text as it is; other bytes as hexadecimal digits.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => format!("hex:{}", hex(bytes)).into(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An address, and how many bytes it was.
pub(crate) fn address(bytes: &[u8]) -> Value {
    let text = if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(four).to_string()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(sixteen).to_canonical().to_string()
    } else {
        hex(bytes)
    };
    format!("{text} ({} bytes)", bytes.len()).into()
}

fn nested(r: &mut Reader<'_>, depth: usize) -> Result<Value> {
    if depth > DEPTH {
        return Err("nested too deep".into());
    }
    Ok(match r.token()? {
        Token::Nil => Value::Null,
        Token::Bool(value) => value.into(),
        Token::Uint(value) => value.into(),
        Token::Int(value) => value.into(),
        Token::Float(value) => json!(value),
        Token::Raw(raw) => bytes(raw),
        Token::Ext(kind, raw) => json!({ "ext": kind, "bytes": bytes(raw) }),
        Token::Array(len) => {
            let mut values = Vec::new();
            for _ in 0..len {
                values.push(nested(r, depth + 1)?);
            }
            values.into()
        }
        Token::Map(len) => {
            let mut fields = Map::new();
            for _ in 0..len {
                let key = key(r)?;
                fields.insert(key, nested(r, depth + 1)?);
            }
            fields.into()
        }
    })
}

fn key(r: &mut Reader<'_>) -> Result<String> {
    let token = r.token()?;
    let Token::Raw(key) = token else { return Err(format!("{token:?} is no name of a field").into()) };
    Ok(String::from_utf8_lossy(key).into_owned())
}

const DEPTH: usize = 32;
