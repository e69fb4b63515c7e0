//! From a rule to the kernel's program: types are checked, registers given out, protocol checks added.

use std::collections::{BTreeMap, BTreeSet};

use super::expr::{self, Instruction, Modulus};
use super::field::{Field, Layer};
use super::fingerprint::{Fingerprint, Hasher, hash_types};
use super::model::{Elem, Family, Set, SetData};
use super::program::{Anonymous, Element, ElementData, LowerError, Program};
use super::rule::{Compare, Expr, KeySet, NatTo, Reject, Rule, Spread, Stmt, UpdateOp, ValueMap, VerdictMap};
use super::value::{Type, Value, width};

/// What a rule may refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) family: Family,
    pub(super) sets: &'a BTreeMap<String, Set>,
}

/// Translates one rule.
pub(super) fn lower(rule: &Rule, scope: Scope<'_>) -> Result<Program, LowerError> {
    if rule.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT) {
        return Err(LowerError::TooLong { what: "comment".to_owned() });
    }
    let mut lowering = Lowering {
        scope,
        instructions: Vec::new(),
        anonymous: Vec::new(),
        sets: BTreeSet::new(),
        known: BTreeSet::new(),
        next: 0,
    };
    for statement in &rule.statements {
        lowering.next = 0;
        lowering.statement(statement)?;
    }
    let Lowering { instructions, anonymous, sets, .. } = lowering;
    let fingerprint = fingerprint(&instructions, &anonymous, rule, &sets, scope)?;
    Ok(Program { instructions, anonymous, sets, fingerprint, comment: rule.comment.clone() })
}

/// The elements of a static set.
pub(super) fn lower_elements(set: &Set) -> Result<Vec<Element>, LowerError> {
    let mut elements = Vec::with_capacity(set.elements.len());
    for (key, elem) in &set.elements {
        let data = match (elem, &set.data) {
            (Elem::Member, SetData::Nothing) => ElementData::Nothing,
            (Elem::Value(value), SetData::Values(types)) => ElementData::Value(value.encode(types)?),
            (Elem::Verdict(verdict), SetData::Verdicts) => ElementData::Verdict(verdict.clone()),
            _ => return Err(LowerError::SetKind { set: key.to_string(), wanted: "of its element's kind" }),
        };
        elements.push(Element { key: key.encode(&set.key)?, data });
    }
    Ok(elements)
}

struct Lowering<'a> {
    scope: Scope<'a>,
    instructions: Vec<Instruction>,
    anonymous: Vec<Anonymous>,
    sets: BTreeSet<String>,
    known: BTreeSet<Layer>,
    /// The first free register, counted in words.
    next: u32,
}

