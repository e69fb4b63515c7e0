//! Operations: what one transaction does, in order, and the messages that do it.

use std::fmt;

use super::expr::{self, Instruction};
use super::fingerprint::{
    TAG_COMMENT, TAG_DATA_ORDER, TAG_FINGERPRINT, TAG_KEY_ORDER, TAG_OWNER, definition, put_tag,
};
use super::model::{BaseChain, Policy, Set, SetData, TableKey};
use super::program::{Anonymous, Element, ElementData, Program};
use super::value::{Type, width};
use super::wire::{Attrs, Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

/// What has to be done to get from the observed to the desired state. All of it happens, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) ops: Vec<Op>,
    /// The kernel's generation that the plan was made for.
    pub(super) generation: Option<u32>,
}

impl Batch {
    /// Whether the observed state is the desired one.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The operations in order; their `Display` says what each does.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
}

/// One step of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Op {
    pub(super) table: TableKey,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    AddTable { owner: String },
    WakeTable,
    DeleteTable,
    AddChain { chain: String, base: Option<BaseChain> },
    SetPolicy { chain: String, policy: Policy },
    DeleteChain { chain: String },
    FlushChain { chain: String },
    AddRule { chain: String, at: usize, before: Option<u64>, program: Box<Program> },
    DeleteRule { chain: String, handle: u64 },
    AddSet { set: String, definition: Box<Set> },
    DeleteSet { set: String },
    AddElements { set: String, elements: Vec<Element> },
    DeleteElements { set: String, keys: Vec<Vec<u8>> },
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        match &self.action {
            Action::AddTable { .. } => write!(f, "add table {table}"),
            Action::WakeTable => write!(f, "wake table {table}"),
            Action::DeleteTable => write!(f, "delete table {table}"),
            Action::AddChain { chain, .. } => write!(f, "add chain {table} {chain}"),
            Action::SetPolicy { chain, .. } => write!(f, "set policy of chain {table} {chain}"),
            Action::DeleteChain { chain } => write!(f, "delete chain {table} {chain}"),
            Action::FlushChain { chain } => write!(f, "flush chain {table} {chain}"),
            Action::AddRule { chain, at, .. } => write!(f, "add rule {at} of chain {table} {chain}"),
            Action::DeleteRule { chain, handle } => {
                write!(f, "delete rule with handle {handle} of chain {table} {chain}")
            }
            Action::AddSet { set, .. } => write!(f, "add set {table} {set}"),
            Action::DeleteSet { set } => write!(f, "delete set {table} {set}"),
            Action::AddElements { set, elements } => {
                write!(f, "add {} elements to set {table} {set}", elements.len())
            }
            Action::DeleteElements { set, keys } => {
                write!(f, "delete {} elements of set {table} {set}", keys.len())
            }
        }
    }
}

impl Op {
    /// The messages of this operation. `next_set` numbers the anonymous sets of a batch.
    pub(super) fn messages(&self, next_set: &mut u32) -> Vec<Message> {
        let family = self.table.family.number();
        let message = |kind, flags, attrs| Message::new(kind, flags, family, attrs);
        match &self.action {
            Action::AddTable { owner } => {
                vec![message(NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, table_attrs(&self.table.name, owner))]
            }
            Action::WakeTable => {
                let mut a = self.named(1);
                a.put_u32(2, 0);
                vec![message(NEWTABLE, 0, a)]
            }
            Action::DeleteTable => vec![message(DELTABLE, 0, self.named(1))],
            Action::AddChain { chain, base } => {
                vec![message(NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, self.chain_attrs(chain, base.as_ref()))]
            }
            Action::SetPolicy { chain, policy } => {
                let mut a = self.named(1);
                a.put_str(3, chain).put_u32(5, policy.number());
                vec![message(NEWCHAIN, 0, a)]
            }
            Action::DeleteChain { chain } => {
                let mut a = self.named(1);
                a.put_str(3, chain);
                vec![message(DELCHAIN, 0, a)]
            }
            Action::FlushChain { chain } => {
                let mut a = self.named(1);
                a.put_str(2, chain);
                vec![message(DELRULE, 0, a)]
            }
            Action::AddRule { chain, before, program, .. } => {
                self.rule_messages(chain, *before, program, next_set)
            }
            Action::DeleteRule { chain, handle } => {
                let mut a = self.named(1);
                a.put_str(2, chain).put_u64(3, *handle);
                vec![message(DELRULE, 0, a)]
            }
            Action::AddSet { set, definition } => {
                *next_set += 1;
                let attrs = set_attrs(&self.table.name, set, definition, *next_set);
                vec![message(NEWSET, NLM_F_CREATE | NLM_F_EXCL, attrs)]
            }
            Action::DeleteSet { set } => {
                let mut a = self.named(1);
                a.put_str(2, set);
                vec![message(DELSET, 0, a)]
            }
            Action::AddElements { set, elements } => self.element_messages(set, None, elements),
            Action::DeleteElements { set, keys } => {
                let entries = keys.iter().map(|key| key_attrs(key));
                self.split_elements(DELSETELEM, 0, (set, None), entries)
            }
        }
    }

