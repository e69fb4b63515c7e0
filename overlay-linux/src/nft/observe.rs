//! What the kernel has: parsed dumps of our tables.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{SET_ANONYMOUS, SET_EVAL};
use super::fingerprint::{Fingerprint, TAG_FINGERPRINT, TAG_OWNER, find_tag};
use super::model::{Family, TableKey};
use super::program::ElementData;
use super::rule::Verdict;
use super::wire::{attrs, find, find_str, find_u32, find_u64, text};

/// What the kernel had when it was asked: our tables in full, of the others only that they exist.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub(super) owner: String,
    pub(super) generation: Option<u32>,
    pub(super) tables: BTreeMap<TableKey, ObservedTable>,
    pub(super) foreign: BTreeSet<TableKey>,
}

impl Observed {
    /// A kernel without tables, as seen by that owner.
    pub fn empty(owner: impl Into<String>) -> Self {
        Self { owner: owner.into(), ..Self::default() }
    }

    /// The tables that we own.
    pub fn owned(&self) -> impl Iterator<Item = &TableKey> {
        self.tables.keys()
    }

    /// The tables of others.
    pub fn foreign(&self) -> impl Iterator<Item = &TableKey> {
        self.foreign.iter()
    }

    pub(super) fn add_table(&mut self, family: u8, message: &[u8]) {
        let Some((family, name)) = Family::from_number(family).zip(find_str(message, 1)) else { return };
        let key = TableKey { family, name };
        let owner = find(message, 6).and_then(|data| find_tag(data, TAG_OWNER));
        if owner == Some(self.owner.as_bytes()) {
            let dormant = find_u32(message, 2).unwrap_or(0) & TABLE_DORMANT != 0;
            self.tables.insert(key, ObservedTable { dormant, ..ObservedTable::default() });
        } else {
            self.foreign.insert(key);
        }
    }

    pub(super) fn add_chain(&mut self, family: u8, message: &[u8]) {
        let Some(table) = self.table_of(family, message) else { return };
        let Some(name) = find_str(message, 3) else { return };
        let base = find(message, 4).map(|hook| ObservedBase {
            kind: find_str(message, 7).unwrap_or_default(),
            hook: find_u32(hook, 1).unwrap_or(u32::MAX),
            priority: find_u32(hook, 2).map_or(0, u32::cast_signed),
            policy: find_u32(message, 5).unwrap_or(u32::MAX),
            device: device_of(hook),
        });
        table.chains.entry(name).or_default().base = base;
    }

    pub(super) fn add_rule(&mut self, family: u8, message: &[u8]) {
        let Some(table) = self.table_of(family, message) else { return };
        let (Some(chain), Some(handle)) = (find_str(message, 2), find_u64(message, 3)) else { return };
        let fingerprint = find(message, 7)
            .and_then(|data| find_tag(data, TAG_FINGERPRINT))
            .and_then(Fingerprint::from_bytes);
        table.chains.entry(chain).or_default().rules.push(ObservedRule { handle, fingerprint });
    }

    pub(super) fn add_set(&mut self, family: u8, message: &[u8]) {
        let Some(table) = self.table_of(family, message) else { return };
        let Some(name) = find_str(message, 2) else { return };
        let flags = find_u32(message, 3).unwrap_or(0);
        if flags & SET_ANONYMOUS != 0 {
            return;
        }
        let fingerprint = find(message, 13)
            .and_then(|data| find_tag(data, TAG_FINGERPRINT))
            .and_then(Fingerprint::from_bytes);
        let dynamic = flags & SET_EVAL != 0;
        table.sets.insert(name, ObservedSet { fingerprint, dynamic, elements: BTreeMap::new() });
    }

    /// The static sets, whose elements have to be asked for one by one.
    pub(super) fn static_sets(&self) -> Vec<(TableKey, String)> {
        let sets = |(key, table): (&TableKey, &ObservedTable)| {
            let fixed = table.sets.iter().filter(|(_, set)| !set.dynamic);
            fixed.map(|(name, _)| (key.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.tables.iter().flat_map(sets).collect()
    }

    pub(super) fn add_elements(&mut self, family: u8, message: &[u8]) {
        let Some(table) = self.table_of(family, message) else { return };
        let Some(set) = find_str(message, 2).and_then(|name| table.sets.get_mut(&name)) else { return };
        for (_, entry) in attrs(find(message, 3).unwrap_or_default()) {
            let Some(key) = find(entry, 1).and_then(|key| find(key, 1)) else { continue };
            set.elements.insert(key.to_vec(), element_data(entry));
        }
    }

    fn table_of(&mut self, family: u8, message: &[u8]) -> Option<&mut ObservedTable> {
        let key = TableKey { family: Family::from_number(family)?, name: find_str(message, 1)? };
        self.tables.get_mut(&key)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct ObservedTable {
    pub(super) dormant: bool,
    pub(super) chains: BTreeMap<String, ObservedChain>,
    pub(super) sets: BTreeMap<String, ObservedSet>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ObservedChain {
    pub(super) base: Option<ObservedBase>,
    pub(super) rules: Vec<ObservedRule>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ObservedBase {
    pub(super) kind: String,
    pub(super) hook: u32,
    pub(super) priority: i32,
    pub(super) policy: u32,
    pub(super) device: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ObservedRule {
    pub(super) handle: u64,
    pub(super) fingerprint: Option<Fingerprint>,
}

#[derive(Clone, Debug)]
pub(super) struct ObservedSet {
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) dynamic: bool,
    pub(super) elements: BTreeMap<Vec<u8>, ElementData>,
}

/// The device of a hook; kernels name it alone, in a list, or both.
fn device_of(hook: &[u8]) -> Option<String> {
    find_str(hook, 3).or_else(|| {
        let (_, name) = attrs(find(hook, 4)?).next()?;
        text(name)
    })
}

fn element_data(entry: &[u8]) -> ElementData {
    let Some(data) = find(entry, 2) else { return ElementData::Nothing };
    if let Some(value) = find(data, 1) {
        return ElementData::Value(value.to_vec());
    }
    let Some(verdict) = find(data, 2) else { return ElementData::Nothing };
    let chain = || find_str(verdict, 2).unwrap_or_default();
    match find_u32(verdict, 1).map(u32::cast_signed) {
        Some(0) => ElementData::Verdict(Verdict::Drop),
        Some(1) => ElementData::Verdict(Verdict::Accept),
        Some(-1) => ElementData::Verdict(Verdict::Continue),
        Some(-3) => ElementData::Verdict(Verdict::Jump(chain())),
        Some(-4) => ElementData::Verdict(Verdict::Goto(chain())),
        Some(-5) => ElementData::Verdict(Verdict::Return),
        _ => ElementData::Nothing,
    }
}

const TABLE_DORMANT: u32 = 1;