impl Lowering<'_> {
    fn statement(&mut self, statement: &Stmt) -> Result<(), LowerError> {
        match statement {
            Stmt::Match { left, op, right } => self.compare(left, *op, right),
            Stmt::Between { left, from, to, negate } => self.between(left, (from, to), *negate),
            Stmt::In { left, set, negate } => self.member(left, set, *negate),
            Stmt::Set { target, to } => {
                self.establish(target.needs())?;
                let source = self.evaluate(to, &[target.ty()])?;
                self.push(target.store(source));
                Ok(())
            }
            Stmt::Update { .. } => self.update(statement),
            Stmt::Verdict(verdict) => {
                self.push(expr::verdict(verdict));
                Ok(())
            }
            Stmt::VerdictMap { key, map } => self.verdict_map(key, map),
            Stmt::DestinationNat(to) => self.nat(true, to),
            Stmt::SourceNat(to) => self.nat(false, to),
            Stmt::Masquerade => {
                self.push(expr::masquerade());
                Ok(())
            }
            Stmt::Redirect { port } => self.redirect(*port),
            Stmt::NoTrack => {
                self.push(expr::notrack());
                Ok(())
            }
            Stmt::Reject(answer) => self.reject(*answer),
            Stmt::Counter => {
                self.push(expr::counter());
                Ok(())
            }
            Stmt::Forward { device } => {
                let source = self.evaluate(device, &[Type::Device])?;
                self.push(expr::forward(source));
                Ok(())
            }
            Stmt::Limit { rate, per, burst, over } => {
                self.push(expr::limit(*rate, per.as_secs().max(1), *burst, *over));
                Ok(())
            }
        }
    }

    fn compare(&mut self, left: &Expr, op: Compare, right: &Value) -> Result<(), LowerError> {
        let types = self.types(left, None)?;
        let mut value = right.encode(&types)?;
        if value.len() > MAX_CONSTANT && matches!(op, Compare::Eq | Compare::Ne) {
            let set = KeySet::Inline(BTreeSet::from([right.clone()]));
            return self.member(left, &set, op == Compare::Ne);
        }
        let register = self.evaluate(left, &types)?;
        if !matches!(op, Compare::Eq | Compare::Ne) {
            self.order(register, &types, [&mut value])?;
        }
        self.push(expr::compare(register, op, &value));
        if let (Expr::Field(Field::L4Protocol), Compare::Eq, Value::Number(number)) = (left, op, right) {
            self.known.extend(match number {
                6 => Some(Layer::Tcp),
                17 => Some(Layer::Udp),
                _ => None,
            });
        }
        Ok(())
    }

    fn between(&mut self, left: &Expr, ends: (&Value, &Value), negate: bool) -> Result<(), LowerError> {
        let types = self.types(left, None)?;
        let mut from = ends.0.encode(&types)?;
        let mut to = ends.1.encode(&types)?;
        let register = self.evaluate(left, &types)?;
        self.order(register, &types, [&mut from, &mut to])?;
        self.push(expr::range(register, negate, &from, &to));
        Ok(())
    }

    /// Makes a register and constants comparable: the kernel compares bytes from left to right.
    fn order<const N: usize>(
        &mut self,
        register: u32,
        types: &[Type],
        constants: [&mut Vec<u8>; N],
    ) -> Result<(), LowerError> {
        let [ty] = types else {
            return Err(LowerError::Type { found: types.to_vec(), wanted: vec![Type::Integer] });
        };
        if ty.is_host_order() && ty.len() <= 4 && cfg!(target_endian = "little") {
            self.push(expr::to_network_order(register, length(types)?));
            for constant in constants {
                constant.reverse();
            }
        }
        Ok(())
    }

    fn member(&mut self, left: &Expr, set: &KeySet, negate: bool) -> Result<(), LowerError> {
        match set {
            KeySet::Named(name) => {
                let key = self.named(name)?.key.clone();
                let register = self.evaluate(left, &key)?;
                self.push(expr::lookup(name, register, None, negate));
            }
            KeySet::Inline(keys) => {
                let types = self.types(left, None)?;
                let mut elements = Vec::with_capacity(keys.len());
                for key in keys {
                    elements.push(Element { key: key.encode(&types)?, data: ElementData::Nothing });
                }
                let register = self.evaluate(left, &types)?;
                let set = self.anonymous(types, SetData::Nothing, elements)?;
                self.push(expr::lookup_anonymous(set, register, None, negate));
            }
        }
        Ok(())
    }

    fn update(&mut self, statement: &Stmt) -> Result<(), LowerError> {
        let Stmt::Update { set, op, key, value, timeout } = statement else {
            return Ok(());
        };
        let definition = self.named(set)?;
        if !definition.dynamic {
            return Err(LowerError::SetKind { set: set.clone(), wanted: "dynamic" });
        }
        let (key_types, data) = (definition.key.clone(), definition.data.clone());
        let key = self.evaluate(key, &key_types)?;
        let value = match (value, &data) {
            (Some(value), SetData::Values(types)) => Some(self.evaluate(value, types)?),
            (None, SetData::Nothing) => None,
            _ => return Err(LowerError::SetKind { set: set.clone(), wanted: "of the update's kind" }),
        };
        let op = match op {
            UpdateOp::Add => 0,
            UpdateOp::Update => 1,
            UpdateOp::Delete => 2,
        };
        let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self.push(expr::update(set, op, key, value, timeout));
        Ok(())
    }

    fn verdict_map(&mut self, key: &Expr, map: &VerdictMap) -> Result<(), LowerError> {
        match map {
            VerdictMap::Named(name) => {
                let definition = self.named(name)?;
                if definition.data != SetData::Verdicts {
                    return Err(LowerError::SetKind { set: name.clone(), wanted: "a verdict map" });
                }
                let types = definition.key.clone();
                let register = self.evaluate(key, &types)?;
                self.push(expr::lookup(name, register, Some(0), false));
            }
            VerdictMap::Inline(pairs) => {
                let types = self.types(key, None)?;
                let mut elements = Vec::with_capacity(pairs.len());
                for (key, verdict) in pairs {
                    let data = ElementData::Verdict(verdict.clone());
                    elements.push(Element { key: key.encode(&types)?, data });
                }
                let register = self.evaluate(key, &types)?;
                let set = self.anonymous(types, SetData::Verdicts, elements)?;
                self.push(expr::lookup_anonymous(set, register, Some(0), false));
            }
        }
        Ok(())
    }

    fn nat(&mut self, destination: bool, to: &NatTo) -> Result<(), LowerError> {
        let (layer, family) = match to.types.as_slice() {
            [Type::Ipv4] | [Type::Ipv4, Type::Port] => (Layer::Ipv4, Family::Ip),
            [Type::Ipv6] | [Type::Ipv6, Type::Port] => (Layer::Ipv6, Family::Ip6),
            other => {
                return Err(LowerError::Type { found: other.to_vec(), wanted: vec![Type::Ipv4, Type::Port] });
            }
        };
        self.establish(Some(layer))?;
        let addr = self.evaluate(&to.to, &to.types)?;
        let port = match to.types.as_slice() {
            [ty, _] => Some(addr + words(ty.len())?),
            _ => None,
        };
        self.push(expr::nat(destination, family.number(), addr, port));
        Ok(())
    }

    fn redirect(&mut self, port: Option<u16>) -> Result<(), LowerError> {
        let register = match port {
            Some(port) => Some(self.evaluate(&Expr::from(port), &[Type::Port])?),
            None => None,
        };
        self.push(expr::redirect(register));
        Ok(())
    }

    fn reject(&mut self, answer: Reject) -> Result<(), LowerError> {
        let (kind, code) = match (answer, self.scope.family) {
            (Reject::TcpReset, _) => {
                self.establish(Some(Layer::Tcp))?;
                (1, 0)
            }
            (Reject::PortUnreachable, Family::Ip) => (0, 3),
            (Reject::PortUnreachable, Family::Ip6) => (0, 4),
            (Reject::Prohibited, Family::Ip) => (0, 13),
            (Reject::Prohibited, Family::Ip6) => (0, 1),
            (Reject::PortUnreachable, _) => (2, 1),
            (Reject::Prohibited, _) => (2, 3),
        };
        self.push(expr::reject(kind, code));
        Ok(())
    }

    /// Loads an expression into fresh registers and says which.
    fn evaluate(&mut self, expr: &Expr, types: &[Type]) -> Result<u32, LowerError> {
        let found = self.types(expr, Some(types))?;
        let same = found.len() == types.len()
            && found
                .iter()
                .zip(types)
                .all(|(a, b)| a.len() == b.len() && (a.is_host_order() == b.is_host_order() || a.len() == 1));
        if !same {
            return Err(LowerError::Type { found, wanted: types.to_vec() });
        }
        self.establish_for(expr)?;
        let dest = self.allocate(types)?;
        self.load(expr, types, dest)?;
        Ok(dest)
    }

    fn load(&mut self, expr: &Expr, types: &[Type], dest: u32) -> Result<(), LowerError> {
        let scratch = self.next;
        match expr {
            Expr::Value(value) => self.load_constant(value, types, dest)?,
            Expr::Field(field) => self.push(field.load(dest)),
            Expr::Masked(inner, mask) => {
                self.load(inner, types, dest)?;
                self.push(expr::mask(dest, &Value::Number(*mask).encode(types)?));
            }
            Expr::Concat(parts) => {
                let mut at = dest;
                for (part, ty) in parts.iter().zip(types) {
                    self.load(part, std::slice::from_ref(ty), at)?;
                    at += words(ty.len())?;
                }
            }
            Expr::Hash { over, modulus, seed, offset } => {
                let range = Modulus { modulus: nonzero(*modulus)?, offset: *offset };
                let key = self.types(over, None)?;
                let source = self.evaluate(over, &key)?;
                self.push(expr::hash(source, padded(&key)?, dest, range, *seed));
            }
            Expr::Number { random, modulus, offset } => {
                let range = Modulus { modulus: nonzero(*modulus)?, offset: *offset };
                self.push(expr::number(dest, *random, range));
            }
            Expr::Lookup { key, map } => self.load_lookup(key, map, types, dest)?,
            Expr::Spread { by, over } => self.load_spread(by, over, types, dest)?,
        }
        self.next = scratch;
        Ok(())
    }

    /// One immediate per component: the kernel takes up to 16 bytes in each.
    fn load_constant(&mut self, value: &Value, types: &[Type], dest: u32) -> Result<(), LowerError> {
        let bytes = value.encode(types)?;
        let mut rest = bytes.as_slice();
        let mut at = dest;
        for ty in types {
            let (part, after) = rest.split_at_checked(ty.len()).ok_or(LowerError::Registers)?;
            self.push(expr::immediate(at, part));
            rest = after.get(ty.len().next_multiple_of(4) - ty.len()..).unwrap_or_default();
            at += words(ty.len())?;
        }
        Ok(())
    }

    fn load_lookup(
        &mut self,
        key: &Expr,
        map: &ValueMap,
        types: &[Type],
        dest: u32,
    ) -> Result<(), LowerError> {
        match map {
            ValueMap::Named(name) => {
                let key_types = self.named(name)?.key.clone();
                let source = self.evaluate(key, &key_types)?;
                self.push(expr::lookup(name, source, Some(dest), false));
            }
            ValueMap::Inline(pairs) => {
                let key_types = self.types(key, None)?;
                let mut elements = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let data = ElementData::Value(value.encode(types)?);
                    elements.push(Element { key: key.encode(&key_types)?, data });
                }
                let source = self.evaluate(key, &key_types)?;
                let set = self.anonymous(key_types, SetData::Values(types.to_vec()), elements)?;
                self.push(expr::lookup_anonymous(set, source, Some(dest), false));
            }
        }
        Ok(())
    }

    /// One slot, or equal ones, need no choice and so no map.
    fn load_spread(
        &mut self,
        by: &Spread,
        over: &[Value],
        types: &[Type],
        dest: u32,
    ) -> Result<(), LowerError> {
        let (first, rest) = over.split_first().ok_or(LowerError::Empty)?;
        if let Spread::Hash { over: fields, .. } = by {
            self.establish_for(&Expr::concat(fields.iter().copied()))?;
        }
        if rest.iter().all(|value| value == first) {
            return self.load_constant(first, types, dest);
        }
        let modulus = u32::try_from(over.len()).map_err(|_| LowerError::TooLong { what: "spread".into() })?;
        let chooser = match by {
            Spread::Hash { over, seed } => {
                let over = Box::new(Expr::concat(over.iter().copied()));
                Expr::Hash { over, modulus, seed: *seed, offset: 0 }
            }
            Spread::RoundRobin => Expr::Number { random: false, modulus, offset: 0 },
            Spread::Random => Expr::Number { random: true, modulus, offset: 0 },
        };
        let slots = (0..modulus).map(Value::Number).zip(over.iter().cloned()).collect();
        self.load_lookup(&chooser, &ValueMap::Inline(slots), types, dest)
    }

    /// The types of an expression; `wanted` decides for what has none of its own.
    fn types(&self, expr: &Expr, wanted: Option<&[Type]>) -> Result<Vec<Type>, LowerError> {
        match expr {
            Expr::Field(field) => Ok(vec![field.ty()]),
            Expr::Masked(inner, _) => self.types(inner, wanted),
            Expr::Concat(parts) => {
                let mut types = Vec::with_capacity(parts.len());
                for (at, part) in parts.iter().enumerate() {
                    let own = wanted.and_then(|wanted| wanted.get(at)).map(std::slice::from_ref);
                    types.extend(self.types(part, own)?);
                }
                Ok(types)
            }
            Expr::Hash { .. } | Expr::Number { .. } => Ok(vec![Type::Integer]),
            Expr::Lookup { map: ValueMap::Named(name), .. } => match &self.definition(name)?.data {
                SetData::Values(types) => Ok(types.clone()),
                SetData::Nothing | SetData::Verdicts => {
                    Err(LowerError::SetKind { set: name.clone(), wanted: "a map to values" })
                }
            },
            Expr::Value(value) => {
                wanted.map(<[Type]>::to_vec).ok_or_else(|| LowerError::Untyped { value: value.clone() })
            }
            Expr::Lookup { .. } | Expr::Spread { .. } => {
                wanted.map(<[Type]>::to_vec).ok_or(LowerError::Untyped { value: Value::Number(0) })
            }
        }
    }

    fn definition(&self, name: &str) -> Result<&Set, LowerError> {
        self.scope.sets.get(name).ok_or_else(|| LowerError::NoSet { set: name.to_owned() })
    }

    fn named(&mut self, name: &str) -> Result<&Set, LowerError> {
        self.sets.insert(name.to_owned());
        self.definition(name)
    }

    fn anonymous(
        &mut self,
        key: Vec<Type>,
        data: SetData,
        elements: Vec<Element>,
    ) -> Result<usize, LowerError> {
        if elements.is_empty() {
            return Err(LowerError::Empty);
        }
        self.anonymous.push(Anonymous { key, data, elements });
        Ok(self.anonymous.len() - 1)
    }

    /// Adds the protocol checks of every field in the expression.
    fn establish_for(&mut self, expr: &Expr) -> Result<(), LowerError> {
        match expr {
            Expr::Field(field) => self.establish(field.needs()),
            Expr::Masked(inner, _) | Expr::Hash { over: inner, .. } | Expr::Lookup { key: inner, .. } => {
                self.establish_for(inner)
            }
            Expr::Concat(parts) => parts.iter().try_for_each(|part| self.establish_for(part)),
            Expr::Spread { by: Spread::Hash { over, .. }, .. } => {
                over.iter().try_for_each(|field| self.establish(field.needs()))
            }
            Expr::Value(_) | Expr::Number { .. } | Expr::Spread { .. } => Ok(()),
        }
    }

    fn establish(&mut self, layer: Option<Layer>) -> Result<(), LowerError> {
        let Some(layer) = layer else { return Ok(()) };
        if !self.known.insert(layer) {
            return Ok(());
        }
        let family = self.scope.family;
        let check = layer
            .check(family)
            .map_err(|()| LowerError::Family { field: format!("{layer:?}").to_lowercase(), family })?;
        if let Some((field, value)) = check {
            let next = self.next;
            let register = self.allocate(&[field.ty()])?;
            self.push(field.load(register));
            self.push(expr::compare(register, Compare::Eq, &Value::Number(value).encode(&[field.ty()])?));
            self.next = next;
        }
        Ok(())
    }

    fn allocate(&mut self, types: &[Type]) -> Result<u32, LowerError> {
        let first = self.next;
        for ty in types {
            self.next += words(ty.len())?;
        }
        if self.next > REGISTERS { Err(LowerError::Registers) } else { Ok(FIRST_REGISTER + first) }
    }

    fn push(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }
}