    fn named(&self, kind: u16) -> Attrs {
        let mut attrs = Attrs::default();
        attrs.put_str(kind, &self.table.name);
        attrs
    }

    fn chain_attrs(&self, chain: &str, base: Option<&BaseChain>) -> Attrs {
        let mut a = self.named(1);
        a.put_str(3, chain);
        if let Some(base) = base {
            let mut hook = Attrs::default();
            hook.put_u32(1, base.hook.number(self.table.family));
            hook.put(2, &base.priority.to_be_bytes());
            if let Some(device) = base.hook.device() {
                hook.put_str(3, device);
            }
            a.nest(4, &hook).put_u32(5, base.policy.number()).put_str(7, base.kind.name());
        }
        a
    }

    fn rule_messages(
        &self,
        chain: &str,
        before: Option<u64>,
        program: &Program,
        next_set: &mut u32,
    ) -> Vec<Message> {
        let family = self.table.family.number();
        let first_set = *next_set + 1;
        let mut messages = Vec::new();
        for anonymous in &program.anonymous {
            *next_set += 1;
            let (name, attrs) = anonymous_attrs(&self.table.name, anonymous, *next_set);
            messages.push(Message::new(NEWSET, NLM_F_CREATE, family, attrs));
            messages.extend(self.element_messages(name, Some(*next_set), &anonymous.elements));
        }
        let mut list = Attrs::default();
        for instruction in &program.instructions {
            let mut entry = Attrs::default();
            match instruction {
                Instruction::Plain { name, attrs } => entry.put_str(1, name).nest(2, attrs),
                Instruction::LookupAnonymous { set, attrs } => {
                    let id = first_set.saturating_add(u32::try_from(*set).unwrap_or(u32::MAX));
                    let mut attrs = attrs.clone();
                    let name = program.anonymous.get(*set).map_or("", anonymous_name);
                    attrs.put_str(1, name).put_u32(4, id);
                    entry.put_str(1, "lookup").nest(2, &attrs)
                }
            };
            list.nest(1, &entry);
        }
        let mut a = self.named(1);
        a.put_str(2, chain).nest(4, &list);
        if let Some(handle) = before {
            a.put_u64(6, handle);
        }
        a.put(7, &rule_tags(program));
        let flags = if before.is_some() { NLM_F_CREATE } else { NLM_F_CREATE | NLM_F_APPEND };
        messages.push(Message::new(NEWRULE, flags, family, a));
        messages
    }

    fn element_messages(&self, set: &str, id: Option<u32>, elements: &[Element]) -> Vec<Message> {
        let entries = elements.iter().map(|element| {
            let mut entry = key_attrs(&element.key);
            match &element.data {
                ElementData::Nothing => &mut entry,
                ElementData::Value(value) => entry.nest(2, &expr::data_value(value)),
                ElementData::Verdict(verdict) => entry.nest(2, &expr::data_verdict(verdict)),
            };
            entry
        });
        self.split_elements(NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, (set, id), entries)
    }

    /// Spreads elements over messages: the list is one attribute, whose length has 16 bits.
    fn split_elements(
        &self,
        kind: u16,
        flags: u16,
        (set, id): (&str, Option<u32>),
        entries: impl Iterator<Item = Attrs>,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut finish = |list: &Attrs| {
            let mut a = self.named(1);
            a.put_str(2, set);
            if let Some(id) = id {
                a.put_u32(4, id);
            }
            a.nest(3, list);
            messages.push(Message::new(kind, flags, self.table.family.number(), a));
        };
        let mut list = Attrs::default();
        for entry in entries {
            if list.len() + entry.len() > MAX_LIST {
                finish(&list);
                list = Attrs::default();
            }
            list.nest(1, &entry);
        }
        if list.len() > 0 {
            finish(&list);
        }
        messages
    }
}

