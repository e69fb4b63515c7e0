//! Questions about keys: `serf keys -install`, `-use`, `-remove`, `-list`.

use super::wire::{KEY_REQUEST, KEY_RESPONSE};
use crate::wire::{Reader, WireError, Writer};
use crate::{Key, KeyError};

/// Does what a question says to the keys, and writes the answer; nothing if it is not about keys. Says whether the
/// keys changed.
pub(crate) fn answer_keys(name: &str, payload: &[u8], keys: &mut Vec<Key>) -> Option<(Vec<u8>, bool)> {
    let known = ["install-key", "use-key", "remove-key", "list-keys"].contains(&name);
    if !known {
        return None;
    }
    let before = keys.clone();
    let result = if keys.is_empty() {
        Err("no keys, or plain text is let in, too")
    } else {
        obey(name, payload, keys)
    };
    let listed: &[Key] = if name == "list-keys" { keys } else { &[] };
    let mut out = vec![KEY_RESPONSE];
    let mut w = Writer(&mut out);
    w.map(4);
    if listed.is_empty() {
        w.key("Keys").optional(None);
    } else {
        w.key("Keys").array(listed.len());
        listed.iter().for_each(|key| w.raw(key.to_base64().as_bytes()));
    }
    w.key("Message").raw(result.err().unwrap_or_default().as_bytes());
    w.key("PrimaryKey").raw(listed.first().map(Key::to_base64).unwrap_or_default().as_bytes());
    w.key("Result").bool(result.is_ok());
    Some((out, before != *keys))
}

fn obey(name: &str, payload: &[u8], keys: &mut Vec<Key>) -> Result<(), &'static str> {
    if name == "list-keys" {
        return Ok(());
    }
    let key = requested(payload).map_err(|_| "malformed request")?;
    let key = Key::new(key).map_err(|error| match error {
        KeyError::NoAes192 => "AES-192 is not built in",
        KeyError::Length { .. } | KeyError::Base64 => "a key has 16, 24 or 32 bytes",
    })?;
    let at = keys.iter().position(|known| *known == key);
    match (name, at) {
        ("install-key", None) if keys.len() >= MAX_KEYS => return Err("too many keys"),
        ("install-key", None) => keys.push(key),
        ("install-key", Some(_)) => {}
        ("use-key", Some(at)) => {
            let key = keys.remove(at);
            keys.insert(0, key);
        }
        ("use-key", None) => return Err("the key is not installed"),
        (_, Some(0)) => return Err("the key is in use"),
        (_, Some(at)) => drop(keys.remove(at)),
        (_, None) => {}
    }
    Ok(())
}

fn requested(payload: &[u8]) -> Result<&[u8], WireError> {
    let Some((&KEY_REQUEST, map)) = payload.split_first() else { return Err(WireError::Malformed) };
    let mut found: &[u8] = &[];
    Reader(map).map(|key, r| {
        if key != b"Key" {
            return Ok(false);
        }
        found = r.raw()?;
        Ok(true)
    })?;
    Ok(found)
}

const MAX_KEYS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_installed_used_and_removed_in_that_order_only() {
        let (old, new) = (Key::new([1; 32]).unwrap(), Key::new([2; 32]).unwrap());
        let request = |key: &Key| [b"\x07\x81\xa3Key\xda\x00\x20".as_slice(), key.as_bytes()].concat();
        let mut keys = vec![old.clone()];
        let mut ask = |name: &str, key: &Key, expect: (bool, bool)| {
            let (answer, changed) = answer_keys(name, &request(key), &mut keys).unwrap();
            assert_eq!((answer.ends_with(&[0xc3]), changed), expect, "{name}");
        };
        ask("use-key", &new, (false, false));
        ask("install-key", &new, (true, true));
        ask("install-key", &new, (true, false));
        ask("remove-key", &old, (false, false));
        ask("use-key", &new, (true, true));
        ask("list-keys", &new, (true, false));
        ask("remove-key", &old, (true, true));
        assert_eq!(keys, [new]);
        assert!(answer_keys("ping", &[], &mut keys).is_none());
    }
}