fn nonzero(modulus: u32) -> Result<u32, LowerError> {
    if modulus == 0 { Err(LowerError::Empty) } else { Ok(modulus) }
}

fn words(len: usize) -> Result<u32, LowerError> {
    u32::try_from(len.div_ceil(4)).map_err(|_| LowerError::Registers)
}

fn length(types: &[Type]) -> Result<u32, LowerError> {
    u32::try_from(width(types)).map_err(|_| LowerError::Registers)
}

/// Bytes in registers, where even a single component is padded.
fn padded(types: &[Type]) -> Result<u32, LowerError> {
    types.iter().try_fold(0, |sum, ty| Ok(sum + words(ty.len())? * 4))
}

fn fingerprint(
    instructions: &[Instruction],
    anonymous: &[Anonymous],
    rule: &Rule,
    sets: &BTreeSet<String>,
    scope: Scope<'_>,
) -> Result<Fingerprint, LowerError> {
    let mut hasher = Hasher::default();
    for instruction in instructions {
        let (name, attrs) = match instruction {
            Instruction::Plain { name, attrs } => (*name, attrs),
            Instruction::LookupAnonymous { attrs, .. } => ("lookup anonymous", attrs),
        };
        let attrs = attrs.finish().ok_or_else(|| LowerError::TooLong { what: "rule".to_owned() })?;
        hasher.field(name.as_bytes()).field(attrs);
    }
    for set in anonymous {
        hash_types(&mut hasher, &set.key, &set.data);
        for element in &set.elements {
            hasher.field(&element.key);
            match &element.data {
                ElementData::Nothing => hasher.field(&[]),
                ElementData::Value(value) => hasher.field(value),
                ElementData::Verdict(verdict) => {
                    let (code, chain) = expr::verdict_code(verdict);
                    hasher.field(&code.to_be_bytes()).field(chain.unwrap_or_default().as_bytes())
                }
            };
        }
    }
    hasher.field(rule.comment.as_deref().unwrap_or_default().as_bytes());
    for set in sets {
        hasher.field(set.as_bytes());
        if let Some(definition) = scope.sets.get(set) {
            hasher.field(&super::fingerprint::definition(definition).to_bytes());
        }
    }
    Ok(hasher.finish())
}

const FIRST_REGISTER: u32 = 8;
const REGISTERS: u32 = 16;
/// Most bytes that one comparison takes.
const MAX_CONSTANT: usize = 16;
const MAX_COMMENT: usize = 127;