fn table_attrs(name: &str, owner: &str) -> Attrs {
    let mut tags = Vec::new();
    put_tag(&mut tags, TAG_COMMENT, format!("managed by {owner}\0").as_bytes());
    put_tag(&mut tags, TAG_OWNER, owner.as_bytes());
    let mut a = Attrs::default();
    a.put_str(1, name).put_u32(2, 0).put(6, &tags);
    a
}

fn key_attrs(key: &[u8]) -> Attrs {
    let mut entry = Attrs::default();
    entry.nest(1, &expr::data_value(key));
    entry
}

fn rule_tags(program: &Program) -> Vec<u8> {
    let mut tags = Vec::new();
    if let Some(comment) = &program.comment {
        put_tag(&mut tags, TAG_COMMENT, format!("{comment}\0").as_bytes());
    }
    put_tag(&mut tags, TAG_FINGERPRINT, &program.fingerprint.to_bytes());
    tags
}

fn set_attrs(table: &str, name: &str, set: &Set, id: u32) -> Attrs {
    let mut flags = 0;
    if set.dynamic {
        flags |= SET_EVAL;
    }
    if set.timeout.is_some() {
        flags |= SET_TIMEOUT;
    }
    let mut a = Attrs::default();
    a.put_str(1, table).put_str(2, name).put_u32(10, id);
    put_types(&mut a, &set.key, &set.data, flags);
    let size = set.size.or(set.dynamic.then_some(DYNAMIC_SIZE));
    if let Some(size) = size {
        let mut description = Attrs::default();
        description.put_u32(1, size);
        a.nest(9, &description);
    }
    if let Some(timeout) = set.timeout {
        a.put_u64(11, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
    let mut tags = order_tags(&set.key, &set.data);
    put_tag(&mut tags, TAG_FINGERPRINT, &definition(set).to_bytes());
    a.put(13, &tags);
    a
}

fn anonymous_attrs(table: &str, set: &Anonymous, id: u32) -> (&'static str, Attrs) {
    let name = anonymous_name(set);
    let mut description = Attrs::default();
    description.put_u32(1, u32::try_from(set.elements.len()).unwrap_or(u32::MAX));
    let mut a = Attrs::default();
    a.put_str(1, table).put_str(2, name).put_u32(10, id);
    put_types(&mut a, &set.key, &set.data, SET_ANONYMOUS | SET_CONSTANT);
    a.nest(9, &description).put(13, &order_tags(&set.key, &set.data));
    (name, a)
}

/// The kernel replaces `%d` by a free number.
const fn anonymous_name(set: &Anonymous) -> &'static str {
    match set.data {
        SetData::Nothing => "__set%d",
        SetData::Values(_) | SetData::Verdicts => "__map%d",
    }
}

fn put_types(a: &mut Attrs, key: &[Type], data: &SetData, flags: u32) {
    a.put_u32(4, type_number(key)).put_u32(5, byte_len(key));
    match data {
        SetData::Nothing => a.put_u32(3, flags),
        SetData::Values(types) => {
            a.put_u32(3, flags | SET_MAP).put_u32(6, type_number(types)).put_u32(7, byte_len(types))
        }
        SetData::Verdicts => a.put_u32(3, flags | SET_MAP).put_u32(6, DATA_VERDICT).put_u32(7, 0),
    };
}

fn byte_len(types: &[Type]) -> u32 {
    u32::try_from(width(types)).unwrap_or(u32::MAX)
}

/// How `nft` packs the types of a concatenation: six bits each.
fn type_number(types: &[Type]) -> u32 {
    types.iter().fold(0, |number, ty| (number << 6) | ty.number())
}

fn order_tags(key: &[Type], data: &SetData) -> Vec<u8> {
    let order = |types: &[Type]| match types {
        [ty] if ty.is_host_order() => HOST_ORDER,
        _ => NETWORK_ORDER,
    };
    let mut tags = Vec::new();
    put_tag(&mut tags, TAG_KEY_ORDER, &order(key).to_ne_bytes());
    if let SetData::Values(types) = data {
        put_tag(&mut tags, TAG_DATA_ORDER, &order(types).to_ne_bytes());
    }
    tags
}

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

pub(super) const SET_ANONYMOUS: u32 = 0x1;
const SET_CONSTANT: u32 = 0x2;
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
pub(super) const SET_EVAL: u32 = 0x20;
const DATA_VERDICT: u32 = 0xffff_ff00;
const DYNAMIC_SIZE: u32 = 65_535;
const HOST_ORDER: u32 = 1;
const NETWORK_ORDER: u32 = 2;
/// Bytes of elements in one message; a quarter of what the attribute could hold, so that nests fit.
const MAX_LIST: usize = 16 * 1024;
