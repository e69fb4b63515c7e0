//! Whom a question is for: nodes by name, and nodes whose tags match a regular expression.

use std::collections::BTreeMap;

use super::Tags;
use super::pattern::{self, MAX_SIZE};
use crate::NodeName;
use crate::wire::{Reader, WireError, Writer};

/// Whether a node of this name and with this metadata is asked. What cannot be read is for nobody, as serf has it.
pub(super) fn is_for(filters: &[u8], name: &str, meta: &[u8]) -> bool {
    filters.is_empty() || all_hold(filters, name, meta).unwrap_or(false)
}

fn all_hold(filters: &[u8], name: &str, meta: &[u8]) -> Result<bool, WireError> {
    let mut r = Reader(filters);
    let count = r.array()?;
    if count > MAX_FILTERS {
        return Ok(false);
    }
    let tags = Tags::parse(meta);
    let size = usize::try_from(count).map_or(MAX_SIZE, |count| MAX_SIZE / count.max(1));
    for _ in 0..count {
        let holds = match r.raw()?.split_first() {
            Some((&NODES, names)) => is_listed(names, name)?,
            Some((&TAG, filter)) => {
                let (tag, expression) = parse_tag(filter)?;
                // A tag that a node does not have is empty.
                pattern::is_match(expression, tags.get(tag).unwrap_or_default(), size).unwrap_or(false)
            }
            _ => false,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_listed(names: &[u8], name: &str) -> Result<bool, WireError> {
    let mut names = Reader(names);
    for _ in 0..names.array()? {
        if names.raw()? == name.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn parse_tag(filter: &[u8]) -> Result<(&str, &str), WireError> {
    let (mut tag, mut expression) = ("", "");
    Reader(filter).map(|key, r| {
        match key {
            b"Tag" => tag = r.text()?,
            b"Expr" => expression = r.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((tag, expression))
}

/// Filters as a query has them; empty: none.
pub(super) fn to_vec(nodes: &[NodeName], tags: &BTreeMap<String, String>) -> Vec<u8> {
    let count = usize::from(!nodes.is_empty()) + tags.len();
    let mut out = Vec::new();
    if count == 0 {
        return out;
    }
    let mut w = Writer(&mut out);
    w.array(count);
    if !nodes.is_empty() {
        let mut filter = vec![NODES];
        let mut names = Writer(&mut filter);
        names.array(nodes.len());
        nodes.iter().for_each(|name| names.raw(name.as_str().as_bytes()));
        w.raw(&filter);
    }
    for (tag, expression) in tags {
        let mut filter = vec![TAG];
        let mut fields = Writer(&mut filter);
        fields.map(2);
        fields.key("Expr").raw(expression.as_bytes());
        fields.key("Tag").raw(tag.as_bytes());
        w.raw(&filter);
    }
    out
}

const NODES: u8 = 0;
const TAG: u8 = 1;
/// Most filters of one query. They share what expressions may occupy.
pub(super) const MAX_FILTERS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_for_those_for_whom_all_filters_hold() {
        let mut tags = Tags::new();
        tags.insert("role", "web").unwrap();
        let meta = tags.to_meta();
        let asks = |nodes: &[&str], tags: &[(&str, &str)]| {
            let nodes: Vec<NodeName> = nodes.iter().map(|name| NodeName::new(*name).unwrap()).collect();
            let tags = tags.iter().map(|(tag, expr)| ((*tag).to_owned(), (*expr).to_owned())).collect();
            is_for(&to_vec(&nodes, &tags), "a", &meta)
        };
        assert!(asks(&[], &[]));
        assert!(asks(&["b", "a"], &[]) && !asks(&["b"], &[]));
        assert!(asks(&[], &[("role", "^w.b$")]) && !asks(&[], &[("role", "^db$")]));
        assert!(asks(&["a"], &[("role", "web"), ("none", "^$")]) && !asks(&["a"], &[("none", ".")]));
        assert!(!asks(&["b"], &[("role", "web")]) && !asks(&["a"], &[("role", "db")]));
        assert!(!asks(&[], &[("role", "(")]), "no expression");
        for wrong in [
            b"\xc1".as_slice(),
            b"\x91\xa0",
            b"\x91\xa1\x02",
            b"\x91\xa1\x00",
            b"\x81\xa0\xa0",
            b"\xdd\xff\xff\xff\xff",
        ] {
            assert!(!is_for(wrong, "a", &meta), "{wrong:?}");
        }
    }
}
